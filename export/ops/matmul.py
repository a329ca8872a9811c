"""Products of two activations (attention): batched matrix products in any layout.

An operand lies as the operator before it left it; which of its axes are batch, row and column is a
permutation, so no transpose is computed for the C, whose kernels read any steps. TFLite's
BATCH_MATMUL swaps the last two axes by itself and takes a TRANSPOSE for the rest. Arithmetic:
int32 sums of products of the codes less their zero points, requantized with two roundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import ModelError, UnsupportedOperatorError
from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.c_code.matmul_code import matmul_code
from edgefactor.export.ir import Array, DType, Graph, Op, Tensor
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Quantizer,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.parts.layouts import TO_NCHW, Perm, onnx_axis
from edgefactor.export.ops.reshape import TFLITE_AXES, write_transpose

#: Codes less zero points are at most 255 in magnitude; sums of their products fit in int32.
MAX_DEPTH = numerics.INT32_MAX // 255**2


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMul(Op):
    """Inputs: two tensors, at most one of them constant; both with per-tensor scales.

    Transposed by its ``perm``, the first is [*batch, rows, depth], the second
    [*batch, depth, columns]; batch axes broadcast. The result is stored as [*batch, rows, columns]
    transposed by ``perm_out``.
    """

    perm_a: Perm
    perm_b: Perm
    perm_out: Perm


def product_shape(first: Shape, second: Shape) -> Shape:
    """[*batch, rows, columns] of two operands that are not transposed any more."""
    return (*np.broadcast_shapes(first[:-2], second[:-2]), first[-2], second[-1])


def _permuted(shape: Shape, perm: Perm) -> Shape:
    return tuple(shape[axis] for axis in perm)


def _operand(lowering: Lowering, value: str, axes: Sequence[int]) -> tuple[str, Perm]:
    """The tensor of a value as it is stored, and how its ONNX axes ``axes`` come from it.

    An axis of -1 is one of size 1 that the value does not have.
    """
    shape = lowering.shape(value)
    _, order = lowering.stored(value)
    tensor = lowering.stored_like(value, order)
    missing = axes.count(-1)
    if missing:
        tensor = lowering.view(tensor, (*(1,) * missing, *_permuted(shape, order)))
    new = iter(range(missing))
    return tensor, tuple(next(new) if axis < 0 else order.index(axis) + missing for axis in axes)


def lower_product(node: Node, lowering: Lowering) -> None:
    """Lower an ONNX MatMul of which no operand is a matrix of weights."""
    first, second = node.input(0), node.input(1)
    ranks = [len(lowering.shape(value)) for value in (first, second)]
    # A vector is a row on the left and a column on the right.
    axes = [list(range(rank)) for rank in ranks]
    if ranks[0] == 1:
        axes[0] = [-1, 0]
    if ranks[1] == 1:
        axes[1] = [0, -1]
    a, b = (_operand(lowering, node.input(index), axes[index]) for index in (0, 1))
    tensor = emit_product(node, lowering, a, b)
    if 1 in ranks:
        tensor = lowering.view(tensor, lowering.shape(node.outputs[0]))
    lowering.bind_plain(node.outputs[0], tensor)


def emit_product(
    node: Node, lowering: Lowering, first: tuple[str, Perm], second: tuple[str, Perm]
) -> str:
    """Emit a MatMul of two stored tensors with their permutations; the result is not permuted."""
    shapes = [_permuted(lowering.graph_shape(tensor), perm) for tensor, perm in (first, second)]
    if shapes[0][-1] > MAX_DEPTH:
        lowering.unsupported(
            node, f"a sum of {shapes[0][-1]} products can exceed 32 bits", "split the depth"
        )
    shape = product_shape(*shapes)
    if len(shape) > TFLITE_AXES:
        lowering.unsupported(
            node, f"its operands have {len(shape)} axes", f"use at most {TFLITE_AXES}"
        )
    return lowering.emit(
        MatMul,
        [first[0], second[0]],
        shape,
        perm_a=first[1],
        perm_b=second[1],
        perm_out=tuple(range(len(shape))),
    )


def _einsum_axes(node: Node, lowering: Lowering) -> tuple[list[str], list[int], list[int]]:
    """Letters of an Einsum that is a product: [*batch, row, column], and the operands' axes."""

    def refuse(reason: str) -> NoReturn:
        lowering.unsupported(node, reason, "write it as torch.matmul of two tensors")

    equation = str(node.attributes["equation"]).replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if len(terms) != 2 or not arrow or "." in equation:
        refuse(f"the equation {equation} is not of two tensors with all axes named")
    first, second = terms
    if any(len(set(term)) != len(term) for term in (first, second, result)):
        refuse(f"in {equation} an axis occurs twice in one tensor")
    batch = [letter for letter in result if letter in first and letter in second]
    rows = [letter for letter in first if letter not in second and letter in result]
    columns = [letter for letter in second if letter not in first and letter in result]
    depth = [letter for letter in first if letter in second and letter not in result]
    if len(first) + len(second) != 2 * len(batch + depth) + len(rows + columns):
        refuse(f"{equation} sums over an axis of one tensor alone")
    if max(map(len, (rows, columns, depth))) > 1:
        refuse(f"{equation} has several axes of rows, columns or depth")
    sides = []
    for term, end in ((first, (rows, depth)), (second, (depth, columns))):
        inner = [term.index(letters[0]) if letters else -1 for letters in end]
        sides.append([*(term.index(letter) for letter in batch), *inner])
    return [*batch, *rows, *columns], sides[0], sides[1]


