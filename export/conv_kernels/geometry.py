"""The shape of a convolution as its kernels see it, and the ranges that must be proved for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import ModelError
from edgefactor.export.conv_kernels.digit_packing import MOST_EVEN_SUM, zero_digit
from edgefactor.export.encodings.codebook import Int8Array, uniform_encoding

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
UINT16_MAX = 2**16 - 1


def reach(outputs: int, kernel: int, stride: int, dilation: int) -> int:
    """Elements of a padded line from the first one that the outputs touch to the last."""
    return (outputs - 1) * stride + (kernel - 1) * dilation + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvGeometry:
    """Shape, padding and output range of one convolution (NHWC, batch 1).

    Bottom and right padding follow from the output size. Padding counts as ``in_zero_point``.
    """

    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    k_h: int
    k_w: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    groups: int = 1
    in_zero_point: int = 0
    out_zero_point: int = 0
    clamp_min: int = -128
    clamp_max: int = 127

    def __post_init__(self) -> None:
        sizes = (
            self.in_h,
            self.in_w,
            self.in_c,
            self.out_h,
            self.out_w,
            self.out_c,
            self.k_h,
            self.k_w,
            self.stride_h,
            self.stride_w,
            self.dilation_h,
            self.dilation_w,
            self.groups,
        )
        if min(sizes) < 1 or max(*sizes, self.pad_top, self.pad_left) > UINT16_MAX:
            raise ModelError(
                "A convolution's sizes are outside what the C kernels take.",
                found=str(self),
                expected=f"1 to {UINT16_MAX}",
            )
        if self.in_c % self.groups or self.out_c % self.groups:
            raise ModelError(
                "The channels of a convolution are not a multiple of its groups.", found=str(self)
            )

    @property
    def window_fields(self) -> dict[str, int]:
        """Sizes and window, named and ordered as the argument structs in C declare them."""
        return {
            "in_h": self.in_h,
            "in_w": self.in_w,
            "in_c": self.in_c,
            "out_h": self.out_h,
            "out_w": self.out_w,
            "out_c": self.out_c,
            "kernel_h": self.k_h,
            "kernel_w": self.k_w,
            "stride_h": self.stride_h,
            "stride_w": self.stride_w,
            "dilation_h": self.dilation_h,
            "dilation_w": self.dilation_w,
            "pad_top": self.pad_top,
            "pad_left": self.pad_left,
        }

    @property
    def range_fields(self) -> dict[str, int]:
        """Zero points and clamps, likewise."""
        return {
            "in_zero_point": self.in_zero_point,
            "out_zero_point": self.out_zero_point,
            "clamp_min": self.clamp_min,
            "clamp_max": self.clamp_max,
        }

    @property
    def taps(self) -> int:
        """Weights of one output channel."""
        return self.k_h * self.k_w * (self.in_c // self.groups)

    @property
    def pixels(self) -> int:
        """Output positions."""
        return self.out_h * self.out_w

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding counted."""
        return self.out_h * self.out_w * self.out_c * self.taps

    @property
    def is_depthwise(self) -> bool:
        """Whether every input channel is its own group."""
        return self.groups == self.in_c and self.groups > 1

    @property
    def is_dense(self) -> bool:
        """Whether every output channel is one dot product with the whole input as it lies."""
        return (
            self.out_h * self.out_w == 1
            and self.taps == self.in_h * self.in_w * self.in_c
            and not self.pads_anything
        )

    @property
    def is_pointwise(self) -> bool:
        """Whether an output pixel depends on one input pixel only."""
        return self.k_h == self.k_w == 1 and not self.pads_anything

    @property
    def pads_anything(self) -> bool:
        """Whether any tap falls outside the input."""
        return (
            max(self.pad_top, self.pad_left) > 0
            or self.plane_h > self.in_h
            or self.plane_w > self.in_w
        )

    @property
    def plane_h(self) -> int:
        """Rows of the padded input that the outputs touch."""
        return reach(self.out_h, self.k_h, self.stride_h, self.dilation_h)

    @property
    def plane_w(self) -> int:
        """Columns of the padded input that the outputs touch."""
        return reach(self.out_w, self.k_w, self.stride_w, self.dilation_w)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConvProof:
    """What holds for every possible input.

    Attributes:
        folded_bias: int32 (O,), with ``-in_zero_point * sum(weights)`` added.
        doubled: Empty if requantization by SMMULR is exact for this layer, else why not.
        o8: Empty if the o8 kernels are exact for this layer, else why not.
        digits: The same for kernels that add up digits of uniform weights.
    """

    folded_bias: NDArray[np.int32]
    doubled: str
    o8: str
    digits: str


