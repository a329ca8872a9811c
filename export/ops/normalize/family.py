"""Layer norm, RMS norm, group norm and instance norm: one operator over groups of codes.

In memory a tensor is [outer, steps, groups, inner]: each of the outer x groups groups is normalized
over its steps x inner elements, then scaled by a gain and moved by an offset for each of the
groups x inner channels. Layer norm over the last axis has one step and one group; group norm of a
channels-last map has a step for each pixel. Intermediates have 16 to 32 bits
(``export/functions/normalization.py``, and ``wide_normalization.py`` for int16); in TFLite they are
int32 and float32 tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.c_code.normalize_code import normalize_code, wide_normalize_code
from edgefactor.export.functions import normalization as numbers_of
from edgefactor.export.functions import wide_normalization as wide_numbers_of
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor, constant
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
from edgefactor.export.ops.normalize.tflite_chain import write_normalization
from edgefactor.export.ops.normalize.tflite_wide import write_wide_normalization
from edgefactor.export.ops.parts.layouts import (
    TO_NCHW,
    TO_NHWC,
    int64s,
    long_axes,
    normalize_axis,
    transpose_onnx,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalize(Op):
    """Inputs: activation, gain and offset [groups * inner].

    Attributes:
        view: Outer, steps, groups, inner.
        centered: Whether the mean is subtracted: not in RMS norm.
        epsilon: Added to the variance.
    """

    view: tuple[int, int, int, int]
    centered: bool = True
    epsilon: float = 1e-5

    @property
    def count(self) -> int:
        """Elements of a group."""
        return self.view[1] * self.view[3]


class NormalizeFamily(Family):
    """LayerNormalization, RMSNormalization, GroupNormalization, InstanceNormalization."""

    op = Normalize
    onnx_ops = (
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "RMSNormalization",
    )

    # -- from ONNX ------------------------------------------------------------------------------

    def lower(self, node: Node, lowering: Lowering) -> None:
        if any(node.outputs[1:]):
            lowering.unsupported(node, "its mean is read", "use the normalized output alone")
        if node.op_type in ("LayerNormalization", "RMSNormalization"):
            self._lower_trailing(node, lowering)
        else:
            self._lower_channels(node, lowering)

    def _parameter(
        self, node: Node, lowering: Lowering, index: int, shape: Shape, default: float
    ) -> NDArray[np.float32]:
        if not node.input(index):
            return np.full(shape, default, np.float32)
        data = lowering.constant(node.input(index))
        if data is None:
            lowering.unsupported(node, "its gain is computed", "make gain and offset constant")
        return np.broadcast_to(np.asarray(data, np.float32), shape)

    def _emit(
        self,
        node: Node,
        lowering: Lowering,
        x: str,
        affine: tuple[NDArray[np.float32], NDArray[np.float32]],
        view: tuple[int, int, int, int],
    ) -> str:
        if view[1] * view[3] > numbers_of.MAX_COUNT:
            lowering.unsupported(
                node,
                f"a mean over {view[1] * view[3]} elements",
                f"normalize over at most {numbers_of.MAX_COUNT}",
            )
        hint = node.input(1).removesuffix(".weight")
        names = [
            lowering.add_constant(array.reshape(-1), f"{hint}.{kind}")
            for array, kind in zip(affine, ("gain", "offset"), strict=True)
        ]
        return lowering.emit(
            Normalize,
            [x, *names],
            lowering.graph_shape(x),
            view=view,
            centered=node.op_type != "RMSNormalization",
            epsilon=float(node.attributes.get("epsilon", 1e-5)),
        )

    def _lower_trailing(self, node: Node, lowering: Lowering) -> None:
        """Layer and RMS norm: over the last axes in ONNX order, which become the last in memory."""
        value = node.input(0)
        shape = lowering.shape(value)
        first = normalize_axis(int(node.attributes.get("axis", -1)), len(shape))
        _, perm = lowering.stored(value)
        order = long_axes(shape, perm)
        inside = [axis for axis in order if axis >= first]
        if order[len(order) - len(inside) :] != inside:
            perm = (
                *(axis for axis in perm if axis < first),
                *(axis for axis in perm if axis >= first),
            )
        x = lowering.stored_like(value, perm)
        # Gain and offset follow the order of the axes in memory.
        mine = [axis - first for axis in perm if axis >= first]
        gain, offset = (
            np.transpose(self._parameter(node, lowering, index, shape[first:], default), mine)
            for index, default in ((1, 1.0), (2, 0.0))
        )
        inner = prod(shape[first:])
        tensor = self._emit(node, lowering, x, (gain, offset), (prod(shape) // inner, 1, 1, inner))
        lowering.bind(node.outputs[0], tensor, perm)

    def _lower_channels(self, node: Node, lowering: Lowering) -> None:
        """Group and instance norm: channels are axis 1."""
        value = node.input(0)
        shape = lowering.shape(value)
        channels = shape[1]
        groups = int(node.attributes.get("num_groups", channels))
        gain, offset = (
            self._channel_parameter(node, lowering, index, channels, default)
            for index, default in ((1, 1.0), (2, 0.0))
        )
        x = lowering.channels_last(value)
        pixels = prod(shape[2:])
        view = (shape[0], pixels, groups, channels // groups)
        tensor = self._emit(node, lowering, x, (gain, offset), view)
        lowering.bind_channels_last(node.outputs[0], tensor)

    def _channel_parameter(
        self, node: Node, lowering: Lowering, index: int, channels: int, default: float
    ) -> NDArray[np.float32]:
        """One number a channel; before operator set 21 a group norm has one a group."""
        data = lowering.constant(node.input(index)) if node.input(index) else None
        if data is not None and data.size not in (1, channels):
            data = np.repeat(data.reshape(-1), channels // data.size)
            return np.asarray(data, np.float32)
        return self._parameter(node, lowering, index, (channels,), default)

    # -- rules ----------------------------------------------------------------------------------

    def output_shape(self, op: Normalize, inputs: Sequence[Tensor]) -> Shape:
        return inputs[0].shape

    def output_rule(self, op: Normalize) -> OutputRule:
        return "free"

    def widths(self, op: Normalize) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def quantize(self, op: Normalize, quantizer: Quantizer) -> Op:
        gain, offset = (
            np.asarray(quantizer.tensor(name).values, np.float32) for name in op.inputs[1:]
        )
        bits = numbers_of.unit_bits(op.count)
        gains, offsets, scale = numbers_of.quantize_affine(gain, offset, bits)
        for name, codes, factor in zip(
            op.inputs[1:], (gains, offsets), (1.0, 2.0**-bits), strict=True
        ):
            quantization = Quantization(scales=(scale * factor,))
            quantizer.put(constant(name, codes.astype(np.int32), quantization))
        return op

    # -- arithmetic -----------------------------------------------------------------------------

    def reference(
        self, op: Normalize, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        x, gain, offset = (value.astype(np.int64) for value in values)
        x = x.reshape(op.view)
        if output.dtype is DType.INT16:
            units = wide_numbers_of.normalized(x, _wide(op, inputs), centered=op.centered)
        else:
            zero_point = None if op.centered else inputs[0].quant.zero_point
            units = numbers_of.normalized(x, _numbers(op, inputs), zero_point)
        channels = op.view[2:]
        acc = units * gain.reshape(channels) + offset.reshape(channels)
        scaled = numerics.multiply_by_quantized_multiplier(acc, *_result(inputs, output))
        codes = np.clip(scaled + output.quant.zero_point, *output.dtype.code_range)
        return codes.astype(str(output.dtype)).reshape(output.shape)

    # -- writers --------------------------------------------------------------------------------

    def write_onnx(self, op: Normalize, graph: Graph, builder: OnnxBuilder) -> None:
        shape = graph.tensors[op.inputs[0]].shape
        value = builder.read(op.inputs[0])
        if len(shape) == 4:
            value = transpose_onnx(builder, value, tuple(shape[axis] for axis in TO_NCHW), TO_NHWC)
        value = builder.node("Reshape", [value, int64s(builder, op.view)])
        if op.centered:
            mean = builder.node("ReduceMean", [value], axes=[1, 3], keepdims=1)
            value = builder.node("Sub", [value, mean])
        square = builder.node("Mul", [value, value])
        variance = builder.node("ReduceMean", [square], axes=[1, 3], keepdims=1)
        epsilon = builder.literal(np.array(op.epsilon, np.float32))
        root = builder.node("Sqrt", [builder.node("Add", [variance, epsilon])])
        value = builder.node("Div", [value, root])
        for kind, name in zip(("Mul", "Add"), op.inputs[1:], strict=True):
            affine = builder.read_weights(name, (0,))
            affine = builder.node("Reshape", [affine, int64s(builder, op.view[2:])])
            value = builder.node(kind, [value, affine])
        value = builder.node("Reshape", [value, int64s(builder, shape)])
        if len(shape) == 4:
            value = transpose_onnx(builder, value, shape, TO_NCHW)
        builder.write(op.outputs[0], value)

    def write_tflite(self, op: Normalize, graph: Graph, builder: TfliteBuilder) -> None:
        inputs = [graph.tensors[name] for name in op.inputs]
        output = graph.tensors[op.outputs[0]]
        layer = (builder, op.name, inputs, output, op.view)
        if output.dtype is DType.INT16:
            write_wide_normalization(*layer, _wide(op, inputs), centered=op.centered)
        else:
            write_normalization(*layer, _numbers(op, inputs), centered=op.centered)

    def layer_code(self, op: Normalize, graph: Graph, target: CTarget) -> LayerCode:
        inputs = [graph.tensors[name] for name in op.inputs]
        output = graph.tensors[op.outputs[0]]
        result = _result(inputs, output)
        if output.dtype is DType.INT16:
            numbers16 = _wide(op, inputs)
            return wide_normalize_code(inputs, op.view, numbers16, result, centered=op.centered)
        numbers = _numbers(op, inputs)
        return normalize_code(inputs, output, op.view, numbers, result, centered=op.centered)


def _numbers(op: Normalize, inputs: Sequence[Tensor]) -> numbers_of.Normalization:
    return numbers_of.normalization(op.count, inputs[0].quant.scale, op.epsilon)


def _wide(op: Normalize, inputs: Sequence[Tensor]) -> wide_numbers_of.WideNormalization:
    return wide_numbers_of.normalization(op.count, inputs[0].quant.scale, op.epsilon)


def _result(inputs: Sequence[Tensor], output: Tensor) -> tuple[int, int]:
    """Multiplier and shift from a normalized value times its gain to the output."""
    return numerics.quantize_multiplier(inputs[2].quant.scale / output.quant.scale)


FAMILY = NormalizeFamily()
