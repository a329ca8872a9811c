"""The operator families. The tuple below is the list of what edgefactor supports.

One file each, or one folder (``normalize``, ``recurrent``, ``softmax``) where the faces are long;
``parts`` holds what several of them are made of, ``family`` what each of them provides.
"""

from __future__ import annotations

from edgefactor.export.ir import Op
from edgefactor.export.ops import (
    arg_extreme,
    compare,
    concat,
    conv,
    elementwise,
    embed,
    extremes,
    hardmax,
    lookup,
    matmul,
    normalize,
    pad,
    pool,
    prelu,
    recurrent,
    requantize,
    reshape,
    resize,
    resize_bilinear,
    scan,
    select,
    shift,
    slice,
    softmax,
    table,
    take,
)
from edgefactor.export.ops.family import Family

FAMILIES: tuple[Family, ...] = (
    arg_extreme.FAMILY,
    compare.FAMILY,
    concat.FAMILY,
    conv.FAMILY,
    elementwise.ADD,
    elementwise.MUL,
    elementwise.SUB,
    embed.FAMILY,
    extremes.MAXIMUM,
    extremes.MINIMUM,
    hardmax.FAMILY,
    lookup.FAMILY,
    matmul.FAMILY,
    normalize.FAMILY,
    pad.FAMILY,
    pool.AVERAGE,
    pool.MAXIMUM,
    prelu.FAMILY,
    recurrent.FAMILY,
    requantize.FAMILY,
    reshape.RESHAPE,
    reshape.TRANSPOSE,
    resize.FAMILY,
    resize_bilinear.FAMILY,
    select.FAMILY,
    scan.FAMILY,
    shift.FAMILY,
    slice.FAMILY,
    softmax.FAMILY,
    table.FAMILY,
    take.FAMILY,
)

OP_TYPES: dict[str, type[Op]] = {family.op.__name__: family.op for family in FAMILIES}
_BY_OP: dict[type[Op], Family] = {family.op: family for family in FAMILIES}
BY_ONNX: dict[str, Family] = {name: family for family in FAMILIES for name in family.onnx_ops}


def family_of(op: Op) -> Family:
    """The family that an operator of the Graph belongs to."""
    return _BY_OP[type(op)]
