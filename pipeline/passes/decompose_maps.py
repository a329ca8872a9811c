"""Rules for pools, patches and resizing, of which TFLite and the kernels know the simpler kinds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from edgefactor.pipeline.passes import interpolation
from edgefactor.pipeline.passes.onnx_graph import Shape
from edgefactor.pipeline.passes.parts import Parts


def _dilated_max_pool(parts: Parts) -> bool:
    """The largest of slices, one for each place of the window."""
    dilations = parts.attribute("dilations", [])
    pads, shape = parts.attribute("pads", []), parts.shape
    out = parts.graph.shapes.get(parts.node.output[0])
    named = parts.attribute("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    if not any(d > 1 for d in dilations) or any(pads) or named or out is None:
        return False
    if len(parts.node.output) > 1:
        return False
    strides = parts.attribute("strides", [1] * len(dilations))
    axes = parts.constant(np.arange(2, len(shape), dtype=np.int64))
    steps = parts.constant(np.array(strides, np.int64))
    largest = ""
    for place in itertools.product(*map(range, parts.attribute("kernel_shape", []))):
        starts = np.array([p * d for p, d in zip(place, dilations, strict=True)], np.int64)
        ends = starts + (np.array(out[2:]) - 1) * np.array(strides) + 1
        if np.any(ends > np.array(shape[2:])):
            return False  # ceil mode asks for windows that end outside
        listed = [parts.constant(starts), parts.constant(ends.astype(np.int64)), axes, steps]
        piece = parts.add("Slice", [parts.node.input[0], *listed], out)
        largest = parts.add("Max", [largest, piece], out) if largest else piece
    return True


def _pool_of_three_axes(parts: Parts) -> bool:
    """A pool over depth, rows and columns as one over rows and columns and one over depth."""
    kernel, pads = parts.attribute("kernel_shape", []), parts.attribute("pads", [0] * 6)
    kind = parts.node.op_type
    special = ("ceil_mode", "auto_pad", "dilations")
    plain = not any(_says_something(parts.attribute(name, None)) for name in special)
    counted = kind == "MaxPool" or bool(parts.attribute("count_include_pad", 0)) or not any(pads)
    if len(kernel) != 3 or not plain or not counted or len(parts.node.output) > 1:
        return False
    n, channels, depth, height, width = parts.shape
    strides = parts.attribute("strides", [1, 1, 1])
    common = {"count_include_pad": 1} if kind == "AveragePool" else {}
    out = parts.graph.shapes[parts.node.output[0]]
    value = parts.node.input[0]
    if kernel[1:] != [1, 1] or strides[1:] != [1, 1] or any(pads[1:3] + pads[4:]):
        value = parts.reshape(value, (n, channels * depth, height, width))
        value = parts.add(
            kind,
            [value],
            (n, channels * depth, *out[3:]),
            kernel_shape=kernel[1:],
            strides=strides[1:],
            pads=[*pads[1:3], *pads[4:]],
            **common,
        )
    value = parts.reshape(value, (n, channels, depth, out[3] * out[4]))
    value = parts.add(
        kind,
        [value],
        (n, channels, out[2], out[3] * out[4]),
        kernel_shape=[kernel[0], 1],
        strides=[strides[0], 1],
        pads=[pads[0], 0, pads[3], 0],
        **common,
    )
    parts.reshape(value, out)
    return True


def _says_something(value: Any) -> bool:
    """Whether an attribute is there with more than its default."""
    return value not in (None, 0, b"NOTSET", [1, 1, 1])


def pool(parts: Parts) -> bool:
    """Pools of three axes and dilated ones."""
    return _pool_of_three_axes(parts) or (
        parts.node.op_type == "MaxPool" and _dilated_max_pool(parts)
    )


def col2im(parts: Parts) -> bool:
    """Patches back to a map: a transposed convolution whose kernels each hold a single 1."""
    sizes = [parts.graph.constants.get(name) for name in parts.node.input[1:3]]
    out = parts.graph.shapes.get(parts.node.output[0])
    image, block = sizes
    if image is None or block is None or out is None or block.size != 2:
        return False
    (rows, columns), (height, width) = (np.asarray(a).reshape(2).tolist() for a in (block, image))
    strides = parts.attribute("strides", [1, 1])
    dilations, pads = parts.attribute("dilations", [1, 1]), parts.attribute("pads", [0] * 4)
    grown = (height + pads[0] + pads[2], width + pads[1] + pads[3])
    count = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip(grown, [rows, columns], dilations, strides, strict=True)
    ]
    n, taps = parts.shape[:2]
    channels = out[1]
    value = parts.reshape(parts.node.input[0], (n, taps, *count))
    weights = np.zeros((channels, rows * columns, 1, rows, columns), np.float32)
    place = np.arange(rows * columns)
    weights[:, place, 0, place // columns, place % columns] = 1
    kernel = parts.constant(weights.reshape(taps, 1, rows, columns))
    reached = [
        (c - 1) * s + (k - 1) * d + 1
        for c, s, k, d in zip(count, strides, (rows, columns), dilations, strict=True)
    ]
    added = [size - found for size, found in zip(grown, reached, strict=True)]
    parts.add(
        "ConvTranspose",
        [value, kernel],
        out,
        group=channels,
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=added,
    )
    return True


def gather_nd(parts: Parts) -> bool:
    """With constant indices it chooses rows of the data with its first axes as one."""
    indices = parts.graph.constants.get(parts.node.input[1])
    if indices is None or parts.attribute("batch_dims", 0):
        return False
    shape, depth = parts.shape, indices.shape[-1]
    sizes = np.array(shape[:depth])
    positive = np.where(indices < 0, indices + sizes, indices).reshape(-1, depth)
    flat = np.asarray(np.ravel_multi_index(tuple(positive.T), tuple(sizes)), np.int64)
    rows = parts.reshape(parts.node.input[0], (int(sizes.prod()), *shape[depth:]))
    chosen = parts.constant(flat)
    found = parts.add("Gather", [rows, chosen], (flat.size, *shape[depth:]), axis=0)
    parts.reshape(found, (*indices.shape[:-1], *shape[depth:]))
    return True


def resize(parts: Parts) -> bool:
    """Resizing that is cubic, smooths, or has scales of its own, as products with matrices."""
    mode = parts.attribute("mode", b"nearest")
    antialias = bool(parts.attribute("antialias", 0))
    shape, out = parts.shape, parts.graph.shapes.get(parts.node.output[0])
    if mode not in (b"cubic", b"linear") or out is None or len(shape) != 4:
        return False
    given = _resize_scales(parts, shape, out)
    if given is None or shape[:2] != out[:2]:
        return False
    rule = interpolation.Rule(
        cubic=mode == b"cubic",
        coordinates=parts.attribute("coordinate_transformation_mode", b"half_pixel").decode(),
        coefficient=float(parts.attribute("cubic_coeff_a", -0.75)),
        exclude_outside=bool(parts.attribute("exclude_outside", 0)),
        antialias=antialias,
    )
    if not (rule.cubic or antialias) and _is_plain(rule, shape, out, given):
        return False
    value, sizes = parts.node.input[0], list(shape)
    for axis in (3, 2):
        matrix = interpolation.interpolation_matrix(rule, shape[axis], out[axis], given[axis])
        if matrix is None:
            return False
        sizes[2], sizes[3] = (sizes[2], out[3]) if axis == 3 else (sizes[2], out[2])
        value = parts.add(
            "MatMul", [value, parts.constant(matrix.T.astype(np.float32))], tuple(sizes)
        )
        sizes[2], sizes[3] = sizes[3], sizes[2]
        value = parts.add("Transpose", [value], tuple(sizes), perm=[0, 1, 3, 2])
    return True


def _is_plain(rule: interpolation.Rule, shape: Shape, out: Shape, scales: list[float]) -> bool:
    """Whether a linear resizing is one of those that TFLite has."""
    ratios = [scale * size == new for scale, size, new in zip(scales, shape, out, strict=True)]
    alone = rule.coordinates == "pytorch_half_pixel" and 1 in out[2:]
    return all(ratios) and not alone


def _resize_scales(parts: Parts, shape: Shape, out: Shape) -> list[float] | None:
    """New size over old of each axis, as the node gives it; None where it computes it."""
    scales = [new / old for old, new in zip(shape, out, strict=True)]
    name = parts.node.input[2] if len(parts.node.input) > 2 else ""
    if not name:
        return scales
    given = parts.graph.constants.get(name)
    if given is None:
        return None
    axes = [axis % len(shape) for axis in parts.attribute("axes", range(len(shape)))]
    for axis, scale in zip(axes, given.tolist(), strict=False):
        scales[axis] = float(scale)
    return scales
