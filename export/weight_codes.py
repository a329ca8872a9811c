"""Float weights of a layer -> int8 codes, symmetric, one scale a channel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.encodings.vector_code import MOST_VECTORS, WIDTHS

#: Bias codes beyond this are avoided by a larger weight scale. 8 bits of output take no more than
#: 2**18 of them in layers whose channels are alike; the fast kernels hold sums of 23 bits. With
#: 16-bit activations sums only have to stay within int32.
BIAS_LIMIT, WIDE_BIAS_LIMIT = 2**22, 2**29
#: The fast kernels shift a product to the right by 22 bits at most. A channel whose outputs would
#: need more is one that training or pruning switched off.
LEAST_MULTIPLIER = 2.0**-22
#: Decimals of a code before it is rounded; noise of float32 is below.
_DECIMALS = 3
#: Of levels -n to n that are evenly spaced in the float weights, and how exactly they must be.
_MOST_EVEN_LEVEL, _EVEN_TOLERANCE = 7, 1e-4
#: More different vectors than this are no shared ones: weights of their own hardly repeat.
_MOST_SHARE = 0.75
#: Bits of an index, against another way of grouping, that no chance makes.
_CLEARLY_FEWER = 0.75
#: The smallest step between weights: of a channel that is all zeros and has no bias.
LEAST_STEP = 1e-12


def quantize_weights(
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    channel_scale: tuple[float, ...],
    in_scale: float,
    out_scale: float | None,
) -> tuple[NDArray[np.int8], tuple[float, ...]]:
    """Symmetric int8 codes and one scale a channel.

    Free weights get the scale of their own largest magnitude. Weights that share few values get
    one step for the whole layer, times the factor of the channel, so that equal values stay equal.
    A channel whose products are next to nothing beside its bias, or beside one step of the output,
    gets a larger scale than its weights ask for, at which every kernel can compute it.

    Args:
        weights: float32 (O, kh, kw, I/groups).
        bias: float32 (O,).
        channel_scale: Positive factor of each channel that its values are shared up to, or empty.
        in_scale: Scale of the layer's input.
        out_scale: Scale of its 8-bit output; None for a layer with 16-bit activations.

    Returns:
        Codes in [-127, 127], shaped as the weights, and the scale of each channel.
    """
    outputs = weights.shape[0]
    rows = weights.reshape(outputs, -1).astype(np.float64)
    factors = np.array(channel_scale, np.float64) if channel_scale else np.ones(outputs)
    shared = rows / factors[:, None]
    largest = np.abs(shared).max(axis=1)
    if channel_scale:
        # A channel of zeros keeps a small step of its own: what _snap gives it then vanishes.
        largest = np.where(largest > 0, largest.max(), 0.0)
    natural = largest / (_even_top(shared) if channel_scale else numerics.WEIGHT_MAX)
    limit = WIDE_BIAS_LIMIT if out_scale is None else BIAS_LIMIT
    lowest = np.abs(bias.astype(np.float64)) / (in_scale * limit)
    if out_scale is not None:
        lowest = np.maximum(lowest, LEAST_MULTIPLIER * out_scale / in_scale)
    lowest /= factors
    steps = np.maximum(np.maximum(natural, lowest), LEAST_STEP)
    exact = shared / steps[:, None]
    if channel_scale:
        # Dividing by the factor left noise: a value halfway between two codes must get the same one
        # in every channel.
        exact = np.round(exact, _DECIMALS)
    codes = numerics.round_half_away(exact)
    codes = np.clip(codes, -numerics.WEIGHT_MAX, numerics.WEIGHT_MAX).reshape(weights.shape)
    if channel_scale:
        codes = _snap(codes, steps > natural)
    scales = tuple(numerics.float32(scale) for scale in steps * factors)
    return codes.astype(np.int8), scales


def _even_top(shared: NDArray[np.float64]) -> int:
    """The code of the largest magnitude: evenly spaced values, 0 among them, keep even codes."""
    levels = np.unique(np.abs(shared))
    levels = levels[levels > 0]
    if not len(levels) or levels[-1] > _MOST_EVEN_LEVEL * (1 + _EVEN_TOLERANCE) * levels[0]:
        return numerics.WEIGHT_MAX
    multiples = levels / levels[0]
    if np.abs(multiples - np.rint(multiples)).max() > _EVEN_TOLERANCE * multiples[-1]:
        return numerics.WEIGHT_MAX
    top = int(np.rint(multiples[-1]))
    return numerics.WEIGHT_MAX // top * top


def _snap(codes: NDArray[np.int64], coarse: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give channels of a coarser step the nearest codes of the others, which stay as few.

    Where those share vectors, whole vectors are taken. What one place loses the next one gets, so
    that the sum over a channel, which is what the mean of the inputs meets, stays: a table without
    0 makes a channel of zeros one of small codes of both signs.
    """
    if coarse.all() or not coarse.any():
        return codes
    kept = codes[~coarse]
    width = _shared_width(kept)
    along_rows = _shares_kernel_rows(kept, width)
    width = codes.shape[2] if along_rows else width
    laid_out = codes.swapaxes(2, 3) if along_rows else codes
    groups = laid_out.reshape(len(codes), -1, width)
    table = np.unique(groups[~coarse].reshape(-1, width), axis=0)
    result = groups.copy()
    left = np.zeros(int(coarse.sum()))
    for place in range(result.shape[1]):
        wanted = result[coarse, place]
        off = (wanted + left[:, None] / width)[:, None] - table
        nearest = table[np.argmin((off**2).sum(axis=2), axis=1)]
        result[coarse, place] = nearest
        left += (wanted - nearest).sum(axis=1)
    snapped = result.reshape(laid_out.shape)
    return snapped.swapaxes(2, 3) if along_rows else snapped


def _shared_width(codes: NDArray[np.int64]) -> int:
    """How many consecutive weights share their codes together; 1 where each has its own."""
    for width in reversed(WIDTHS):
        if codes[0].size % width == 0:
            vectors = codes.reshape(-1, width)
            most = min(MOST_VECTORS, int(_MOST_SHARE * len(vectors)))
            if len(np.unique(vectors, axis=0)) <= most:
                return width
    return 1


def _shares_kernel_rows(codes: NDArray[np.int64], width: int) -> bool:
    """Whether kernel rows are shared, as Deep k-Means does, rather than `width` weights in turn.

    Few rows make few pairs of weights as well, and few values few rows: what was shared tells
    itself by the least bits a weight.
    """
    if codes.ndim != 4 or codes.shape[2] == 1:
        return False
    rows = codes.swapaxes(2, 3).reshape(-1, codes.shape[2])
    bits = _bits_a_weight(codes.reshape(-1, width))
    return _bits_a_weight(rows) < _CLEARLY_FEWER * bits


def _bits_a_weight(vectors: NDArray[np.int64]) -> float:
    return math.log2(len(np.unique(vectors, axis=0))) / int(vectors.shape[1])
