"""Parameters and multiplications of factorized layers, by the formulas of the textbooks.

With D_in inputs, D_out outputs, a window h x w and a map H x W: a convolution takes
H W h w D_in D_out multiplications, and each factorization what stands beside it below. Biases and
batch norm are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The layer that is replaced; a dense layer has a window and maps of 1.

    Attributes:
        inputs: D_in.
        outputs: D_out.
        window: (h, w).
        map_in: (H, W) of the input.
        map_out: (H, W) of the output.
    """

    inputs: int
    outputs: int
    window: tuple[int, int] = (1, 1)
    map_in: tuple[int, int] = (1, 1)
    map_out: tuple[int, int] = (1, 1)


#: Weights and the positions at which each is used once.
Part = tuple[int, int]


def parts(method: str, layer: Layer, numbers: tuple[int, ...]) -> list[Part]:
    """(weights, positions) of each factor.

    Args:
        method: A method of a recipe, or "convolution".
        layer: What it replaces.
        numbers: Its ranks, multiplier, groups, taps a kernel, or (atoms, nonzeros).
    """
    i, o = layer.inputs, layer.outputs
    h, w = layer.window
    before, after = layer.map_in[0] * layer.map_in[1], layer.map_out[0] * layer.map_out[1]
    # After a column the map has the output's height and still the input's width.
    between = layer.map_out[0] * layer.map_in[1]
    if method == "convolution":
        return [(h * w * i * o, after)]
    if method == "svd":
        (r,) = numbers
        return [(i * r, before), (r * o, after)]
    if method == "tucker":
        r_out, r_in = numbers
        return [(i * r_in, before), (h * w * r_in * r_out, after), (r_out * o, after)]
    if method == "cp":
        (r,) = numbers
        return [(i * r, before), (h * r, between), (w * r, after), (r * o, after)]
    if method == "spatial":
        (r,) = numbers
        return [(h * i * r, between), (w * r * o, after)]
    if method == "depthwise":
        (m,) = numbers
        return [(h * w * i * m, after), (i * m * o, after)]
    if method == "grouped":
        (g,) = numbers
        return [(h * w * i * o // g, after)]
    if method == "shift":
        # As many 1x1 layers as taps are kept of each kernel; the shift itself has neither.
        (taps,) = numbers
        return [(taps * i * o, after)]
    if method == "dictionary":
        atoms, nonzeros = numbers
        return [(i * atoms, before), (nonzeros * o, after)]
    raise ValueError(method)


def counts(method: str, layer: Layer, numbers: tuple[int, ...] = ()) -> tuple[int, int]:
    """(parameters, multiplications)."""
    found = parts(method, layer, numbers)
    return sum(weights for weights, _ in found), sum(w * positions for w, positions in found)
