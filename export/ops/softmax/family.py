"""Softmax and log-softmax over the last stored axis, in the fixed-point arithmetic of TFLite.

``exp`` is taken of the difference to the largest code of a row, so no table depends on the data.
Differences so large that their exponential vanishes in 5 integer bits count as probability 0.
The output scales are dictated: (1/256, -128) and (16/256, 127). Softmax of 16-bit scores is made of
other operators (``wide.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import Call, CTarget, LayerCode
from edgefactor.export.functions import fixed_point, wide_softmax
from edgefactor.export.functions.wide_functions import GATE_OUTPUT
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor
from edgefactor.export.numerics import IntArray
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
from edgefactor.export.ops.softmax.wide import wide_softmax_code, write_wide_softmax

#: Integer bits of a scaled difference, and of a sum of exponentials.
DIFFERENCE_BITS, SUM_BITS = 5, 12

#: Exponentials that can differ, and elements from which on a table of them pays.
_TABLE_ENTRIES, _TABLE_FROM = 256, 512
#: 512 with SUM_BITS: from here on the last shift passes 31, which the runtimes' kernels assert.
_FATAL_SUM = 512 << (31 - SUM_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Op):
    """Input: activation; the softmax runs over its last axis.

    Attributes:
        log: Whether the result is the logarithm of the probabilities.
        beta: Positive factor of the input before it is exponentiated; 1 with ``log``. A float32.
    """

    log: bool = False
    beta: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How code differences become fixed-point numbers, from the input's scale.

    Attributes:
        multiplier: Mantissa.
        shift: Exponent, positive to the left.
        lowest: The most negative difference that still counts.
    """

    multiplier: int
    shift: int
    lowest: int

    def apply(self, difference: IntArray) -> IntArray:
        """Differences, at least ``lowest``, with DIFFERENCE_BITS integer bits."""
        return numerics.multiply_by_quantized_multiplier(difference, self.multiplier, self.shift)


def scaling(scale: float) -> Scaling:
    """The Scaling of inputs with this scale."""
    real = min(scale * 2.0 ** (31 - DIFFERENCE_BITS), 2.0**31 - 1)
    multiplier, shift = numerics.quantize_multiplier(real)
    radius = fixed_point.input_radius(DIFFERENCE_BITS, shift)
    return Scaling(multiplier=multiplier, shift=shift, lowest=-radius)


def inverse_scaling(forward: Scaling) -> tuple[int, int]:
    """Multiplier and shift that take fixed-point numbers back to code differences."""
    return numerics.quantize_multiplier(2.0 ** (31 - forward.shift) / forward.multiplier)


def _exponentials(codes: IntArray, scale: float) -> tuple[IntArray, IntArray, IntArray]:
    """Differences to the row's largest, their exponentials (0 if too small), and the sums."""
    forward = scaling(scale)
    difference = codes - codes.max(axis=-1, keepdims=True)
    counts = difference >= forward.lowest
    scaled = forward.apply(np.where(counts, difference, 0))
    powers = fixed_point.exp_on_negative_values(scaled, DIFFERENCE_BITS)
    powers = np.where(counts, powers, 0)
    sums = numerics.rounding_divide_by_pot(powers, SUM_BITS).sum(axis=-1, keepdims=True)
    return difference, powers, sums


def softmax_codes(codes: IntArray, scale: float) -> IntArray:
    """Codes of the probabilities at (1/256, -128)."""
    difference, powers, sums = _exponentials(codes, scale)
    inverse, exponent = fixed_point.reciprocal(sums, SUM_BITS)
    products = numerics.saturating_rounding_doubling_high_mul(powers, inverse)
    # From _FATAL_SUM on the shift passes 31, where the runtimes' own kernels abort:
    # every probability is below half a code then.
    shift = exponent + 31 - 8
    rounded = numerics.rounding_divide_by_pot(products, np.minimum(shift, 31))
    rounded = np.where(shift > 31, 0, rounded)
    result = np.clip(rounded + numerics.INT8_MIN, numerics.INT8_MIN, numerics.INT8_MAX)
    return np.where(difference >= scaling(scale).lowest, result, numerics.INT8_MIN)


def log_softmax_codes(codes: IntArray, scale: float) -> IntArray:
    """Codes of the logarithms of the probabilities at (16/256, 127)."""
    forward = scaling(scale)
    difference, _, sums = _exponentials(codes, scale)
    log_sum = fixed_point.log(sums, SUM_BITS, DIFFERENCE_BITS)
    back = numerics.multiply_by_quantized_multiplier(
        log_sum + numerics.INT32_MIN, *inverse_scaling(forward)
    )
    counts = difference > np.maximum(forward.lowest - 1, back)
    scaled = forward.apply(np.where(counts, difference, 0))
    # From 26 to 4 bits after the binary point.
    rounded = numerics.rounding_divide_by_pot(scaled - log_sum, 22) + numerics.INT8_MAX
    result = np.clip(rounded, numerics.INT8_MIN, numerics.INT8_MAX)
    return np.where(counts, result, numerics.INT8_MIN)


def _scale(op: Softmax, x: Tensor) -> float:
    """Scale of what is exponentiated."""
    return x.quant.scale * numerics.float32(op.beta)


