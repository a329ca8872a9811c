"""Sums, differences and products of two tensors, broadcast against each other; fused ReLU.

Arithmetic of TFLite's ADD, SUB and MUL (``export/functions/tflite_builtins.py``). In C a sum of
two int8 codes is nearly always one proven 32-bit linear form
(``export/functions/linear_forms.py``),
and an operation with one constant number is a function of one tensor.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgefactor.export.c_code import binary_code
from edgefactor.export.c_code.broadcasting import broadcast_shape
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.c_code.unary_code import CODES, unary_code
from edgefactor.export.functions import linear_forms
from edgefactor.export.functions import tflite_builtins as builtins
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor
from edgefactor.export.numerics import IntArray
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.parts.activation import Activation, activation_onnx, activation_range
from edgefactor.export.ops.parts.operands import lower_operands


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Op):
    """Inputs: two tensors, one of which may be constant, whose shapes broadcast.

    Attributes:
        activation: Applied to the result.
    """

    activation: Activation = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sub(Op):
    """Like Add: the first input minus the second."""

    activation: Activation = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mul(Op):
    """Like Add: the product."""

    activation: Activation = "none"


Binary = Add | Sub | Mul


class _BinaryFamily(Family):
    """What sums, differences and products share."""

    #: Name in ONNX; TFLite has it in upper case.
    kind: ClassVar[str]
    #: Further fields of TFLite's option table for int16.
    tflite_wide_fields: ClassVar[Mapping[str, bool]] = {}

    def lower(self, node: Node, lowering: Lowering) -> None:
        operands = lower_operands(node, lowering, invert_second=node.op_type == "Div")
        shapes = [lowering.graph_shape(name) for name in operands.tensors]
        result = lowering.emit(self.op, operands.tensors, broadcast_shape(*shapes))
        lowering.bind(node.outputs[0], result, operands.perm)

    def widths(self, op: Binary) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: Binary, inputs: Sequence[Tensor]) -> Shape:
        return broadcast_shape(inputs[0].shape, inputs[1].shape)

    def output_rule(self, op: Binary) -> OutputRule:
        return "free"

    @abstractmethod
    def codes(
        self,
        first: IntArray,
        second: IntArray,
        quantizations: Sequence[Quantization],
        output: Quantization,
        dtype: DType,
    ) -> IntArray:
        """Unclamped codes of the result; ``dtype`` is that of all three."""

    @abstractmethod
    def slopes(
        self, inputs: Sequence[Tensor], output: Tensor, constant_code: int
    ) -> tuple[float, ...]:
        """Change of the output code per code of each input, with the other one held."""

    def _clamped(
        self, op: Binary, inputs: Sequence[Tensor], output: Tensor, pair: Sequence[IntArray]
    ) -> IntArray:
        quantizations = [tensor.quant for tensor in inputs]
        codes = self.codes(pair[0], pair[1], quantizations, output.quant, output.dtype)
        limits = activation_range(op.activation, output.quant, output.dtype)
        return np.asarray(np.clip(codes, *limits))

    def reference(
        self, op: Binary, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        pair = [value.astype(np.int64) for value in values]
        return self._clamped(op, inputs, output, pair).astype(str(output.dtype))

    def write_onnx(self, op: Binary, graph: Graph, builder: OnnxBuilder) -> None:
        value = builder.node(self.kind, [builder.read(name) for name in op.inputs])
        builder.write(op.outputs[0], activation_onnx(op.activation, value, builder))

    def write_tflite(self, op: Binary, graph: Graph, builder: TfliteBuilder) -> None:
        wide = graph.tensors[op.outputs[0]].dtype is DType.INT16
        builder.op(
            self.kind.upper(),
            [builder.tensor(name) for name in op.inputs],
            [builder.tensor(op.outputs[0])],
            f"{self.kind}Options",
            version=2,
            fusedActivationFunction=op.activation.upper(),
            **(self.tflite_wide_fields if wide else {}),
        )

    def layer_code(self, op: Binary, graph: Graph, target: CTarget) -> LayerCode:
        inputs = [graph.tensors[name] for name in op.inputs]
        output = graph.tensors[op.outputs[0]]
        if output.dtype is DType.INT16:
            return self._kernel(op, inputs, output)
        single = next(
            (i for i, t in enumerate(inputs) if t.data is not None and t.elements == 1), None
        )
        if single is not None:
            return self._one_tensor(op, inputs, output, single, target)
        return self._kernel(op, inputs, output)

    def _one_tensor(
        self, op: Binary, inputs: Sequence[Tensor], output: Tensor, constant: int, target: CTarget
    ) -> LayerCode:
        code = int(np.asarray(inputs[constant].values).reshape(()))
        pair: list[IntArray] = [CODES, CODES]
        pair[constant] = np.full_like(CODES, code)
        table = self._clamped(op, inputs, output, pair)
        x = inputs[1 - constant]
        slope = self.slopes(inputs, output, code)[1 - constant]
        return unary_code(table, x.name, x.elements, slope, target)

    @abstractmethod
    def _kernel(self, op: Binary, inputs: Sequence[Tensor], output: Tensor) -> LayerCode:
        """The C of two operands of more than one element."""


class _SumFamily(_BinaryFamily):
    """Sums and differences."""

    sign: ClassVar[int]
    # The other form is for scales that are powers of two.
    tflite_wide_fields: ClassVar[Mapping[str, bool]] = {"potScaleInt16": False}

    def codes(
        self,
        first: IntArray,
        second: IntArray,
        quantizations: Sequence[Quantization],
        output: Quantization,
        dtype: DType,
    ) -> IntArray:
        return builtins.add_codes(first, second, quantizations, output, self.sign, dtype)

    def finest_scale(self, op: Binary, inputs: Sequence[float], shapes: Sequence[Shape]) -> float:
        # LiteRT ends the process where the last scaling is 1 or more.
        return max(inputs) * 2.0 ** (2 - builtins.HEADROOM_BITS[DType.INT16])

    def slopes(
        self, inputs: Sequence[Tensor], output: Tensor, constant_code: int = 0
    ) -> tuple[float, ...]:
        first, second = (tensor.quant.scale / output.quant.scale for tensor in inputs)
        return first, self.sign * second

    def _kernel(self, op: Binary, inputs: Sequence[Tensor], output: Tensor) -> LayerCode:
        clamp = activation_range(op.activation, output.quant, output.dtype)
        if output.dtype is DType.INT16:
            return binary_code.rescaled_code(inputs, output, self.sign, clamp)
        pair = [grid.reshape(-1) for grid in np.meshgrid(CODES, CODES, indexing="ij")]
        every = self._clamped(op, inputs, output, pair)
        form = linear_forms.fit(pair, every, self.slopes(inputs, output), clamp=clamp)
        if form is not None:
            return binary_code.linear_code(inputs, output, form, clamp)
        return binary_code.rescaled_code(inputs, output, self.sign, clamp)


class AddFamily(_SumFamily):
    """Add."""

    op = Add
    onnx_ops = ("Add",)
    kind = "Add"
    sign = 1


class SubFamily(_SumFamily):
    """Sub."""

    op = Sub
    onnx_ops = ("Sub",)
    kind = "Sub"
    sign = -1


class MulFamily(_BinaryFamily):
    """Mul; Div by a constant, which is a product with its inverse."""

    op = Mul
    onnx_ops = ("Mul", "Div")
    kind = "Mul"

    def codes(
        self,
        first: IntArray,
        second: IntArray,
        quantizations: Sequence[Quantization],
        output: Quantization,
        dtype: DType,
    ) -> IntArray:
        return builtins.multiply_codes(first, second, quantizations, output)

    def is_settled(self, op: Binary, inputs: Sequence[Tensor], output: Tensor) -> bool:
        if output.dtype is not DType.INT8:
            return True  # products and quotients of powers of two are exact
        activations = sorted(inputs, key=lambda tensor: tensor.data is not None)
        codes = [None]
        if activations[1].data is not None:
            codes = np.unique(activations[1].values).tolist()
        first, second = (tensor.quant for tensor in activations)
        return all(builtins.product_is_settled(first, second, output.quant, code) for code in codes)

    def slopes(
        self, inputs: Sequence[Tensor], output: Tensor, constant_code: int
    ) -> tuple[float, ...]:
        unit = inputs[0].quant.scale * inputs[1].quant.scale / output.quant.scale
        first, second = (constant_code - tensor.quant.zero_point for tensor in inputs)
        return unit * second, unit * first

    def _kernel(self, op: Binary, inputs: Sequence[Tensor], output: Tensor) -> LayerCode:
        clamp = activation_range(op.activation, output.quant, output.dtype)
        return binary_code.product_code(inputs, output, clamp)


ADD, SUB, MUL = AddFamily(), SubFamily(), MulFamily()