class MatMulFamily(Family):
    """Einsum that is a batched matrix product; MatMul of two activations comes from ``conv``."""

    op = MatMul
    onnx_ops = ("Einsum",)

    def lower(self, node: Node, lowering: Lowering) -> None:
        letters, first, second = _einsum_axes(node, lowering)
        a, b = (_operand(lowering, node.input(i), axes) for i, axes in ((0, first), (1, second)))
        tensor = emit_product(node, lowering, a, b)
        result = str(node.attributes["equation"]).replace(" ", "").split("->")[1]
        shape = lowering.shape(node.outputs[0])
        perm = tuple(result.index(letter) for letter in letters)
        tensor = lowering.view(tensor, _permuted(shape, perm))
        lowering.bind(node.outputs[0], tensor, perm)

    def widths(self, op: MatMul) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: MatMul, inputs: Sequence[Tensor]) -> Shape:
        shapes = [
            _permuted(t.shape, p) for t, p in zip(inputs, (op.perm_a, op.perm_b), strict=True)
        ]
        return _permuted(product_shape(*shapes), op.perm_out)

    def output_rule(self, op: MatMul) -> OutputRule:
        return "free"

    def finest_scale(self, op: MatMul, inputs: Sequence[float], shapes: Sequence[Shape]) -> float:
        # No sum of products may be 2^31 steps, where all runtimes' int32 would wrap around.
        largest = inputs[0] * inputs[1] * shapes[0][op.perm_a[-1]] * 2.0**30
        return float(2.0 ** (np.floor(np.log2(largest / 2**31)) + 1))

    def quantize(self, op: MatMul, quantizer: Quantizer) -> Op:
        depth = quantizer.tensor(op.inputs[0]).shape[op.perm_a[-1]]
        if depth > MAX_DEPTH:
            raise UnsupportedOperatorError(
                "A sum of products can exceed 32 bits.",
                where=f"layer {op.name}",
                found=f"{depth} products a sum",
                expected=f"at most {MAX_DEPTH}",
                hint="split the depth",
            )
        return super().quantize(op, quantizer)

    def reference(
        self, op: MatMul, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        # Sums are below 2**31, of int16 below 2**47: exact in float64.
        first, second = (
            np.transpose(value.astype(np.float64) - tensor.quant.zero_point, perm)
            for value, tensor, perm in zip(values, inputs, (op.perm_a, op.perm_b), strict=True)
        )
        sums = np.matmul(first, second).astype(np.int64)
        if output.dtype is DType.INT16:
            scaled = numerics.multiply_by_reduced_multiplier(sums, *_reduced(inputs, output))
        else:
            multiplier, shift = requantization(inputs, output)
            scaled = numerics.multiply_by_quantized_multiplier(sums, multiplier, shift)
        codes = np.clip(scaled + output.quant.zero_point, *output.dtype.code_range)
        return np.ascontiguousarray(np.transpose(codes.astype(str(output.dtype)), op.perm_out))

    def write_onnx(self, op: MatMul, graph: Graph, builder: OnnxBuilder) -> None:
        operands = []
        for name, perm in zip(op.inputs, (op.perm_a, op.perm_b), strict=True):
            rank = len(graph.tensors[name].shape)
            shown = [onnx_axis(axis, rank) for axis in perm]
            operands.append(_reordered(builder, builder.read(name), shown))
        value = builder.node("MatMul", operands)
        perm = op.perm_out
        if len(perm) == 4:
            perm = tuple(perm[axis] for axis in TO_NCHW)
        builder.write(op.outputs[0], _reordered(builder, value, perm))

    def write_tflite(self, op: MatMul, graph: Graph, builder: TfliteBuilder) -> None:
        operands: list[int] = []
        swapped: list[bool] = []
        for name, perm in zip(op.inputs, (op.perm_a, op.perm_b), strict=True):
            x = graph.tensors[name]
            index = builder.tensor(name)
            plain = tuple(range(len(perm)))
            swapped.append(perm == (*plain[:-2], plain[-1], plain[-2]))
            if perm != plain and not swapped[-1]:
                label = f"{op.name}/{'ab'[len(operands)]}"
                moved = builder.temporary(_permuted(x.shape, perm), x.quant, label, x.dtype)
                write_transpose(builder, op, index, moved, x, perm)
                index = moved
            operands.append(index)
        output = graph.tensors[op.outputs[0]]
        target = builder.tensor(output.name)
        stays = op.perm_out == tuple(range(len(op.perm_out)))
        inverse = tuple(int(axis) for axis in np.argsort(op.perm_out))
        plain_shape = _permuted(output.shape, inverse)
        result = target
        if not stays:
            result = builder.temporary(
                plain_shape, output.quant, f"{op.name}/product", output.dtype
            )
        builder.op(
            "BATCH_MATMUL",
            operands,
            [result],
            "BatchMatMulOptions",
            version=2,
            adjX=swapped[0],
            adjY=swapped[1],
        )
        if not stays:
            product = Tensor(
                name="product",
                shape=plain_shape,
                dtype=output.dtype,
                quantization=output.quantization,
            )
            write_transpose(builder, op, result, target, product, op.perm_out)

    def layer_code(self, op: MatMul, graph: Graph, target: CTarget) -> LayerCode:
        inputs = [graph.tensors[name] for name in op.inputs]
        output = graph.tensors[op.outputs[0]]
        scaling = requantization(inputs, output)
        if output.dtype is DType.INT16:
            reduced, shift = _reduced(inputs, output)
            scaling = int(reduced), 15 - int(shift)
            _check_results(op, inputs[0].shape[op.perm_a[-1]], *scaling)
        return matmul_code(inputs, output, (op.perm_a, op.perm_b, op.perm_out), scaling, target)


def _check_results(op: MatMul, depth: int, reduced: int, right: int) -> None:
    """Raise an error where a scaled sum of int16 products would not fit 32 bits."""
    largest = depth * 2.0**30 * reduced * 2.0**-right
    if largest >= 2**31:
        raise ModelError(
            "The results of a product of 16-bit activations are far outside its output's range.",
            where=f"layer {op.name}",
            found=f"up to {largest:.3g} steps",
            expected="below 2**31 steps",
            hint="export with --activations int8",
        )


def requantization(inputs: Sequence[Tensor], output: Tensor) -> tuple[int, int]:
    """Multiplier and shift from sums of products to the output's scale."""
    product = inputs[0].quant.scale * inputs[1].quant.scale
    return numerics.quantize_multiplier(product / output.quant.scale)


def _reduced(
    inputs: Sequence[Tensor], output: Tensor
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same for sums of 64 bits: a multiplier of 16 bits and its exponent."""
    multiplier, shift = requantization(inputs, output)
    return numerics.reduced_multiplier(np.array(multiplier)), np.array(shift, np.int64)


def multiply_accumulates(op: MatMul, graph: Graph) -> int:
    """Products in one inference."""
    depth = graph.tensors[op.inputs[0]].shape[op.perm_a[-1]]
    return prod(graph.tensors[op.outputs[0]].shape) * depth


def _reordered(builder: OnnxBuilder, value: str, perm: Sequence[int]) -> str:
    if list(perm) == sorted(perm):
        return value
    return builder.node("Transpose", [value], perm=list(perm))


FAMILY = MatMulFamily()
