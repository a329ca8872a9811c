"""Sliding windows: the padding and size rules that convolutions and pools share.

ONNX pads each side by an explicit number. TFLite knows only VALID (none) and SAME (total padding
for ceil(in / stride) outputs, the odd one after the input); any other padding becomes an explicit
PAD operator in front, which holds the zero point and is therefore exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.ir import Op, Tensor
from edgefactor.export.ops.family import Lowering, Node, TfliteBuilder

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


def window_output(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: Pair, dilation: Pair, padding: Padding
) -> Pair:
    """Rows and columns of the output of a sliding window (floor mode)."""
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    height = (size[0] + padding[0] + padding[2] - spans[0]) // stride[0] + 1
    width = (size[1] + padding[1] + padding[3] - spans[1]) // stride[1] + 1
    return height, width


def same_padding(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: Pair, dilation: Pair
) -> Padding:
    """What TFLite's SAME adds: top, left, bottom, right."""
    totals = [
        max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    top, left = totals[0] // 2, totals[1] // 2
    return top, left, totals[0] - top, totals[1] - left


def settle_padding(
    size: tuple[int, ...], kernel: Pair, stride: Pair, padding: Padding, *, ceil_mode: bool
) -> Padding:
    """The padding behind the map that windows really reach, so that floor mode is right.

    In ceil mode a window that would start in the padding behind the map is left out, as PyTorch
    does and ONNX says since operator set 19.
    """
    ends = []
    for n, k, s, before, after in zip(size, kernel, stride, padding[:2], padding[2:], strict=True):
        room = n + before + after - k
        outputs = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (outputs - 1) * s >= n + before:
            outputs -= 1
        ends.append(max((outputs - 1) * s + k - n - before, 0))
    return padding[0], padding[1], ends[0], ends[1]


def positions_inside(
    size: tuple[int, ...], kernel: Pair, stride: Pair, padding: Padding
) -> NDArray[np.int64]:
    """How many positions of each window lie inside a map: [H_out, W_out]."""
    spans = []
    for n, k, s, before, after in zip(size, kernel, stride, padding[:2], padding[2:], strict=True):
        first = np.arange((n + before + after - k) // s + 1) * s - before
        spans.append(np.minimum(first + k, n) - np.maximum(first, 0))
    return np.outer(*spans)


def _pair(values: Any, default: int, rank: int) -> Pair:
    numbers = [default] * rank if not values else [int(value) for value in values]
    return (1, numbers[0]) if rank == 1 else (numbers[0], numbers[1])


def pads_from_onnx(
    node: Node, lowering: Lowering, kernel: tuple[int, ...]
) -> tuple[Pair, Pair, Padding]:
    """Stride, dilation and padding of an ONNX window of 1 or 2 spatial axes, as 2-D.

    A 1-D window becomes one of height 1. ``auto_pad`` is resolved.
    """
    rank = len(kernel)
    attributes = node.attributes
    stride = _pair(attributes.get("strides"), 1, rank)
    dilation = _pair(attributes.get("dilations"), 1, rank)
    spatial = lowering.shape(node.input(0))[2:]
    size = (1, spatial[0]) if rank == 1 else (spatial[0], spatial[1])
    window = (1, kernel[0]) if rank == 1 else (kernel[0], kernel[1])
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        top, left, bottom, right = same_padding(size, window, stride, dilation)
        if mode == "SAME_LOWER":
            top, left, bottom, right = bottom, right, top, left
        return stride, dilation, (top, left, bottom, right)
    pads = [int(value) for value in attributes.get("pads", ())] or [0] * (2 * rank)
    if mode == "VALID":
        pads = [0] * (2 * rank)
    if rank == 1:
        return stride, dilation, (0, pads[0], 0, pads[1])
    return stride, dilation, (pads[0], pads[1], pads[2], pads[3])


def tflite_padding(
    op: Op,
    x: Tensor,
    kernel: tuple[int, ...],
    stride: Pair,
    dilation: Pair,
    padding: Padding,
    builder: TfliteBuilder,
    fill: int | None = None,
) -> tuple[int, str]:
    """The tensor index a TFLite window reads and its padding mode; adds a PAD where it must.

    ``fill`` is the code that padded positions hold; None: the zero point.
    """
    source = builder.tensor(x.name)
    if not any(padding):
        return source, "VALID"
    if padding == same_padding(x.shape[1:3], kernel, stride, dilation):
        return source, "SAME"
    top, left, bottom, right = padding
    shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
    padded = builder.temporary(shape, x.quant, f"{op.name}/padded", x.dtype)
    amounts = builder.int32([[0, 0], [top, bottom], [left, right], [0, 0]], f"{op.name}/padding")
    if fill is None:
        builder.op("PAD", [source, amounts], [padded], "PadOptions", version=2)
    else:
        data = np.array([fill], str(x.dtype))
        code = builder.constant(data, x.quant, f"{op.name}/fill")
        builder.op("PADV2", [source, amounts, code], [padded], "PadV2Options", version=2)
    return padded, "VALID"
