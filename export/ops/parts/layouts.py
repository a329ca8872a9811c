"""Axes: where those of an ONNX value lie in the stored tensor, and in the ONNX that is written.

A value is stored with its axes permuted, and axes of size 1 may have been added or dropped, because
they do not change the order of elements in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgefactor.export.ir import Tensor
from edgefactor.export.ops.family import Lowering, OnnxBuilder, Shape

T = TypeVar("T")
Perm = tuple[int, ...]

TO_NCHW: Perm = (0, 3, 1, 2)
TO_NHWC: Perm = (0, 2, 3, 1)
_CHANNELS_LAST: dict[int, Perm] = {3: (0, 2, 1), 4: TO_NHWC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Where the axes of an ONNX value are.

    Attributes:
        tensor: The Graph tensor.
        shape: Its shape.
        perm: Order of the ONNX axes in memory.
        axes: For every ONNX axis its place in ``shape``; -1 for one of size 1 that is not there.
    """

    tensor: str
    shape: Shape
    perm: Perm
    axes: tuple[int, ...]


def long_axes(shape: Shape, perm: Sequence[int]) -> list[int]:
    """The axes of more than one element, in the order of ``perm``; they decide the layout."""
    return [axis for axis in perm if shape[axis] != 1]


def same_long_sizes(shape: Shape, other: Shape) -> bool:
    """Whether two shapes differ only in axes of size 1."""
    return [size for size in shape if size != 1] == [size for size in other if size != 1]


def _place_axes(shape: Shape, perm: Perm, stored: Shape) -> tuple[int, ...]:
    if tuple(shape[axis] for axis in perm) == stored:
        return tuple(perm.index(axis) for axis in range(len(shape)))
    places = [-1] * len(shape)
    for axis, place in zip(
        long_axes(shape, perm), long_axes(stored, range(len(stored))), strict=True
    ):
        places[axis] = place
    return tuple(places)


def locate(
    lowering: Lowering, value: str, needed: Sequence[int] = (), *, perm: Perm | None = None
) -> Stored:
    """The stored tensor of a value, in which each ONNX axis of ``needed`` has a place.

    Args:
        lowering: Where the value is.
        value: Its ONNX name.
        needed: ONNX axes that must have a place of their own, even with size 1.
        perm: The order of axes to store it in; None: as it is.
    """
    shape = lowering.shape(value)
    tensor, current = lowering.stored(value)
    if perm is not None and long_axes(shape, perm) != long_axes(shape, current):
        tensor, current = lowering.stored_like(value, perm), perm
    found = lowering.graph_shape(tensor)
    axes = _place_axes(shape, current, found)
    if any(axes[axis] < 0 for axis in needed):
        tensor = lowering.stored_like(value, current)
        found = lowering.graph_shape(tensor)
        axes = _place_axes(shape, current, found)
    return Stored(tensor=tensor, shape=found, perm=current, axes=axes)


def complete_perm(order: Sequence[int], shape: Shape) -> Perm:
    """An order of all axes in which the long ones come as in ``order``.

    Channels last if that fits, else the plain order, else with the axes of size 1 in front.
    """
    rank = len(shape)
    for perm in (_CHANNELS_LAST.get(rank), tuple(range(rank))):
        if perm is not None and long_axes(shape, perm) == list(order):
            return perm
    return (*(axis for axis in range(rank) if shape[axis] == 1), *order)


def normalize_axis(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


def onnx_axis(axis: int, rank: int) -> int:
    """Where a Graph axis is in the ONNX that is written (NCHW for rank 4)."""
    return TO_NCHW.index(axis) if rank == 4 else axis


def onnx_order(values: Sequence[T]) -> list[T]:
    """Numbers per Graph axis -> numbers per axis of the ONNX that is written."""
    return [values[axis] for axis in TO_NCHW] if len(values) == 4 else list(values)


def transpose_onnx(builder: OnnxBuilder, value: str, shape: Shape, perm: Perm) -> str:
    """Append a Transpose of a value of ``shape``, unless it would move no element."""
    if perm == tuple(range(len(perm))):
        return value
    if long_axes(shape, perm) == sorted(long_axes(shape, perm)):
        # Cheaper than a Transpose and the same memory.
        return builder.node("Reshape", [value, int64s(builder, [shape[axis] for axis in perm])])
    return builder.node("Transpose", [value], perm=list(perm))


def read_stored(builder: OnnxBuilder, tensor: Tensor) -> str:
    """The ONNX value of an activation with its axes as the Graph has them."""
    value = builder.read(tensor.name)
    if len(tensor.shape) != 4:
        return value
    return transpose_onnx(builder, value, tuple(tensor.shape[a] for a in TO_NCHW), TO_NHWC)


def write_stored(builder: OnnxBuilder, tensor: Tensor, value: str) -> None:
    """Say that an ONNX value, with its axes as the Graph has them, is this tensor."""
    if len(tensor.shape) == 4:
        value = transpose_onnx(builder, value, tensor.shape, TO_NCHW)
    builder.write(tensor.name, value)


def int64s(builder: OnnxBuilder, values: Sequence[int]) -> str:
    """A vector literal of int64, as ONNX takes shapes, axes and amounts."""
    return builder.literal(np.array(values, np.int64))
