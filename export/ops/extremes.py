"""The larger or smaller of two tensors, element by element, broadcast against each other.

TFLite's MAXIMUM and MINIMUM compare codes, so all three tensors share one scale. With one constant
number it is a clip (``export/ops/lookup.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgefactor.export.c_code import binary_code
from edgefactor.export.c_code.broadcasting import broadcast_shape
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
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
    put_at_scale,
)
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.ops.parts.operands import lower_operands, single_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Maximum(Op):
    """Inputs: two tensors, one of which may be constant, whose shapes broadcast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum(Op):
    """Like Maximum."""


Extreme = Maximum | Minimum


class _ExtremeFamily(Family):
    """What both share."""

    #: Name in ONNX.
    kind: ClassVar[str]
    choose: ClassVar[np.ufunc]
    #: What turns the kernel's larger into the smaller value.
    flip: ClassVar[int]

    def lower(self, node: Node, lowering: Lowering) -> None:
        number = single_number(node, lowering)
        if number is not None:
            self._lower_clip(node, lowering, *number)
            return
        operands = lower_operands(node, lowering)
        shapes = [lowering.graph_shape(name) for name in operands.tensors]
        result = lowering.emit(self.op, operands.tensors, broadcast_shape(*shapes))
        lowering.bind(node.outputs[0], result, operands.perm)

    def _lower_clip(self, node: Node, lowering: Lowering, value: str, number: float) -> None:
        tensor, perm = lowering.stored(value)
        shape = lowering.graph_shape(tensor)
        low, high = (number, None) if self.kind == "Max" else (None, number)
        result = lowering.emit(Lookup, [tensor], shape, function="clip", low=low, high=high)
        lowering.bind(node.outputs[0], result, perm)

    def widths(self, op: Extreme) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: Extreme, inputs: Sequence[Tensor]) -> Shape:
        return broadcast_shape(inputs[0].shape, inputs[1].shape)

    def output_rule(self, op: Extreme) -> OutputRule:
        return "same"

    def quantize(self, op: Extreme, quantizer: Quantizer) -> Op:
        return put_at_scale(op, quantizer, quantizer.tensor(op.outputs[0]))

    def reference(
        self, op: Extreme, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        return np.asarray(self.choose(values[0], values[1]), str(output.dtype))

    def write_onnx(self, op: Extreme, graph: Graph, builder: OnnxBuilder) -> None:
        operands = [builder.read(name) for name in op.inputs]
        builder.write(op.outputs[0], builder.node(self.kind, operands))

    def write_tflite(self, op: Extreme, graph: Graph, builder: TfliteBuilder) -> None:
        builder.op(
            f"{self.kind.upper()}IMUM",
            [builder.tensor(name) for name in op.inputs],
            [builder.tensor(op.outputs[0])],
            "MaximumMinimumOptions",
            version=2,
        )

    def layer_code(self, op: Extreme, graph: Graph, target: CTarget) -> LayerCode:
        inputs = [graph.tensors[name] for name in op.inputs]
        return binary_code.extreme_code(inputs, graph.tensors[op.outputs[0]], self.flip)


class MaximumFamily(_ExtremeFamily):
    """Max; Or of truth values."""

    op = Maximum
    onnx_ops = ("Max", "Or")
    kind = "Max"
    choose = np.maximum
    flip = 0


class MinimumFamily(_ExtremeFamily):
    """Min; And of truth values."""

    op = Minimum
    onnx_ops = ("Min", "And")
    kind = "Min"
    choose = np.minimum
    flip = -1


MAXIMUM, MINIMUM = MaximumFamily(), MinimumFamily()
