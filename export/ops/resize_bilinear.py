"""Bilinear resizing of a map: TFLite's RESIZE_BILINEAR on codes, with 10 fractional bits.

TFLite derives its step from the sizes and rounds it to 1/1024 of an element, so positions are off
by at most ``new size / 2048`` of an element: 0.11 at 224 columns. What ONNX says otherwise, such as
a scale that is not the quotient of the sizes, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import Call, CTarget, LayerCode
from edgefactor.export.ir import Array, Graph, Op, Tensor
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)

_ONE = 1 << 10
#: ONNX's coordinate_transformation_mode that each choice of the two flags is.
_MODES = {
    (False, False): "asymmetric",
    (True, False): "align_corners",
    (False, True): "half_pixel",
}
_ADVICE = "resize by mode 'bilinear' to a size, or by mode 'nearest', along the last two axes"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeBilinear(Op):
    """Input: activation NHWC.

    Attributes:
        size: Rows, columns of the output.
        align_corners: Whether the centres of the outermost elements stay where they are.
        half_pixel: Whether elements are areas whose outer edges stay where they are.
    """

    size: tuple[int, int]
    align_corners: bool = False
    half_pixel: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Positions along one axis, in 1/1024 of an element: ``index * scale + offset``."""

    scale: int
    offset: int


