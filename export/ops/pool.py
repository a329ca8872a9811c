"""Average and maximum pooling, global pooling, and the mean or maximum over any axes.

TFLite's 8-bit pools keep their input's scale. The average is the sum of the codes of the positions
inside the map over their number, rounded to nearest with halves away from zero; padded positions
take no part. ONNX's ``count_include_pad`` is therefore an explicit pad with the real value 0 in
front of a pool without padding, and the rows that ``ceil_mode`` adds are padding behind.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import Call, CTarget, LayerCode
from edgefactor.export.ir import Array, DType, Graph, Op, Tensor
from edgefactor.export.ops.elementwise import Mul
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.pad import Pad
from edgefactor.export.ops.parts.reductions import lower_reduction
from edgefactor.export.ops.parts.windows import (
    Pair,
    pads_from_onnx,
    positions_inside,
    same_padding,
    settle_padding,
    tflite_padding,
    window_output,
)

NO_DILATION: Pair = (1, 1)
#: Widest row whose sum ``ef_average_pool2d_s8`` keeps in 16 bits.
_LANE_VALUES = 256
#: Times that a window may be as large as what it holds; the rounding grows by as much. PyTorch's
#: pools, which pad by at most half of the kernel, stay within.
_MOST_PADDING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool2D(Op):
    """Input: activation NHWC.

    Attributes:
        kernel: Rows, columns.
        stride: Rows, columns.
        padding: Top, left, bottom, right; padded positions take no part in the result.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool2D(Pool2D):
    """Mean of each window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool2D(Pool2D):
    """Largest value of each window."""


def window_codes(op: Pool2D, x: Array, out: Shape) -> NDArray[np.int64]:
    """[kernel positions, H_out, W_out, C] codes of one map, padding as INT32_MIN."""
    top, left, bottom, right = op.padding
    padded = np.pad(
        x[0].astype(np.int64),
        ((top, bottom), (left, right), (0, 0)),
        constant_values=numerics.INT32_MIN,
    )
    height, width = (out[1] - 1) * op.stride[0] + 1, (out[2] - 1) * op.stride[1] + 1
    return np.stack(
        [
            padded[row : row + height : op.stride[0], column : column + width : op.stride[1]]
            for row in range(op.kernel[0])
            for column in range(op.kernel[1])
        ]
    )


class PoolFamily(Family):
    """What both pools share."""

    onnx_pool: ClassVar[str]
    tflite_code: ClassVar[str]
    function: ClassVar[str]
    #: Whether TFLite's padded positions can be written out, as the lowest code.
    fills: ClassVar[bool]

    def lower(self, node: Node, lowering: Lowering) -> None:
        def emit(tensor: str, shape: Shape, window: Pair) -> str:
            out = (1, shape[1] // window[0], shape[2] // window[1], shape[3])
            return lowering.emit(self.op, [tensor], out, kernel=window)

        if node.op_type.startswith("Reduce"):
            lower_reduction(node, lowering, emit)
        elif node.op_type.startswith("Global"):
            axes = tuple(range(2, len(lowering.shape(node.input(0)))))
            lower_reduction(node, lowering, emit, axes=axes)
        else:
            self._lower_window(node, lowering)

    def _lower_window(self, node: Node, lowering: Lowering) -> None:
        attributes = node.attributes
        kernel = tuple(int(size) for size in attributes["kernel_shape"])
        if len(kernel) not in (1, 2):
            lowering.unsupported(node, f"it is {len(kernel)}-dimensional", "use a 1-D or 2-D pool")
        if len(node.outputs) > 1 and node.outputs[1]:
            lowering.unsupported(
                node, "it returns the indices of the largest values", "use return_indices=False"
            )
        stride, dilation, padding = pads_from_onnx(node, lowering, kernel)
        if dilation != NO_DILATION:
            lowering.unsupported(
                node, "its window is dilated, which TFLite does not offer", "use dilation=1"
            )
        window = (1, kernel[0]) if len(kernel) == 1 else (kernel[0], kernel[1])
        x = lowering.channels_last(node.input(0))
        shape = lowering.graph_shape(x)
        if shape[0] != 1:
            lowering.unsupported(
                node, f"its batch is {shape[0]}", "keep the batch at 1 in front of pools"
            )
        given = padding
        ceil_mode = bool(attributes.get("ceil_mode", 0))
        padding = settle_padding(shape[1:3], window, stride, given, ceil_mode=ceil_mode)
        if attributes.get("count_include_pad", 0) and any(padding):
            # Only the padding that was asked for counts, not what ceil mode adds behind it.
            top, left = padding[:2]
            bottom, right = min(padding[2], given[2]), min(padding[3], given[3])
            padding = (0, 0, padding[2] - bottom, padding[3] - right)
            if top or left or bottom or right:
                shape = (shape[0], shape[1] + top + bottom, shape[2] + left + right, shape[3])
                before, after = (0, top, left, 0), (0, bottom, right, 0)
                x = lowering.emit(Pad, [x], shape, before=before, after=after)
        expressible = not any(padding) or padding == same_padding(
            shape[1:3], window, stride, NO_DILATION
        )
        factors = None
        if not self.fills and not expressible:
            # Such padding is counted, and the result corrected by how much of it there was.
            inside = positions_inside(shape[1:3], window, stride, padding)
            factors = (window[0] * window[1] / inside).astype(np.float32)
            if factors.max() > _MOST_PADDING:
                lowering.unsupported(
                    node,
                    f"of a window of {window[0] * window[1]} positions {inside.min()} lie inside "
                    "the map, and TFLite has no average that leaves the others out",
                    "pad by at most half of the kernel, or use count_include_pad=True",
                )
            top, left, bottom, right = padding
            padding = (0, 0, 0, 0)
            shape = (shape[0], shape[1] + top + bottom, shape[2] + left + right, shape[3])
            before, after = (0, top, left, 0), (0, bottom, right, 0)
            x = lowering.emit(Pad, [x], shape, before=before, after=after)
        height, width = window_output(shape[1:3], window, stride, NO_DILATION, padding)
        promised = lowering.shape(node.outputs[0])[2:]
        if promised != (height, width)[-len(promised) :]:
            # Shape inference before operator set 19 counts a window behind the map, PyTorch not.
            lowering.unsupported(
                node,
                f"its output is {[height, width]} where the file says {list(promised)}",
                "use ceil_mode=False, or a stride no larger than the kernel",
            )
        tensor = lowering.emit(
            self.op,
            [x],
            (shape[0], height, width, shape[3]),
            kernel=window,
            stride=stride,
            padding=padding,
        )
        if factors is not None:
            hint = f"{node.outputs[0]}.factors"
            factor = lowering.add_constant(factors[None, :, :, None], hint)
            tensor = lowering.emit(Mul, [tensor, factor], lowering.graph_shape(tensor))
        lowering.bind_channels_last(node.outputs[0], tensor)

    def widths(self, op: Pool2D) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: Pool2D, inputs: Sequence[Tensor]) -> Shape:
        x = inputs[0].shape
        height, width = window_output(x[1:3], op.kernel, op.stride, NO_DILATION, op.padding)
        return (x[0], height, width, x[3])

    def output_rule(self, op: Pool2D) -> OutputRule:
        return "same"

    def reference(
        self, op: Pool2D, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        codes = self.pool(window_codes(op, values[0], output.shape))
        return codes.astype(str(output.dtype)).reshape(output.shape)

    @abstractmethod
    def pool(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Reduce [kernel positions, ...] codes, INT32_MIN where there is none."""

    def write_onnx(self, op: Pool2D, graph: Graph, builder: OnnxBuilder) -> None:
        top, left, bottom, right = op.padding
        value = builder.node(
            self.onnx_pool,
            [builder.read(op.inputs[0])],
            kernel_shape=list(op.kernel),
            strides=list(op.stride),
            pads=[top, left, bottom, right],
        )
        builder.write(op.outputs[0], value)

    def write_tflite(self, op: Pool2D, graph: Graph, builder: TfliteBuilder) -> None:
        x = graph.tensors[op.inputs[0]]
        source, padding = tflite_padding(
            op,
            x,
            op.kernel,
            op.stride,
            NO_DILATION,
            op.padding,
            builder,
            fill=x.dtype.code_range[0] if self.fills else None,
        )
        builder.op(
            self.tflite_code,
            [source],
            [builder.tensor(op.outputs[0])],
            "Pool2DOptions",
            version=2,
            padding=padding,
            filterHeight=op.kernel[0],
            filterWidth=op.kernel[1],
            strideH=op.stride[0],
            strideW=op.stride[1],
            fusedActivationFunction="NONE",
        )

    def layer_code(self, op: Pool2D, graph: Graph, target: CTarget) -> LayerCode:
        dtype = graph.tensors[op.inputs[0]].dtype
        x, out = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
        by_word = dtype is DType.INT8 and x[3] % 4 == 0 and op.kernel[1] <= _LANE_VALUES
        function = self.function if by_word else f"{self.function}_ref"
        if dtype is DType.INT16:
            function = self.function.replace("_s8", "_s16")
        call = Call(
            function=function,
            struct="ef_pool2d_args",
            args={
                "in_h": x[1],
                "in_w": x[2],
                "channels": x[3],
                "out_h": out[1],
                "out_w": out[2],
                "kernel_h": op.kernel[0],
                "kernel_w": op.kernel[1],
                "stride_h": op.stride[0],
                "stride_w": op.stride[1],
                "pad_top": op.padding[0],
                "pad_left": op.padding[1],
            },
            inputs=(op.inputs[0],),
        )
        # Windows start at or behind the place of their result, in the same order.
        in_place = op.padding[:2] == (0, 0) and out[2] <= op.stride[0] * x[2]
        return LayerCode(
            calls=(call,),
            sources=("ef_pool2d.h", f"{function}.c", *(("ef_word4.h",) if by_word else ())),
            in_place=(0,) if in_place else (),
        )


class AveragePoolFamily(PoolFamily):
    """AveragePool, GlobalAveragePool and ReduceMean."""

    op = AveragePool2D
    onnx_ops = ("AveragePool", "GlobalAveragePool", "ReduceMean")
    onnx_pool = "AveragePool"
    tflite_code = "AVERAGE_POOL_2D"
    function = "ef_average_pool2d_s8"
    fills = False

    def pool(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        inside = codes != numerics.INT32_MIN
        count = inside.sum(axis=0)
        total = np.where(inside, codes, 0).sum(axis=0)
        return np.asarray(np.sign(total) * ((np.abs(total) + count // 2) // count))


class MaxPoolFamily(PoolFamily):
    """MaxPool, GlobalMaxPool and ReduceMax."""

    op = MaxPool2D
    onnx_ops = ("MaxPool", "GlobalMaxPool", "ReduceMax")
    onnx_pool = "MaxPool"
    tflite_code = "MAX_POOL_2D"
    function = "ef_max_pool2d_s8"
    fills = True

    def pool(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(codes.max(axis=0))


AVERAGE = AveragePoolFamily()
MAXIMUM = MaxPoolFamily()
