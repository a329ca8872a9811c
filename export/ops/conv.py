"""Convolution: 1-D and 2-D, grouped, depthwise, dilated; dense layers and batch norm as 1x1 forms.

A dense layer is a 1x1 convolution on a 1x1 map: LiteRT's reference FULLY_CONNECTED rounds once
where TFLM rounds twice, while CONV_2D rounds twice everywhere. A batch norm that could not be
folded is a depthwise 1x1 convolution. Arithmetic: TensorFlow Lite's 8-bit quantization
specification, per-channel weights, gemmlowp double rounding (``export/numerics.py``); with 16-bit
activations its 16x8 form: int64 biases, multipliers of 16 bits, one rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.conv_kernels import choice as kernels
from edgefactor.export.conv_kernels import sparse as sparse_conv
from edgefactor.export.conv_kernels import wide
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
from edgefactor.export.ops.matmul import lower_product
from edgefactor.export.ops.parts.activation import Activation, activation_onnx, activation_range
from edgefactor.export.ops.parts.layer_weights import layer_multipliers, quantize_layer
from edgefactor.export.ops.parts.reductions import lower_reduction
from edgefactor.export.ops.parts.upsampling_conv import lower_transposed
from edgefactor.export.ops.parts.windows import pads_from_onnx, tflite_padding, window_output
from edgefactor.export.ops.reshape import Transpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2D(Op):
    """Inputs: activation NHWC, weights OHWI (I = channels of one group), bias [O].

    Attributes:
        stride: Rows, columns.
        dilation: Rows, columns.
        padding: Top, left, bottom, right; padded positions hold the real value 0.
        groups: Channel groups; equal to the input channels for a depthwise convolution.
        activation: Fused activation: "none", "relu" or "relu6".
        channel_scale: For weights that take few values up to one positive factor a channel, that
            factor; quantization divides by it first and so keeps the values few. Empty otherwise.
    """

    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    activation: Activation = "none"
    channel_scale: tuple[float, ...] = ()


def _patches(
    op: Conv2D, x: Array, kernel: tuple[int, int], out: Shape, fill: int
) -> NDArray[np.int16]:
    """[H_out * W_out, kh, kw, C] windows of one NHWC image, padded with ``fill``."""
    top, left, bottom, right = op.padding
    padded = np.pad(
        x[0].astype(np.int16), ((top, bottom), (left, right), (0, 0)), constant_values=fill
    )
    rows = np.arange(out[1])[:, None] * op.stride[0] + np.arange(kernel[0]) * op.dilation[0]
    columns = np.arange(out[2])[:, None] * op.stride[1] + np.arange(kernel[1]) * op.dilation[1]
    windows = padded[rows[:, None, :, None], columns[None, :, None, :]]
    return np.asarray(windows.reshape(-1, *kernel, x.shape[3]))


class ConvFamily(Family):
    """Conv, ConvTranspose, Gemm and MatMul of constant weights, BatchNormalization, ReduceSum."""

    op = Conv2D
    onnx_ops = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "ReduceSum")

    # -- from ONNX ------------------------------------------------------------------------------

    def lower(self, node: Node, lowering: Lowering) -> None:
        if node.op_type == "Conv":
            self._lower_conv(node, lowering)
        elif node.op_type == "ConvTranspose":
            self._lower_transposed(node, lowering)
        elif node.op_type == "BatchNormalization":
            self._lower_batch_norm(node, lowering)
        elif node.op_type == "ReduceSum":
            self._lower_sum(node, lowering)
        else:
            self._lower_dense(node, lowering)

    def _weights(self, node: Node, lowering: Lowering, index: int = 1) -> NDArray[np.float32]:
        data = lowering.constant(node.input(index))
        if data is None:
            lowering.unsupported(
                node,
                "its weights are computed while the network runs",
                "make the weights constant (a parameter or a buffer)",
            )
        return np.asarray(data, np.float32)

    def _emit(
        self,
        node: Node,
        lowering: Lowering,
        x: str,
        weights: Array,
        bias: Array | None,
        out: Shape,
        **fields: Any,
    ) -> str:
        hint = node.input(1).removesuffix(".weight")
        if node.op_type == "ReduceSum":
            hint = node.outputs[0]
        offsets = np.zeros(weights.shape[0], np.float32) if bias is None else bias
        return lowering.emit(
            Conv2D,
            [
                x,
                lowering.add_constant(weights, hint + ".weight"),
                lowering.add_constant(np.asarray(offsets, np.float32), hint + ".bias"),
            ],
            out,
            hint=hint,
            **fields,
        )

    def _lower_conv(self, node: Node, lowering: Lowering) -> None:
        weights = self._weights(node, lowering)
        rank = weights.ndim - 2
        if rank not in (1, 2):
            lowering.unsupported(node, f"it is {rank}-dimensional", "use Conv1d or Conv2d")
        attributes = node.attributes
        stride, dilation, padding = pads_from_onnx(node, lowering, weights.shape[2:])
        if rank == 1:
            weights = weights[:, :, None, :]
        kernel = weights.shape[2:]
        x = lowering.channels_last(node.input(0))
        shape = lowering.shape(node.input(0))
        spatial = (1, *shape[2:]) if rank == 1 else shape[2:]
        if shape[0] != 1:
            if kernel != (1, 1) or stride != (1, 1) or any(padding):
                lowering.unsupported(
                    node, f"its batch is {shape[0]}", "keep the batch at 1 in front of convolutions"
                )
            # One that looks at single positions treats rows of other maps like rows of this one.
            spatial = (shape[0] * spatial[0], *spatial[1:])
            x = lowering.view(x, (1, *spatial, shape[1]))
        height, width = window_output(spatial, kernel, stride, dilation, padding)
        bias = lowering.constant(node.input(2)) if node.input(2) else None
        tensor = self._emit(
            node,
            lowering,
            x,
            np.transpose(weights, (0, 2, 3, 1)),
            bias,
            (1, height, width, weights.shape[0]),
            stride=stride,
            dilation=dilation,
            padding=padding,
            groups=int(attributes.get("group", 1)),
        )
        full = (shape[0], height // shape[0], width, weights.shape[0])
        lowering.bind_channels_last(node.outputs[0], lowering.view(tensor, full))

    def _lower_transposed(self, node: Node, lowering: Lowering) -> None:
        def emit(
            x: str,
            weights: NDArray[np.float32],
            bias: NDArray[np.float32] | None,
            padding: tuple[int, int, int, int],
            groups: int,
            out: Shape,
        ) -> str:
            return self._emit(node, lowering, x, weights, bias, out, padding=padding, groups=groups)

        lower_transposed(node, lowering, self._weights(node, lowering), Transpose, emit)

    def _lower_dense(self, node: Node, lowering: Lowering) -> None:
        attributes = node.attributes
        data = lowering.constant(node.input(1))
        if node.op_type == "MatMul" and (data is None or data.ndim != 2):
            lower_product(node, lowering)
            return
        weights = self._weights(node, lowering)
        if not attributes.get("transB", 0):
            weights = weights.T
        weights = weights * np.float32(attributes.get("alpha", 1.0))
        bias = None
        if node.input(2):
            data = lowering.constant(node.input(2))
            if data is None:
                lowering.unsupported(
                    node, "its bias is not constant", "add it in a step of its own"
                )
            scaled = np.asarray(data, np.float32) * np.float32(attributes.get("beta", 1.0))
            bias = np.broadcast_to(scaled.reshape(-1), (weights.shape[0],))
        shape = lowering.shape(node.input(0))
        if attributes.get("transA", 0):
            shape = shape[::-1]
            x = lowering.view(
                lowering.stored_like(node.input(0), (1, 0)), (1, shape[0], 1, shape[1])
            )
        else:
            x = lowering.features_last(node.input(0))
        rows = int(np.prod(shape[:-1], dtype=np.int64))
        tensor = self._emit(
            node, lowering, x, weights[:, None, None, :], bias, (1, rows, 1, weights.shape[0])
        )
        lowering.bind_plain(node.outputs[0], tensor)

    def _lower_batch_norm(self, node: Node, lowering: Lowering) -> None:
        gamma, beta, mean, variance = (
            self._weights(node, lowering, index) for index in (1, 2, 3, 4)
        )
        if node.attributes.get("training_mode", 0):
            lowering.unsupported(node, "it is in training mode", "call model.eval() before export")
        factor = gamma / np.sqrt(variance + np.float32(node.attributes.get("epsilon", 1e-5)))
        x = lowering.channels_last(node.input(0))
        shape = lowering.shape(node.input(0))
        spatial = {2: (1, 1), 3: (1, *shape[2:]), 4: shape[2:]}.get(len(shape))
        if spatial is None:
            lowering.unsupported(node, f"its input has {len(shape)} axes", "use at most 4 axes")
        channels = gamma.shape[0]
        # One factor a channel treats rows of other maps like rows of this one.
        rows = (1, shape[0] * spatial[0], spatial[1], channels)
        tensor = self._emit(
            node,
            lowering,
            lowering.view(x, rows),
            factor.astype(np.float32).reshape(channels, 1, 1, 1),
            beta - mean * factor,
            rows,
            groups=channels,
        )
        full = (shape[0], *spatial, channels)
        lowering.bind_channels_last(node.outputs[0], lowering.view(tensor, full))

    def _lower_sum(self, node: Node, lowering: Lowering) -> None:
        """A sum is a convolution with ones: of all channels, or of each on its own."""

        def emit(tensor: str, shape: Shape, window: tuple[int, int]) -> str:
            _, height, width, channels = shape
            out = (1, height // window[0], width // window[1], channels)
            if channels == 1 and window == (1, width):
                rows = lowering.view(tensor, (1, height, 1, width))
                ones = np.ones((1, 1, 1, width), np.float32)
                return self._emit(node, lowering, rows, ones, None, out)
            ones = np.ones((channels, *window, 1), np.float32)
            return self._emit(
                node, lowering, tensor, ones, None, out, stride=window, groups=channels
            )

        lower_reduction(node, lowering, emit)

    # -- rules ----------------------------------------------------------------------------------

    def widths(self, op: Conv2D) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: Conv2D, inputs: Sequence[Tensor]) -> Shape:
        x, weights = inputs[0].shape, inputs[1].shape
        height, width = window_output(x[1:3], weights[1:3], op.stride, op.dilation, op.padding)
        return (x[0], height, width, weights[0])

    def output_rule(self, op: Conv2D) -> OutputRule:
        return "free"

    def quantize(self, op: Conv2D, quantizer: Quantizer) -> Op:
        x = quantizer.tensor(op.inputs[0])
        scales = x.quant.scale, quantizer.tensor(op.outputs[0]).quant.scale
        quantize_layer(op, op.inputs[1:], *scales, op.channel_scale, quantizer, x.dtype)
        return op

    # -- arithmetic -----------------------------------------------------------------------------

    def reference(
        self, op: Conv2D, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        x, weights, bias = values
        zero = inputs[0].quant.zero_point
        outputs, kh, kw, depth = weights.shape
        # Sums of products below 2**24 are exact in float32, twice as fast as float64.
        reach = np.abs(weights.reshape(outputs, -1).astype(np.int64)).sum(axis=1).max()
        reach *= 255 if output.dtype is DType.INT8 else 32768
        exact = np.float32 if reach < 2**24 else np.float64
        windows = (_patches(op, x, (kh, kw), output.shape, zero) - zero).astype(exact)
        grouped = windows.reshape(len(windows), kh * kw, op.groups, depth)
        kernels_ = weights.astype(exact).reshape(op.groups, outputs // op.groups, kh * kw, depth)
        sums = np.concatenate(
            [
                grouped[:, :, g].reshape(len(windows), -1)
                @ kernels_[g].reshape(-1, kh * kw * depth).T
                for g in range(op.groups)
            ],
            axis=1,
        )
        accumulators = sums.astype(np.int64) + bias.astype(np.int64)
        multiplier, shift = layer_multipliers(inputs[0].quant.scale, inputs[1], output.quant.scale)
        if output.dtype is DType.INT16:
            reduced = numerics.reduced_multiplier(multiplier)
            scaled = numerics.multiply_by_reduced_multiplier(accumulators, reduced, shift)
        else:
            scaled = numerics.multiply_by_quantized_multiplier(accumulators, multiplier, shift)
        limits = activation_range(op.activation, output.quant, output.dtype)
        codes = np.clip(scaled + output.quant.zero_point, *limits)
        return codes.astype(str(output.dtype)).reshape(output.shape)

    # -- writers --------------------------------------------------------------------------------

    def write_onnx(self, op: Conv2D, graph: Graph, builder: OnnxBuilder) -> None:
        top, left, bottom, right = op.padding
        value = builder.node(
            "Conv",
            [
                builder.read(op.inputs[0]),
                builder.read_weights(op.inputs[1], (0, 3, 1, 2)),
                builder.read_weights(op.inputs[2], (0,)),
            ],
            strides=list(op.stride),
            dilations=list(op.dilation),
            pads=[top, left, bottom, right],
            group=op.groups,
            kernel_shape=list(graph.tensors[op.inputs[1]].shape[1:3]),
        )
        builder.write(op.outputs[0], activation_onnx(op.activation, value, builder))

    def write_tflite(self, op: Conv2D, graph: Graph, builder: TfliteBuilder) -> None:
        x, weights = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
        source, padding = tflite_padding(
            op, x, weights.shape[1:3], op.stride, op.dilation, op.padding, builder
        )
        fields = {
            "padding": padding,
            "strideH": op.stride[0],
            "strideW": op.stride[1],
            "dilationHFactor": op.dilation[0],
            "dilationWFactor": op.dilation[1],
            "fusedActivationFunction": op.activation.upper(),
        }
        outputs = [builder.tensor(op.outputs[0])]
        depthwise = op.groups > 1 and op.groups == x.shape[3]
        if not depthwise:
            names = [builder.tensor(op.inputs[1]), builder.tensor(op.inputs[2])]
            builder.op("CONV_2D", [source, *names], outputs, "Conv2DOptions", version=3, **fields)
            return
        # TFLite keeps depthwise weights as [1, kh, kw, O], quantized along the last axis.
        codes = np.transpose(np.asarray(weights.values, np.int8), (3, 1, 2, 0))
        filters = builder.int8(codes, replace(weights.quant, axis=3), weights.name)
        builder.op(
            "DEPTHWISE_CONV_2D",
            [source, filters, builder.tensor(op.inputs[2])],
            outputs,
            "DepthwiseConv2DOptions",
            version=3,
            depthMultiplier=weights.shape[0] // x.shape[3],
            **fields,
        )

    def layer_code(self, op: Conv2D, graph: Graph, target: CTarget) -> LayerCode:
        inputs = [graph.tensors[name] for name in op.inputs]
        x, weights, bias = inputs
        output = graph.tensors[op.outputs[0]]
        low, high = activation_range(op.activation, output.quant, output.dtype)
        multiplier, shift = layer_multipliers(inputs[0].quant.scale, inputs[1], output.quant.scale)
        geometry = kernels.ConvGeometry(
            in_h=x.shape[1],
            in_w=x.shape[2],
            in_c=x.shape[3],
            out_h=output.shape[1],
            out_w=output.shape[2],
            out_c=output.shape[3],
            k_h=weights.shape[1],
            k_w=weights.shape[2],
            stride_h=op.stride[0],
            stride_w=op.stride[1],
            dilation_h=op.dilation[0],
            dilation_w=op.dilation[1],
            pad_top=op.padding[0],
            pad_left=op.padding[1],
            groups=op.groups,
            in_zero_point=x.quant.zero_point,
            out_zero_point=output.quant.zero_point,
            clamp_min=low,
            clamp_max=high,
        )
        if output.dtype is DType.INT16:
            return wide.conv_code(
                geometry,
                np.asarray(weights.values, np.int8),
                np.asarray(bias.values, np.int64),
                numerics.reduced_multiplier(multiplier),
                shift,
                input_name=op.inputs[0],
                features=target.features,
            )
        encoding = target.encoding_of(op.name)
        numbers = (
            np.asarray(weights.values, np.int8),
            np.asarray(bias.values, np.int32),
            multiplier.astype(np.int32),
            shift.astype(np.int32),
        )
        dense = kernels.choose_conv(
            geometry,
            *numbers,
            input_name=op.inputs[0],
            features=target.features,
            optimize=target.optimize,
            encoding=None if encoding == sparse_conv.NAME else encoding,
            by_tile=target.tile_huffman,
            start_up=target.start_up_bytes > 0,
        )
        return sparse_conv.prefer_sparse(
            dense,
            geometry,
            *numbers,
            input_name=op.inputs[0],
            features=target.features,
            optimize=target.optimize,
            encoding=encoding,
        )


FAMILY = ConvFamily()