class SoftmaxFamily(Family):
    """Softmax, LogSoftmax."""

    op = Softmax
    onnx_ops = ("Softmax", "LogSoftmax")

    def lower(self, node: Node, lowering: Lowering) -> None:
        value = node.input(0)
        shape = lowering.shape(value)
        rank = len(shape)
        axis = int(node.attributes.get("axis", -1)) % rank
        source, order = lowering.stored(value)
        if order[-1] != axis or lowering.graph_shape(source)[-1] != shape[axis]:
            order = (*(a for a in range(rank) if a != axis), axis)
            source = lowering.stored_like(value, order)
        tensor = lowering.emit(
            Softmax, [source], lowering.graph_shape(source), log=node.op_type == "LogSoftmax"
        )
        lowering.bind(node.outputs[0], tensor, order)

    def output_shape(self, op: Softmax, inputs: Sequence[Tensor]) -> Shape:
        return inputs[0].shape

    def output_rule(self, op: Softmax) -> OutputRule:
        if op.log:
            return Quantization(scales=(16 / 256,), zero_point=127)
        return Quantization(scales=(1 / 256,), zero_point=-128)

    def wide_output_rule(self, op: Softmax) -> OutputRule:
        return GATE_OUTPUT

    def widths(self, op: Softmax) -> tuple[DType, ...]:
        return (DType.INT8,) if op.log else (DType.INT8, DType.INT16)

    def quantize(self, op: Softmax, quantizer: Quantizer) -> Op:
        output = quantizer.tensor(op.outputs[0])
        if output.dtype is DType.INT16 and output.shape[-1] > wide_softmax.MAX_DEPTH:
            raise UnsupportedOperatorError(
                "A softmax in 16 bits runs over too many elements.",
                where=f"layer {op.name}",
                found=f"{output.shape[-1]}",
                expected=f"at most {wide_softmax.MAX_DEPTH}",
                hint="export with --activations int8",
            )
        return op

    def reference(
        self, op: Softmax, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        if output.dtype is DType.INT16:
            scores = values[0].astype(np.int64)
            return wide_softmax.softmax_codes(scores, _scale(op, inputs[0])).astype(np.int16)
        compute = log_softmax_codes if op.log else softmax_codes
        codes = compute(values[0].astype(np.int64), _scale(op, inputs[0]))
        return codes.astype(np.int8)

    def fatal(self, op: Softmax, inputs: Sequence[Tensor], values: Sequence[Array]) -> str:
        if op.log or inputs[0].dtype is DType.INT16:
            return ""
        depth = inputs[0].shape[-1]
        rows = values[0].reshape(-1, depth).astype(np.int64)
        _, _, sums = _exponentials(rows, _scale(op, inputs[0]))
        if not np.any(sums >= _FATAL_SUM):
            return ""
        return (
            f"in {op.name} the exponentials of {depth} nearly equal scores sum to 512 or more, at "
            "which these kernels end the process; the network is untrained or saturated"
        )

    def write_onnx(self, op: Softmax, graph: Graph, builder: OnnxBuilder) -> None:
        rank = len(graph.tensors[op.inputs[0]].shape)
        # The last axis of a rank-4 Graph tensor is the channels of ONNX.
        axis = 1 if rank == 4 else rank - 1
        kind = "LogSoftmax" if op.log else "Softmax"
        value = builder.read(op.inputs[0])
        if op.beta != 1:
            value = builder.node("Mul", [value, builder.literal(np.array(op.beta, np.float32))])
        builder.write(op.outputs[0], builder.node(kind, [value], axis=axis))

    def write_tflite(self, op: Softmax, graph: Graph, builder: TfliteBuilder) -> None:
        x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        operands = [builder.tensor(x.name)], [builder.tensor(output.name)]
        if output.dtype is DType.INT16:
            write_wide_softmax(builder, op.name, x, output, _scale(op, x))
        elif op.log:
            builder.op("LOG_SOFTMAX", *operands, "LogSoftmaxOptions", version=2)
        else:
            builder.op(
                "SOFTMAX", *operands, "SoftmaxOptions", version=2, beta=numerics.float32(op.beta)
            )

    def layer_code(self, op: Softmax, graph: Graph, target: CTarget) -> LayerCode:
        x = graph.tensors[op.inputs[0]]
        if x.dtype is DType.INT16:
            return wide_softmax_code(x, _scale(op, x), op.inputs)
        forward = scaling(_scale(op, x))
        depth = x.shape[-1]
        args = {
            "rows": x.elements // depth,
            "depth": depth,
            "multiplier": forward.multiplier,
            "shift": forward.shift,
            "lowest": forward.lowest,
        }
        name = "ef_softmax"
        if op.log:
            inverse = inverse_scaling(forward)
            args |= {"inverse_multiplier": inverse[0], "inverse_shift": inverse[1]}
            name = "ef_log_softmax"
        tabled = not op.log and x.elements >= _TABLE_FROM
        function = f"{name}_s8_table" if tabled else f"{name}_s8"
        call = Call(
            function=function,
            struct=f"{name}_args",
            args=args,
            inputs=op.inputs,
            scratch=not op.log,
        )
        return LayerCode(
            calls=(call,),
            sources=(
                f"{function}.c",
                "ef_softmax.h",
                "ef_attributes.h",
                "ef_fixed_point.h",
                "ef_numerics.h",
            ),
            scratch_bytes=0 if op.log else 4 * (_TABLE_ENTRIES if tabled else depth),
            in_place=(0,),
        )


FAMILY = SoftmaxFamily()
