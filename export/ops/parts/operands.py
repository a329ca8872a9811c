"""The operands of an elementwise ONNX node, brought to one order of axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.broadcasting import broadcast_loops, broadcast_shape
from edgefactor.export.ops.family import Lowering, Node, Shape
from edgefactor.export.ops.parts.layouts import Perm, locate


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """Graph tensors whose shapes broadcast, and the order of the result's ONNX axes."""

    tensors: tuple[str, ...]
    perm: Perm


def _aligned(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + tuple(shape)


def _numbers(
    node: Node, lowering: Lowering, index: int, inverted: bool
) -> NDArray[np.float32] | None:
    data = lowering.constant(node.input(index))
    if data is None:
        return None
    real = np.asarray(data, np.float32)
    if not inverted:
        return real
    if np.any(real == 0):
        lowering.unsupported(node, "it divides by zero", "divide by constants other than 0")
    return (np.float32(1) / real).astype(np.float32)


def _size_one_except(shape: Shape, places: tuple[int, ...], graph_shape: Shape) -> Shape:
    """``shape`` per ONNX axis -> per Graph axis."""
    result = [1] * len(graph_shape)
    for size, place in zip(shape, places, strict=True):
        if size != 1:
            result[place] = size
    return tuple(result)


def single_number(node: Node, lowering: Lowering) -> tuple[str, float] | None:
    """The activation and the number of a node of an activation and one constant number.

    None for other nodes, and where the number has more axes than the activation.
    """
    for value, other in ((0, 1), (1, 0)):
        data = lowering.constant(node.input(other))
        if data is None or data.size != 1 or lowering.constant(node.input(value)) is not None:
            continue
        if data.ndim <= len(lowering.shape(node.input(value))):
            return node.input(value), float(data.reshape(())[()])
    return None


def lower_operands(node: Node, lowering: Lowering, *, invert_second: bool = False) -> Operands:
    """Bring the operands of a node to the order in which the one with all axes is stored.

    That operand is taken as it lies. The others, if activations, are reordered where they must be;
    a constant is transposed here. Where all are broadcast, all are seen with all axes.
    """
    values = node.inputs
    numbers = [
        _numbers(node, lowering, index, inverted=invert_second and index == 1)
        for index in range(len(values))
    ]
    if invert_second and numbers[1] is None:
        lowering.unsupported(node, "it divides by a computed value", "divide by a constant")
    if all(data is not None for data in numbers):
        lowering.unsupported(node, "all operands are constant", "simplify the model first")
    shapes = [lowering.shape(value) for value in values]
    full = broadcast_shape(*shapes)
    if broadcast_loops(*shapes) is None:
        lowering.unsupported(node, "its broadcast alternates over too many axes", "use fewer axes")
    whole = [
        index
        for index, data in enumerate(numbers)
        if data is None and tuple(shapes[index]) == tuple(full)
    ]
    if whole:
        # Of two, the one that other operators have already put channels last.
        main = max(
            whole, key=lambda index: lowering.stored(values[index])[1] != tuple(range(len(full)))
        )
        found = locate(lowering, values[main])
        perm, graph_shape, places = found.perm, found.shape, found.axes
        tensors = {main: found.tensor}
    else:
        main = next(index for index, data in enumerate(numbers) if data is None)
        perm = lowering.stored(values[main])[1]
        if len(shapes[main]) != len(full):
            perm = tuple(range(len(full)))
        graph_shape = tuple(full[axis] for axis in perm)
        places = tuple(perm.index(axis) for axis in range(len(full)))
        tensors = {}
    for index in set(range(len(values))) - set(tensors):
        missing = len(full) - len(shapes[index])
        order = tuple(axis - missing for axis in perm if axis >= missing)
        seen = _size_one_except(_aligned(shapes[index], len(full)), places, graph_shape)
        data = numbers[index]
        if data is None:
            tensors[index] = lowering.view(lowering.stored_like(values[index], order), seen)
        else:
            laid_out = np.transpose(data, order).reshape(seen)
            tensors[index] = lowering.add_constant(laid_out, values[index])
    return Operands(tensors=tuple(tensors[index] for index in range(len(values))), perm=perm)