def steps_along(op: ResizeBilinear, size: int, new_size: int) -> Steps:
    """TFLite's rule."""
    if op.align_corners and new_size > 1:
        scale = (_ONE * (size - 1) + (new_size - 1) // 2) // (new_size - 1)
    else:
        scale = (_ONE * size + new_size // 2) // new_size
    return Steps(scale=scale, offset=scale // 2 - _ONE // 2 if op.half_pixel else 0)


def positions(op: ResizeBilinear, size: int, new_size: int) -> NDArray[np.int64]:
    """Where each element of the result lies, in 1/1024 of an element."""
    steps = steps_along(op, size, new_size)
    return np.arange(new_size) * steps.scale + steps.offset


def _neighbours(at: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # Division towards zero, as in C; below 0 the lower bound is 0.
    lower = np.maximum(at, 0) // _ONE
    return lower, np.minimum((at + _ONE - 1) // _ONE, size - 1)


def _wanted(
    mode: str, at: NDArray[np.float64], size: int, new_size: int, scale: float
) -> NDArray[np.float64] | None:
    """The positions that ONNX asks for, in elements, within the map."""
    if mode == "align_corners":
        found = at * (size - 1) / (scale * size - 1) if new_size > 1 else at * 0.0
    elif mode == "asymmetric":
        found = at / scale
    elif mode == "pytorch_half_pixel" and new_size == 1:
        found = at * 0.0
    elif mode in ("half_pixel", "pytorch_half_pixel"):
        found = (at + 0.5) / scale - 0.5
    elif mode == "half_pixel_symmetric":
        offset = size / 2 * (1 - new_size / (scale * size))
        found = offset + (at + 0.5) / scale - 0.5
    else:
        return None
    return np.clip(found, 0, size - 1)


def _fits(
    op: ResizeBilinear, mode: str, axes: Sequence[tuple[int, int, float]]
) -> tuple[bool, bool]:
    """Whether TFLite's positions are those asked for, and whether all lie inside the map."""
    same = inside = True
    for size, new_size, scale in axes:
        found = positions(op, size, new_size)
        inside = inside and bool(np.all(found < size * _ONE))
        wanted = _wanted(mode, np.arange(new_size, dtype=np.float64), size, new_size, scale)
        if wanted is None:
            return False, inside
        distance = np.abs(np.clip(found / _ONE, 0, size - 1) - wanted)
        same = same and bool(np.all(distance <= (new_size + 2) / (2 * _ONE)))
    return same, inside


def lower_bilinear(node: Node, lowering: Lowering, scales: Sequence[float]) -> None:
    """Lower a Resize or Upsample in linear mode; ``scales`` per axis, new size over old."""
    shape, new_shape = lowering.shape(node.input(0)), lowering.shape(node.outputs[0])
    axes = [(shape[a], new_shape[a], scales[a]) for a in range(2, len(shape))]
    if node.attributes.get("antialias", 0) and any(new < old for old, new, _ in axes):
        lowering.unsupported(node, "it smoothes before it shrinks", "use antialias=False")
    default = "half_pixel" if node.op_type == "Resize" else "asymmetric"
    mode = str(node.attributes.get("coordinate_transformation_mode", default))
    if len(axes) == 1:
        axes.insert(0, (1, 1, 1.0))
    for align_corners, half_pixel in _MODES:
        op = ResizeBilinear(
            name="",
            inputs=(),
            outputs=(),
            size=(axes[0][1], axes[1][1]),
            align_corners=align_corners,
            half_pixel=half_pixel,
        )
        same, inside = _fits(op, mode, axes)
        if same:
            break
    else:
        lowering.unsupported(
            node,
            f"its coordinates ({mode}, scales {[round(s, 4) for s in scales]}) are none that "
            "TFLite has for these sizes",
            _ADVICE,
        )
    if not inside:
        lowering.unsupported(
            node,
            "TFLite's rounded step would leave the map at the last elements",
            "resize in two steps, or to a multiple of the size",
        )
    x = lowering.channels_last(node.input(0))
    n, _, _, channels = lowering.graph_shape(x)
    if n != 1:
        lowering.unsupported(node, f"its batch is {n}", "use a batch of 1")
    tensor = lowering.emit(
        ResizeBilinear,
        [x],
        (n, *op.size, channels),
        size=op.size,
        align_corners=op.align_corners,
        half_pixel=op.half_pixel,
    )
    lowering.bind_channels_last(node.outputs[0], tensor)


class ResizeBilinearFamily(Family):
    """What Resize in linear mode becomes."""

    op = ResizeBilinear

    def lower(self, node: Node, lowering: Lowering) -> NoReturn:
        lowering.unsupported(node, "no ONNX operator is lowered here", "use Resize")

    def output_shape(self, op: ResizeBilinear, inputs: Sequence[Tensor]) -> Shape:
        return (inputs[0].shape[0], *op.size, inputs[0].shape[3])

    def output_rule(self, op: ResizeBilinear) -> OutputRule:
        return "same"

    def reference(
        self, op: ResizeBilinear, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        x = values[0][0].astype(np.int64)
        at = [positions(op, size, new) for size, new in zip(x.shape, op.size, strict=False)]
        (top, bottom), (left, right) = (
            _neighbours(found, size) for found, size in zip(at, x.shape, strict=False)
        )
        down = (at[0] - _ONE * top)[:, None, None]
        across = (at[1] - _ONE * left)[None, :, None]
        total = (
            x[top][:, left] * (_ONE - down) * (_ONE - across)
            + x[bottom][:, left] * down * (_ONE - across)
            + x[top][:, right] * (_ONE - down) * across
            + x[bottom][:, right] * down * across
        )
        half = np.where(total > 0, _ONE * _ONE // 2, -(_ONE * _ONE // 2))
        # Division towards zero.
        rounded = np.sign(total) * (np.abs(total + half) // (_ONE * _ONE))
        return np.asarray(rounded[None], np.int8)

    def write_onnx(self, op: ResizeBilinear, graph: Graph, builder: OnnxBuilder) -> None:
        n, _, _, channels = graph.tensors[op.outputs[0]].shape
        sizes = builder.literal(np.array([n, channels, *op.size], np.int64))
        value = builder.node(
            "Resize",
            [builder.read(op.inputs[0]), "", "", sizes],
            mode="linear",
            coordinate_transformation_mode=_MODES[op.align_corners, op.half_pixel],
        )
        builder.write(op.outputs[0], value)

    def write_tflite(self, op: ResizeBilinear, graph: Graph, builder: TfliteBuilder) -> None:
        size = builder.int32(op.size, f"{op.name}/size")
        builder.op(
            "RESIZE_BILINEAR",
            [builder.tensor(op.inputs[0]), size],
            [builder.tensor(op.outputs[0])],
            "ResizeBilinearOptions",
            version=3 if op.half_pixel else 2,
            alignCorners=op.align_corners,
            halfPixelCenters=op.half_pixel,
        )

    def layer_code(self, op: ResizeBilinear, graph: Graph, target: CTarget) -> LayerCode:
        _, height, width, channels = graph.tensors[op.inputs[0]].shape
        rows, columns = steps_along(op, height, op.size[0]), steps_along(op, width, op.size[1])
        call = Call(
            function="ef_resize_bilinear_s8",
            struct="ef_resize_bilinear_args",
            args={
                "in_h": height,
                "in_w": width,
                "channels": channels,
                "out_h": op.size[0],
                "out_w": op.size[1],
                "scale_h": rows.scale,
                "scale_w": columns.scale,
                "offset_h": rows.offset,
                "offset_w": columns.offset,
            },
            inputs=(op.inputs[0],),
        )
        return LayerCode(calls=(call,), sources=("ef_resize_bilinear.h", "ef_resize_bilinear_s8.c"))


FAMILY = ResizeBilinearFamily()
