"""Any function of int16 codes by a table of 513 knots with straight lines between.

The size of TensorFlow Lite's int16 lookup tables (``lookup_table.h``), but the roundings are this
project's own, and int32 operators compute it in every runtime. With u the code less -2^15:

    i, f    = u / 128, u % 128
    result  = (128 * T[i] + (T[i + 1] - T[i]) * f + 64) / 128        rounded down

T[i] is the function at code 128 * i - 2^15, at the output's scale. 256 codes are one of int8: where
a function bends by less than a fraction of an output step within half of that, this is as good as a
table of all codes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.ir import DType
from edgefactor.export.numerics import IntArray

Reals = NDArray[np.float64]
#: Codes between two knots, and what makes codes positive.
STEP, OFFSET = 128, 2**15
KNOTS = 2 * OFFSET // STEP + 1
_LOW, _HIGH = DType.INT16.code_range
#: Where functions are looked at, and the share of their reach there that a line may miss.
_REACHES, _MOST_ERROR = (1.0, 8.0), 2.0**-10


def knots(function: Callable[[Reals], Reals], scale: float, output_scale: float) -> IntArray:
    """T: int16 codes (513,); 0 where the function is not defined."""
    places = np.arange(KNOTS, dtype=np.float64) * STEP - OFFSET
    real = np.nan_to_num(function(places * scale) / output_scale, nan=0.0)
    return np.clip(numerics.round_half_away(np.clip(real, 2 * _LOW, 2 * _HIGH)), _LOW, _HIGH)


def interpolate(codes: IntArray, table: IntArray) -> IntArray:
    """The results of int16 codes."""
    u = np.asarray(codes, np.int64) + OFFSET
    i, f = u // STEP, u % STEP
    return np.asarray(table[i] + ((table[i + 1] - table[i]) * f + STEP // 2) // STEP)


def is_smooth(function: Callable[[Reals], Reals]) -> bool:
    """Whether lines between knots follow a function; not if it jumps, or is somewhere undefined."""
    places = np.arange(2 * OFFSET, dtype=np.float64) - OFFSET
    for reach in _REACHES:
        scale = reach / OFFSET
        real = function(places * scale)
        if not np.isfinite(real).all():
            return False
        at = np.append(places[::STEP], OFFSET)
        lines = np.interp(places, at, function(at * scale))
        if np.abs(lines - real).max() > _MOST_ERROR * np.abs(real).max():
            return False
    return True
