"""Exact integer linear forms: ``out = clamp((m1*x1 + m2*x2 + offset) >> shift)`` on int8 codes.

The device's definition of an addition or a requantization rounds several times, with 64-bit
products. On int8 codes the result is a staircase with few steps, and nearly always one 32-bit
linear form with a single shift gives the same code for every possible input. ``fit`` looks for one
near the real slopes and proves it by trying all codes (256, or all 65,536 pairs); where there is
none the caller keeps the longer arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.numerics import INT8_MAX, INT8_MIN, IntArray, wrap_int32

#: Multipliers are tried up to so many units away from the real slope.
_REACH = 16
_NEVER = 2**62
INT8_RANGE = (INT8_MIN, INT8_MAX)
#: Lowest shift that still separates neighbouring codes well enough to be worth a try.
_LOWEST_SHIFT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearForm:
    """A proven form.

    Attributes:
        multipliers: One an input; they act on raw codes, zero points are in the offset.
        offset: int32, rounding and zero points included; sums wrap around modulo 2**32.
        shift: Arithmetic right shift.
    """

    multipliers: tuple[int, ...]
    offset: int
    shift: int

    def apply(self, codes: Sequence[IntArray], clamp: tuple[int, int] = INT8_RANGE) -> IntArray:
        """The form on arrays of codes, as the C kernels compute it, clamped."""
        total = np.int64(self.offset) + sum(
            np.int64(m) * np.asarray(x, np.int64)
            for m, x in zip(self.multipliers, codes, strict=True)
        )
        return np.asarray(np.clip(wrap_int32(np.asarray(total)) >> self.shift, *clamp))


def _bounds(outputs: IntArray, clamp: tuple[int, int], shift: int) -> tuple[IntArray, IntArray]:
    """Smallest and largest sums that still give each output; saturated ones are open-ended."""
    lower = np.where(outputs == clamp[0], -_NEVER, outputs << shift)
    upper = np.where(outputs == clamp[1], _NEVER, ((outputs + 1) << shift) - 1)
    return lower, upper


def _offsets(
    codes: Sequence[IntArray],
    bounds: tuple[IntArray, IntArray],
    near: Sequence[int],
    steps: Sequence[IntArray],
) -> tuple[IntArray, IntArray]:
    """For all multipliers ``near + steps`` the interval of offsets that satisfies the bounds.

    Only inputs whose bound is within reach of the tightest one can decide, so few are looked at.
    """
    base = sum(n * x for n, x in zip(near, codes, strict=True))
    lower, upper = bounds[0] - base, bounds[1] - base
    slack = 2 * 128 * _REACH * len(codes)
    lowest = np.full(steps[0].shape, -_NEVER, np.int64)
    highest = np.full(steps[0].shape, _NEVER, np.int64)
    for i in np.flatnonzero(lower >= lower.max() - slack):
        lowest = np.maximum(
            lowest, lower[i] - sum(x[i] * s for x, s in zip(codes, steps, strict=True))
        )
    for i in np.flatnonzero(upper <= upper.min() + slack):
        highest = np.minimum(
            highest, upper[i] - sum(x[i] * s for x, s in zip(codes, steps, strict=True))
        )
    return lowest, highest


def fit(
    codes: Sequence[IntArray],
    outputs: IntArray,
    slopes: Sequence[float],
    *,
    clamp: tuple[int, int] = INT8_RANGE,
) -> LinearForm | None:
    """A form that equals ``outputs`` on all ``codes``, or None.

    Args:
        codes: Flat arrays, one an input, together holding every combination that can occur.
        outputs: The codes to reproduce.
        slopes: Real change of the output code per input code.
        clamp: Lowest and highest code; results at these are taken as saturated.
    """
    codes = [np.asarray(x, np.int64).reshape(-1) for x in codes]
    outputs = np.asarray(outputs, np.int64).reshape(-1)
    real = np.zeros(outputs.shape)
    for slope, x in zip(slopes, codes, strict=True):
        real += slope * x
    inner = (outputs > clamp[0]) & (outputs < clamp[1])
    centre = float(np.median(outputs[inner] - real[inner])) if inner.any() else 0.0
    largest = float(np.abs(real + centre).max()) + 2
    highest_shift = min(30, 30 - math.ceil(math.log2(largest)))
    grid = np.arange(-_REACH, _REACH + 1)
    steps: list[NDArray[np.int64]] = list(np.meshgrid(*[grid] * len(codes), indexing="ij"))
    for shift in range(highest_shift, max(highest_shift - 2, _LOWEST_SHIFT), -1):
        near = [round(slope * 2.0**shift) for slope in slopes]
        if max(map(abs, near)) + _REACH >= 2**31:
            continue
        lowest, highest = _offsets(codes, _bounds(outputs, clamp, shift), near, steps)
        margin = (highest - lowest).reshape(-1)
        best = int(np.argmax(margin))
        if margin[best] < 0:
            continue
        offset = (int(lowest.reshape(-1)[best]) + int(highest.reshape(-1)[best])) // 2
        form = LinearForm(
            multipliers=tuple(
                int(n + s.reshape(-1)[best]) for n, s in zip(near, steps, strict=True)
            ),
            offset=int(wrap_int32(np.array(offset))),
            shift=shift,
        )
        if np.array_equal(form.apply(codes, clamp), outputs):
            return form
    return None
