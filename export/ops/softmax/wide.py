"""Softmax of int16 codes in TFLite's builtins and in C (``export/functions/wide_softmax.py``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgefactor.export.c_code.layer_code import Call, CArray, LayerCode, Ref
from edgefactor.export.functions import wide_softmax
from edgefactor.export.functions.wide_normalization import EXACT, SUM_DIGIT
from edgefactor.export.ir import Tensor
from edgefactor.export.ops.family import TfliteBuilder
from edgefactor.export.ops.parts.int32_chain import Int32Chain, View


def write_wide_softmax(
    builder: TfliteBuilder, name: str, x: Tensor, output: Tensor, scale: float
) -> None:
    """Append the operators of one softmax.

    Args:
        builder: Where to.
        name: Of the layer; temporaries are called after it.
        x: Scores, int16.
        output: Probabilities, int16.
        scale: Real value of a step, times what scores are multiplied by.
    """
    depth = x.shape[-1]
    view: View = (x.elements // depth, 1, 1, depth)
    chain = Int32Chain(builder, name, view)
    full, group = chain.full, chain.group
    codes = chain.enter(x)
    distance = chain.binary("SUB", chain.reduce("REDUCE_MAX", codes), codes, full)
    places = chain.digits(distance, wide_softmax.ENTRIES, full)
    powers = [
        chain.gather(wide_softmax.whole(table), place)
        for table, place in zip(wide_softmax.tables(scale), places, strict=True)
    ]
    power = chain.binary("MUL", powers[0], powers[1], full)
    half = chain.number(1 << (wide_softmax.POWER_BITS - 1))
    rounded = chain.binary("ADD", power, half, full)
    share = chain.binary("DIV", rounded, chain.number(1 << wide_softmax.POWER_BITS), full)
    fits = depth << wide_softmax.SHARE_BITS <= EXACT
    total = chain.sum(share) if fits else chain.sum_of_digits(share, SUM_DIGIT)
    scaled = chain.binary("MUL", share, chain.number(1 << wide_softmax.SHARE_BITS), full)
    half_total = chain.binary("DIV", total, chain.number(2), group)
    result = chain.binary("DIV", chain.binary("ADD", scaled, half_total, full), total, full)
    chain.leave(result, output, output.quant.scale)


def wide_softmax_code(x: Tensor, scale: float, inputs: Sequence[str]) -> LayerCode:
    """LayerCode of one softmax; arguments as for ``write_wide_softmax``."""
    coarse, fine = wide_softmax.tables(scale)
    name = "ef_softmax_s16"
    call = Call(
        function=name,
        struct=f"{name}_args",
        args={
            "rows": x.elements // x.shape[-1],
            "depth": x.shape[-1],
            "coarse": Ref(suffix="coarse"),
            "fine": Ref(suffix="fine"),
            "coarse_entries": len(coarse),
        },
        inputs=tuple(inputs),
    )
    arrays = tuple(
        CArray(suffix=suffix, ctype="uint16_t", data=table.astype(np.uint16))
        for suffix, table in (("coarse", coarse), ("fine", fine))
    )
    return LayerCode(
        calls=(call,),
        sources=(f"{name}.c", f"{name}.h", "ef_simd.h"),
        arrays=arrays,
        in_place=(0,),
    )
