"""Transposed convolution as a convolution of all phases, then depth to space.

With stride s the results at positions of the same remainder modulo s are an ordinary convolution of
the input with every s-th tap of the kernel. All s * s of them are one convolution with s * s times
the channels, whose results are then interleaved (Shi et al. 2016, "Is the deconvolution layer the
same as a convolutional layer?"). No product with an inserted zero is computed, and every operator
is one that each runtime computes exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.ir import Op
from edgefactor.export.ops.family import Lowering, Node
from edgefactor.export.ops.parts.windows import Padding, Pair
from edgefactor.export.ops.slice import Slice

Reals = NDArray[np.float32]
#: Emits a convolution: input, weights OHWI, bias or None, padding, groups, shape of the result.
EmitConv = Callable[[str, Reals, Reals | None, Padding, int, tuple[int, ...]], str]


def _dilated(weights: Reals, dilation: Pair) -> Reals:
    """Weights [C, O, kh, kw] with zeros between the taps."""
    height, width = ((k - 1) * d + 1 for k, d in zip(weights.shape[2:], dilation, strict=True))
    wide = np.zeros((*weights.shape[:2], height, width), np.float32)
    wide[:, :, :: dilation[0], :: dilation[1]] = weights
    return wide


def phase_weights(weights: Reals, stride: Pair, taps: Pair, groups: int) -> Reals:
    """Weights of all phases, [groups * sh * sw * O/groups, th, tw, C/groups].

    Args:
        weights: [C, O/groups, kh, kw] of the transposed convolution, dilated.
        stride: Rows and columns.
        taps: Kernel of each phase.
        groups: Groups.
    """
    channels, out = weights.shape[:2]
    full = np.zeros((channels, out, taps[0] * stride[0], taps[1] * stride[1]), np.float32)
    full[:, :, : weights.shape[2], : weights.shape[3]] = weights
    # Tap m of phase r is tap m * s + r; a convolution runs over its taps backwards.
    split = full.reshape(groups, channels // groups, out, taps[0], stride[0], taps[1], stride[1])[
        :, :, :, ::-1, :, ::-1, :
    ]
    ordered = split.transpose(0, 4, 6, 2, 3, 5, 1)
    return np.ascontiguousarray(
        ordered.reshape(groups * stride[0] * stride[1] * out, *taps, channels // groups)
    )


def _pair(values: object, default: int, rank: int) -> Pair:
    numbers = [int(v) for v in values] if isinstance(values, (list, tuple)) else [default] * rank
    return (1, numbers[0]) if rank == 1 else (numbers[0], numbers[1])


def lower_transposed(
    node: Node, lowering: Lowering, weights: Reals, transpose: type[Op], emit: EmitConv
) -> None:
    """Lower ConvTranspose.

    Args:
        node: The node.
        lowering: Where to.
        weights: [C, O/groups, *kernel].
        transpose: The class of transposes.
        emit: Emits the convolution of all phases.
    """
    attributes, rank = node.attributes, weights.ndim - 2
    if rank not in (1, 2):
        lowering.unsupported(node, f"it is {rank}-dimensional", "use a 1-D or 2-D convolution")
    shape = lowering.shape(node.input(0))
    if shape[0] != 1:
        lowering.unsupported(node, f"its batch is {shape[0]}", "keep the batch at 1")
    size = (1, shape[2]) if rank == 1 else (shape[2], shape[3])
    promised = lowering.shape(node.outputs[0])
    wanted = (1, promised[2]) if rank == 1 else (promised[2], promised[3])
    weights = weights[:, :, None, :] if rank == 1 else weights
    groups = int(attributes.get("group", 1))
    stride = _pair(attributes.get("strides"), 1, rank)
    weights = _dilated(weights, _pair(attributes.get("dilations"), 1, rank))
    start = _first_positions(node, size, wanted, stride, (weights.shape[2], weights.shape[3]))
    # As many taps as the kernel needs, or as the last result asks for.
    reach = [-(-(s + w) // st) for s, w, st in zip(start, wanted, stride, strict=True)]
    taps = tuple(
        max(-(-k // st), r - n + 1, 1)
        for k, st, r, n in zip(weights.shape[2:], stride, reach, size, strict=True)
    )
    # Of the result of each phase, what is cut off anyway is not computed.
    skipped = [min(s // st, t - 1) for s, st, t in zip(start, stride, taps, strict=True)]
    behind = [max(r - n, 0) for r, n in zip(reach, size, strict=True)]
    start = (start[0] - skipped[0] * stride[0], start[1] - skipped[1] * stride[1])
    before = [t - 1 - q for t, q in zip(taps, skipped, strict=True)]
    height, width = (
        n + b + a - t + 1 for n, b, a, t in zip(size, before, behind, taps, strict=True)
    )
    out = weights.shape[1]
    rows, columns = stride
    if groups > 1 and out > 1 and rows > 1 and columns > 1:
        lowering.unsupported(
            node,
            f"its {groups} groups have {out} channels each",
            "use one group, or as many as there are output channels",
        )
    bias = lowering.constant(node.input(2)) if node.input(2) else None
    repeated = None
    if bias is not None:
        by_group = np.asarray(bias, np.float32).reshape(groups, 1, out)
        repeated = np.tile(by_group, (1, rows * columns, 1)).reshape(-1)
    tensor = emit(
        lowering.channels_last(node.input(0)),
        phase_weights(weights, stride, (taps[0], taps[1]), groups),
        repeated,
        (before[0], before[1], behind[0], behind[1]),
        groups,
        (1, height, width, groups * rows * columns * out),
    )
    if rows * columns > 1:
        # [H, W, groups, rows, columns, O] -> [H, rows, W, columns, groups, O]
        sizes = (height, width, groups, rows, columns, out)
        order = (0, 3, 1, 4, 2, 5)
        kept = [axis for axis in range(6) if sizes[axis] != 1]
        perm = tuple(kept.index(axis) for axis in order if axis in kept)
        viewed = lowering.view(tensor, tuple(sizes[axis] for axis in kept))
        moved = tuple(sizes[axis] for axis in order if axis in kept)
        if perm != tuple(sorted(perm)):
            viewed = lowering.emit(transpose, [viewed], moved, perm=perm)
        tensor = lowering.view(viewed, (1, height * rows, width * columns, groups * out))
    whole = lowering.graph_shape(tensor)
    end = tuple(s + w for s, w in zip(start, wanted, strict=True))
    if (whole[1], whole[2]) != wanted:
        tensor = lowering.emit(
            Slice,
            [tensor],
            (1, *wanted, whole[3]),
            begin=(0, *start, 0),
            end=(1, *end, whole[3]),
            step=(1, 1, 1, 1),
        )
    lowering.bind_channels_last(node.outputs[0], tensor)


def _first_positions(node: Node, size: Pair, wanted: Pair, stride: Pair, kernel: Pair) -> Pair:
    """How much of the full result is cut off in front: the padding before, per axis."""
    attributes = node.attributes
    rank = len(attributes.get("kernel_shape", attributes.get("strides", (0, 0))))
    mode = attributes.get("auto_pad", "NOTSET")
    pads = [int(value) for value in attributes.get("pads", ())]
    if pads and mode == "NOTSET" and "output_shape" not in attributes:
        rank = len(pads) // 2
        return (0, pads[0]) if rank == 1 else (pads[0], pads[1])
    if mode == "VALID" or (mode == "NOTSET" and "output_shape" not in attributes):
        return 0, 0
    extra = attributes.get("output_padding") or [0] * rank
    added = (0, int(extra[0])) if rank == 1 else (int(extra[0]), int(extra[1]))
    totals = [
        max((n - 1) * s + k + a - w, 0)
        for n, s, k, a, w in zip(size, stride, kernel, added, wanted, strict=True)
    ]
    before = [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in totals]
    return before[0], before[1]