def prove_ranges(
    geometry: ConvGeometry,
    codes: Int8Array,
    bias: NDArray[np.int32],
    shifts: NDArray[np.int32],
) -> ConvProof:
    """Bounds every accumulator over all int8 inputs and checks what kernels rely on.

    Raises:
        ModelError: An accumulator can leave int32, so no kernel would be right.
    """
    weights = codes.reshape(geometry.out_c, -1).astype(np.int64)
    folded = bias.astype(np.int64) - geometry.in_zero_point * weights.sum(axis=1)
    positive = np.where(weights > 0, weights, 0).sum(axis=1)
    negative = np.where(weights < 0, weights, 0).sum(axis=1)
    low = folded - 128 * positive + 127 * negative
    high = folded + 127 * positive - 128 * negative
    largest = np.maximum(np.abs(low), np.abs(high))
    # Partial sums stay inside too if bias and final range do, since kernels may add in any order
    # with 128 + weight in place of the weight.
    partial = np.abs(folded) + 255 * 128 * weights.shape[1]
    reach = largest << np.maximum(shifts, 0).astype(np.int64)
    worst = int(np.argmax(np.maximum(reach, partial)))
    if max(int(reach.max()), int(partial.max())) > INT32_MAX - 128:
        raise ModelError(
            "A convolution's accumulator can leave int32.",
            where=f"output channel {worst}",
            found=f"up to {int(reach[worst])} after the shift to the left",
            expected=f"at most {INT32_MAX}",
            hint="a scale of this layer is extreme; look at its bias and its calibration range",
        )
    doubled = _why_not_doubled(largest, shifts)
    return ConvProof(
        folded_bias=folded.astype(np.int32),
        doubled=doubled,
        # Dense layers add the bias to what has left its word.
        o8=doubled or _why_not_o8(np.maximum(largest, np.maximum(folded - low, high - folded))),
        digits=doubled or _why_not_digits(weights),
    )


def _why_not_doubled(largest: NDArray[np.int64], shifts: NDArray[np.int32]) -> str:
    """SMMULR of a doubled accumulator; then rounding and zero point are one addition."""
    if int(largest.max()) >= 2**30:
        return f"a sum can reach {int(largest.max())}, 2^30 is the limit"
    if int(shifts.max()) > -1 or int(shifts.min()) < -22:
        return f"shifts {int(shifts.min())}..{int(shifts.max())}, -22..-1 are taken"
    return ""


def _why_not_o8(largest: NDArray[np.int64]) -> str:
    """A word's sum is 256 * even + odd channel, in 32 bits."""
    even = int(largest[0::2].max())
    return f"an even channel's sum can reach {even}, 2^23 is the limit" if even >= 2**23 else ""


def _why_not_digits(weights: NDArray[np.int64]) -> str:
    """Half a word holds one digit of each of 4 channels, with 2 bits of 2; the last one signed."""
    uniform = uniform_encoding(weights.astype(np.int8))
    if uniform is None:
        return "its weights are not in arithmetic progression"
    digits = (weights - uniform.table[0]) // max(1, uniform.table[1] - uniform.table[0])
    if uniform.bits == 2:
        digits[0::2] -= zero_digit(digits)
        # What is left above the other channel's digit; that one's sums are moved in time.
        limits = {0: 128 * (MOST_EVEN_SUM + 1)}
        in_half = 2
    else:
        digits[3::4] -= 8
        # What is left above the digit.
        limits = {place: 2 ** (31 - 4 * place) for place in range(4)}
        in_half = 4
    sums = 128 * np.abs(digits).sum(axis=1)
    for place, limit in limits.items():
        largest = int(sums[place::in_half].max(initial=0))
        if largest >= limit:
            return f"a sum of digits can reach {largest}, {limit} is the limit"
    return ""
