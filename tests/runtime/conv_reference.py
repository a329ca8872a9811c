"""The convolution of the int8 Graph in plain NumPy with 64-bit sums, and seeded layers to try.

Written from the definition, independently of the exporter's own reference.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.conv_kernels.geometry import ConvGeometry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConvLayer:
    """A convolution with all its numbers, an input and the exact output."""

    name: str
    geometry: ConvGeometry
    codes: NDArray[np.int8]
    bias: NDArray[np.int32]
    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int32]
    input: NDArray[np.int8]
    output: NDArray[np.int8]


def requantize(acc: NDArray[np.int64], multiplier: int, shift: int) -> NDArray[np.int64]:
    """gemmlowp double rounding on 64-bit integers."""
    scaled: NDArray[np.int64] = ((acc << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    exponent = max(-shift, 0)
    if exponent == 0:
        return scaled
    magnitude = (np.abs(scaled) + (1 << (exponent - 1))) >> exponent
    return np.asarray(np.sign(scaled) * magnitude, np.int64)


def convolve(
    g: ConvGeometry,
    codes: NDArray[np.int8],
    bias: NDArray[np.int32],
    multipliers: NDArray[np.int32],
    shifts: NDArray[np.int32],
    data: NDArray[np.int8],
) -> NDArray[np.int8]:
    """The exact output (out_h, out_w, out_c) of an input (in_h, in_w, in_c)."""
    below = max(g.plane_h - g.in_h - g.pad_top, 0)
    right = max(g.plane_w - g.in_w - g.pad_left, 0)
    x = np.pad(
        data.astype(np.int64),
        ((g.pad_top, below), (g.pad_left, right), (0, 0)),
        constant_values=g.in_zero_point,
    )
    weights = codes.astype(np.int64)
    in_per_group, out_per_group = g.in_c // g.groups, g.out_c // g.groups
    acc = np.zeros((g.out_h, g.out_w, g.out_c), np.int64)
    for ky in range(g.k_h):
        for kx in range(g.k_w):
            y0, x0 = ky * g.dilation_h, kx * g.dilation_w
            rows = slice(y0, y0 + (g.out_h - 1) * g.stride_h + 1, g.stride_h)
            columns = slice(x0, x0 + (g.out_w - 1) * g.stride_w + 1, g.stride_w)
            window = x[rows, columns] - g.in_zero_point
            for group in range(g.groups):
                ins = slice(group * in_per_group, (group + 1) * in_per_group)
                outs = slice(group * out_per_group, (group + 1) * out_per_group)
                acc[..., outs] += window[..., ins] @ weights[outs, ky, kx].T
    acc += bias
    scaled = np.stack(
        [requantize(acc[..., c], int(multipliers[c]), int(shifts[c])) for c in range(g.out_c)],
        axis=-1,
    )
    return np.clip(scaled + g.out_zero_point, g.clamp_min, g.clamp_max).astype(np.int8)


def make_layer(
    name: str,
    geometry: ConvGeometry,
    *,
    values: int = 255,
    seed: int = 0,
    extreme: bool = False,
    spread: float = 40.0,
) -> ConvLayer:
    """A seeded layer whose outputs use the int8 range.

    Args:
        name: Says what the case is about.
        geometry: Shapes, zero points, clamps.
        values: Number of distinct weights to draw from, 255 for all.
        seed: Of the generator.
        extreme: Weights and inputs at the ends of their ranges only.
        spread: Standard deviation wanted at the output, in codes; above about 1e4 the
            multipliers shift to the left.
    """
    rng = np.random.default_rng(seed)
    pool = (
        np.arange(-127, 128)
        if values == 255
        else rng.choice(np.arange(-127, 128), values, replace=False)
    )
    if extreme:
        pool = np.array([-127, 127])
    g = geometry
    shape = (g.out_c, g.k_h, g.k_w, g.in_c // g.groups)
    codes = rng.choice(pool, shape).astype(np.int8)
    ends = np.array([-128, 127])
    source = (g.in_h, g.in_w, g.in_c)
    data = (rng.choice(ends, source) if extreme else rng.integers(-128, 128, source)).astype(
        np.int8
    )
    bias = rng.integers(-2000, 2000, g.out_c).astype(np.int32)
    sigma = 74.0 * 74.0 * np.sqrt(g.taps)
    real = spread / sigma * rng.uniform(0.5, 2.0, g.out_c)
    mantissa, exponent = np.frexp(real)
    multipliers = np.minimum(np.round(mantissa * 2.0**31), 2.0**31 - 1).astype(np.int32)
    shifts = exponent.astype(np.int32)
    return ConvLayer(
        name=name,
        geometry=g,
        codes=codes,
        bias=bias,
        multipliers=multipliers,
        shifts=shifts,
        input=data,
        output=convolve(g, codes, bias, multipliers, shifts, data),
    )


def conv(
    in_hwc: tuple[int, int, int],
    out_c: int,
    kernel: tuple[int, int] = (1, 1),
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    groups: int = 1,
    in_zero_point: int = 0,
    out_zero_point: int = 0,
    clamp_min: int = -128,
    clamp_max: int = 127,
) -> ConvGeometry:
    """A geometry with its output size; ``pads`` is (top, left, bottom, right)."""
    sizes = [
        (size + before + after - step * (k - 1) - 1) // s + 1
        for size, before, after, step, k, s in zip(
            in_hwc[:2], pads[:2], pads[2:], dilation, kernel, stride, strict=True
        )
    ]
    return ConvGeometry(
        in_h=in_hwc[0],
        in_w=in_hwc[1],
        in_c=in_hwc[2],
        out_h=sizes[0],
        out_w=sizes[1],
        out_c=out_c,
        k_h=kernel[0],
        k_w=kernel[1],
        stride_h=stride[0],
        stride_w=stride[1],
        dilation_h=dilation[0],
        dilation_w=dilation[1],
        pad_top=pads[0],
        pad_left=pads[1],
        groups=groups,
        in_zero_point=in_zero_point,
        out_zero_point=out_zero_point,
        clamp_min=clamp_min,
        clamp_max=clamp_max,
    )
