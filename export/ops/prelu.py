"""PReLU: a slope for negative values, one for each channel.

Arithmetic of TFLite's PRELU: positive values are rescaled by one multiplier, negative ones times
the slope's code by another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import Call, CArray, CTarget, LayerCode, Ref
from edgefactor.export.functions import tflite_builtins as builtins
from edgefactor.export.ir import Array, Graph, Op, Quantization, Tensor
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
from edgefactor.export.ops.lookup import Lookup


@dataclass(frozen=True, slots=True, kw_only=True)
class PRelu(Op):
    """Inputs: activation NHWC, constant slopes [1, 1, C]."""


def prelu_codes(codes: IntArray, slopes: IntArray, tensors: Sequence[Tensor]) -> IntArray:
    """Codes of the result; ``slopes`` broadcast against ``codes``, tensors: x, slopes, output."""
    x, alpha, output = (tensor.quant for tensor in tensors)
    centred = np.asarray(codes, np.int64) - x.zero_point
    positive = numerics.multiply_by_quantized_multiplier(centred, *_positive(tensors))
    negative = numerics.multiply_by_quantized_multiplier(
        centred * (np.asarray(slopes, np.int64) - alpha.zero_point), *_negative(tensors)
    )
    result = np.where(centred >= 0, positive, negative) + output.zero_point
    return np.asarray(np.clip(result, numerics.INT8_MIN, numerics.INT8_MAX))


def _positive(tensors: Sequence[Tensor]) -> tuple[int, int]:
    x, _, output = (tensor.quant.scale for tensor in tensors)
    return numerics.quantize_multiplier(x / output)


def _negative(tensors: Sequence[Tensor]) -> tuple[int, int]:
    x, alpha, output = (tensor.quant.scale for tensor in tensors)
    return numerics.quantize_multiplier(x * alpha / output)


class PReluFamily(Family):
    """PRelu with a slope a channel; a single slope is a leaky ReLU."""

    op = PRelu
    onnx_ops = ("PRelu",)

    def lower(self, node: Node, lowering: Lowering) -> None:
        data = lowering.constant(node.input(1))
        if data is None:
            lowering.unsupported(node, "its slopes are computed", "use nn.PReLU")
        shape = lowering.shape(node.input(0))
        slopes = np.asarray(data, np.float32)
        # ONNX aligns slopes with the last axes; PyTorch's are along axis 1.
        padded = slopes.reshape((1,) * (len(shape) - slopes.ndim) + slopes.shape)
        if padded.size != max(padded.shape[1:2], default=1):
            lowering.unsupported(
                node, f"its slopes have the shape {list(slopes.shape)}", "use one slope a channel"
            )
        if padded.size == 1:
            tensor, perm = lowering.stored(node.input(0))
            result = lowering.emit(
                Lookup,
                [tensor],
                lowering.graph_shape(tensor),
                function="leaky_relu",
                alpha=float(padded.reshape(())),
            )
            lowering.bind(node.outputs[0], result, perm)
            return
        x = lowering.channels_last(node.input(0))
        tensor = lowering.emit(
            PRelu,
            [x, lowering.add_constant(padded.reshape(1, 1, -1), node.input(1))],
            lowering.graph_shape(x),
        )
        lowering.bind_channels_last(node.outputs[0], tensor)

    def output_shape(self, op: PRelu, inputs: Sequence[Tensor]) -> Shape:
        return inputs[0].shape

    def is_settled(self, op: PRelu, inputs: Sequence[Tensor], output: Tensor) -> bool:
        x, slopes = inputs
        factors = [(slopes.quant, code) for code in np.unique(slopes.values).tolist()]
        factors.append((Quantization(scales=(1.0,)), 1))
        return all(
            builtins.product_is_settled(x.quant, quantization, output.quant, code)
            for quantization, code in factors
        )

    def output_rule(self, op: PRelu) -> OutputRule:
        return "free"

    def reference(
        self, op: PRelu, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        codes, slopes = (value.astype(np.int64) for value in values)
        return prelu_codes(codes, slopes, [*inputs, output]).astype(np.int8)

    def write_onnx(self, op: PRelu, graph: Graph, builder: OnnxBuilder) -> None:
        slopes = builder.read_weights(op.inputs[1], (2, 0, 1))
        builder.write(op.outputs[0], builder.node("PRelu", [builder.read(op.inputs[0]), slopes]))

    def write_tflite(self, op: PRelu, graph: Graph, builder: TfliteBuilder) -> None:
        operands = [builder.tensor(name) for name in op.inputs]
        builder.op("PRELU", operands, [builder.tensor(op.outputs[0])])

    def layer_code(self, op: PRelu, graph: Graph, target: CTarget) -> LayerCode:
        x, alpha = (graph.tensors[name] for name in op.inputs)
        tensors = [x, alpha, graph.tensors[op.outputs[0]]]
        slopes = np.asarray(alpha.values, np.int8).reshape(-1)
        positive, negative = _positive(tensors), _negative(tensors)
        call = Call(
            function="ef_prelu_s8",
            struct="ef_prelu_args",
            args={
                "rows": x.elements // slopes.size,
                "channels": slopes.size,
                "slopes": Ref(suffix="slopes"),
                "in_zero_point": x.quant.zero_point,
                "slope_zero_point": alpha.quant.zero_point,
                "out_zero_point": tensors[2].quant.zero_point,
                "positive_multiplier": positive[0],
                "positive_shift": positive[1],
                "negative_multiplier": negative[0],
                "negative_shift": negative[1],
            },
            inputs=(x.name,),
        )
        return LayerCode(
            calls=(call,),
            sources=("ef_prelu_s8.c", "ef_prelu.h", "ef_numerics.h"),
            arrays=(CArray(suffix="slopes", ctype="int8_t", data=slopes, section="weights"),),
            in_place=(0,),
            encoding="raw",
            bits=8,
            distinct_values=int(np.unique(slopes).size),
            weight_bytes=slopes.size,
        )


FAMILY = PReluFamily()
