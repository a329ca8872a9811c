"""Cubic and smoothing resizing as two products with constant matrices.

Resizing is linear along each axis: a row of the matrix holds how much each old element weighs in a
new one, by the rules of ONNX's Resize. Both products are dense layers, exact in every runtime.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a Resize node interpolates.

    Attributes:
        cubic: Whether by four neighbours, or linearly by two.
        coordinates: Its coordinate_transformation_mode.
        coefficient: Of the cubic kernel.
        exclude_outside: Whether neighbours outside of the map take no part; else the edge repeats.
        antialias: Whether the kernel widens where the map shrinks.
    """

    cubic: bool
    coordinates: str
    coefficient: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


def _position(rule: Rule, index: int, size: int, new_size: int, scale: float) -> float | None:
    """Where an element of the result lies in the old map; None for an unknown rule."""
    mode = rule.coordinates
    if mode == "align_corners":
        return index * (size - 1) / (scale * size - 1) if scale * size != 1 else 0.0
    if mode == "asymmetric":
        return index / scale
    if mode == "pytorch_half_pixel" and new_size == 1:
        return 0.0
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (index + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return size / 2 * (1 - new_size / (scale * size)) + (index + 0.5) / scale - 0.5
    return None


def _kernel(rule: Rule, distance: float) -> float:
    x = abs(distance)
    if not rule.cubic:
        return max(1 - x, 0.0)
    a = rule.coefficient
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0


def interpolation_matrix(rule: Rule, size: int, new_size: int, scale: float) -> Matrix | None:
    """The matrix [new_size, size] along one axis; None for coordinates that it does not know."""
    matrix = np.zeros((new_size, size))
    shrink = min(scale, 1.0) if rule.antialias else 1.0
    reach = math.ceil((2 if rule.cubic else 1) / shrink)
    for index in range(new_size):
        at = _position(rule, index, size, new_size, scale)
        if at is None:
            return None
        first = math.floor(at) - reach + 1
        weights = {
            place: _kernel(rule, (place - at) * shrink) for place in range(first, first + 2 * reach)
        }
        if rule.exclude_outside:
            weights = {place: w for place, w in weights.items() if 0 <= place < size}
        total = sum(weights.values())
        for place, weight in weights.items():
            matrix[index, min(max(place, 0), size - 1)] += weight / total
    return matrix
