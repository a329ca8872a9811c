"""Sums, differences and products of two tensors, broadcast against each other; fused ReLU.

Arithmetic of TFLite's ADD, SUB and MUL (``export/builtins.py``). In C a sum of two int8 codes is
nearly always one proven 32-bit linear form (``export/linear_forms.py``), and an operation with one
constant number is a function of one tensor.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import linear_forms, numerics
from edgefactor.export import tflite_builtins as builtins
from edgefactor.export.broadcasting import LOOPS, broadcast_loops, broadcast_shape
from edgefactor.export.ir import Array, Graph, Op, Quantization, Tensor
from edgefactor.export.layer_code import Call, CArray, CSymbol, CTarget, CValue, LayerCode, Ref
from edgefactor.export.numerics import INT8_MAX, IntArray
from edgefactor.export.ops.activation import Activation, activation_onnx, activation_range
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.operands import lower_operands
from edgefactor.export.unary_code import CODES, unary_code

_HEADERS = ("ef_attributes.h", "ef_broadcast.h", "ef_numerics.h")
#: Right shifts for which the fast product's rounding constants fit 32 bits.
_FAST_SHIFTS = range(1, 23)


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Op):
    """Inputs: two tensors, one of which may be constant, whose shapes broadcast.

    Attributes:
        activation: "none" or "relu": negative results become 0.
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

    def lower(self, node: Node, lowering: Lowering) -> None:
        operands = lower_operands(node, lowering, invert_second=node.op_type == "Div")
        shapes = [lowering.graph_shape(name) for name in operands.tensors]
        result = lowering.emit(self.op, operands.tensors, broadcast_shape(*shapes))
        lowering.bind(node.outputs[0], result, operands.perm)

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
    ) -> IntArray:
        """Unclamped codes of the result."""

    @abstractmethod
    def slopes(
        self, inputs: Sequence[Tensor], output: Tensor, constant_code: int
    ) -> tuple[float, ...]:
        """Change of the output code per code of each input, with the other one held."""

    def _clamped(
        self, op: Binary, inputs: Sequence[Tensor], output: Tensor, pair: Sequence[IntArray]
    ) -> IntArray:
        quantizations = [tensor.quant for tensor in inputs]
        codes = self.codes(pair[0], pair[1], quantizations, output.quant)
        return np.clip(codes, _low(op, output), INT8_MAX)

    def reference(
        self, op: Binary, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        pair = [value.astype(np.int64) for value in values]
        return self._clamped(op, inputs, output, pair).astype(np.int8)

    def write_onnx(self, op: Binary, graph: Graph, builder: OnnxBuilder) -> None:
        value = builder.node(self.kind, [builder.read(name) for name in op.inputs])
        builder.write(op.outputs[0], activation_onnx(op.activation, value, builder))

    def write_tflite(self, op: Binary, graph: Graph, builder: TfliteBuilder) -> None:
        builder.op(
            self.kind.upper(),
            [builder.tensor(name) for name in op.inputs],
            [builder.tensor(op.outputs[0])],
            f"{self.kind}Options",
            version=2,
            fusedActivationFunction=op.activation.upper(),
        )

    def layer_code(self, op: Binary, graph: Graph, target: CTarget) -> LayerCode:
        inputs = [graph.tensors[name] for name in op.inputs]
        output = graph.tensors[op.outputs[0]]
        single = next(
            (i for i, t in enumerate(inputs) if t.data is not None and t.elements == 1), -1
        )
        if single >= 0:
            return self._one_tensor(op, inputs, output, single, target)
        loops = broadcast_loops(inputs[0].shape, inputs[1].shape)
        if loops is None:
            raise ValueError(f"{op.name}: more than {LOOPS} loops")
        held = next((i for i, tensor in enumerate(inputs) if tensor.data is not None), None)
        arrays: tuple[CArray, ...] = ()
        pointers: list[CValue] = [CSymbol(name="NULL"), CSymbol(name="NULL")]
        names = [tensor.name for tensor in inputs]
        weights: dict[str, Any] = {}
        if held is not None:
            data = np.asarray(inputs[held].values, np.int8).reshape(-1)
            arrays = (CArray(suffix="constant", ctype="int8_t", data=data, section="weights"),)
            pointers[held] = Ref(suffix="constant")
            # The kernel ignores the pointer it gets for a constant operand.
            names[held] = names[1 - held]
            weights = {
                "encoding": "raw",
                "bits": 8,
                "distinct_values": int(np.unique(data).size),
                "weight_bytes": data.size,
            }
        broadcast: dict[str, CValue] = {
            "sizes": loops.sizes,
            "steps1": loops.steps1,
            "steps2": loops.steps2,
            "constant1": pointers[0],
            "constant2": pointers[1],
        }
        call, sources = self._kernel(op, inputs, output, broadcast, tuple(names))
        whole = [
            i for i, t in enumerate(inputs) if t.data is None and t.elements == output.elements
        ]
        return LayerCode(
            calls=(call,),
            sources=(*sources, *_HEADERS),
            arrays=arrays,
            in_place=tuple(whole),
            **weights,
        )

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
    def _kernel(
        self,
        op: Binary,
        inputs: Sequence[Tensor],
        output: Tensor,
        broadcast: Mapping[str, CValue],
        names: tuple[str, ...],
    ) -> tuple[Call, tuple[str, ...]]:
        """The call and the sources of its own."""


def _low(op: Binary, output: Tensor) -> int:
    return activation_range(op.activation, output.quant)[0]


class _SumFamily(_BinaryFamily):
    """Sums and differences."""

    sign: ClassVar[int]

    def codes(
        self,
        first: IntArray,
        second: IntArray,
        quantizations: Sequence[Quantization],
        output: Quantization,
    ) -> IntArray:
        return builtins.add_codes(first, second, quantizations, output, self.sign)

    def slopes(
        self, inputs: Sequence[Tensor], output: Tensor, constant_code: int = 0
    ) -> tuple[float, ...]:
        first, second = (tensor.quant.scale / output.quant.scale for tensor in inputs)
        return first, self.sign * second

    def _kernel(
        self,
        op: Binary,
        inputs: Sequence[Tensor],
        output: Tensor,
        broadcast: Mapping[str, CValue],
        names: tuple[str, ...],
    ) -> tuple[Call, tuple[str, ...]]:
        low = _low(op, output)
        pair = [grid.reshape(-1) for grid in np.meshgrid(CODES, CODES, indexing="ij")]
        every = self._clamped(op, inputs, output, pair)
        form = linear_forms.fit(pair, every, self.slopes(inputs, output), low=low)
        if form is not None:
            linear: dict[str, CValue] = {
                "multiplier1": form.multipliers[0],
                "multiplier2": form.multipliers[1],
                "offset": form.offset,
                "shift": form.shift,
                "low": low,
            }
            if inputs[0].shape == inputs[1].shape and inputs[0].data is inputs[1].data:
                flat: dict[str, CValue] = {"form": linear, "count": output.elements}
                call = Call(function="ef_add_s8", struct="ef_add_args", args=flat, inputs=names)
                return call, ("ef_add_s8.c", "ef_add.h", "ef_saturate.h")
            call = Call(
                function="ef_add_broadcast_s8",
                struct="ef_add_broadcast_args",
                args={"broadcast": broadcast, "form": linear},
                inputs=names,
            )
            return call, ("ef_add_broadcast_s8.c", "ef_add.h")
        twice = 2 * max(tensor.quant.scale for tensor in inputs)
        factors = [numerics.quantize_multiplier(tensor.quant.scale / twice) for tensor in inputs]
        last = numerics.quantize_multiplier(twice / (2**20 * output.quant.scale))
        exact: dict[str, CValue] = {
            "zero_point1": inputs[0].quant.zero_point,
            "zero_point2": inputs[1].quant.zero_point,
            "out_zero_point": output.quant.zero_point,
            "multiplier1": factors[0][0],
            "shift1": factors[0][1],
            "multiplier2": factors[1][0],
            "shift2": factors[1][1],
            "sign": self.sign,
            "multiplier": last[0],
            "shift": last[1],
            "low": low,
        }
        args = {"broadcast": broadcast, **exact}
        call = Call(
            function="ef_add_rescaled_s8", struct="ef_add_rescaled_args", args=args, inputs=names
        )
        return call, ("ef_add_rescaled_s8.c", "ef_add.h")


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
    ) -> IntArray:
        return builtins.multiply_codes(first, second, quantizations, output)

    def slopes(
        self, inputs: Sequence[Tensor], output: Tensor, constant_code: int
    ) -> tuple[float, ...]:
        unit = inputs[0].quant.scale * inputs[1].quant.scale / output.quant.scale
        first, second = (constant_code - tensor.quant.zero_point for tensor in inputs)
        return unit * second, unit * first

    def _kernel(
        self,
        op: Binary,
        inputs: Sequence[Tensor],
        output: Tensor,
        broadcast: Mapping[str, CValue],
        names: tuple[str, ...],
    ) -> tuple[Call, tuple[str, ...]]:
        scales = [tensor.quant.scale for tensor in inputs]
        real = scales[0] * scales[1] / output.quant.scale
        multiplier, shift = numerics.quantize_multiplier(real)
        name = "ef_mul_s8" if -shift in _FAST_SHIFTS else "ef_mul_s8_ref"
        args: dict[str, CValue] = {
            "broadcast": broadcast,
            "zero_point1": inputs[0].quant.zero_point,
            "zero_point2": inputs[1].quant.zero_point,
            "out_zero_point": output.quant.zero_point,
            "multiplier": multiplier,
            "shift": shift,
            "low": _low(op, output),
        }
        call = Call(function=name, struct="ef_mul_args", args=args, inputs=names)
        return call, (f"{name}.c", "ef_mul.h", "ef_saturate.h")


ADD, SUB, MUL = AddFamily(), SubFamily(), MulFamily()
