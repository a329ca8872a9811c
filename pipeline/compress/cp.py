"""CP of a convolution: 1x1, a column per map, a row per map, 1x1.

Lebedev et al. 2014 (arXiv 1412.6553); the components by TensorLy's alternating least squares.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgefactor.pipeline.compress.conv_parts import conv_part, plain_window, weights_of
from edgefactor.pipeline.compress.factorization import Ranks
from edgefactor.pipeline.compress.ranked import RankedFactorization
from edgefactor.pipeline.compress.tucker import unfold

FloatArray = NDArray[np.float64]
#: Tikhonov's term for weights of norm 1: the products' squares then add up to about the weights'.
_RIDGE, _NO_RIDGE = 1e-3, 1e-9
#: Iterations before the ridge: with it from the start, planted products are not found.
_FREE = 10
#: Relative error below which a tensor counts as a sum of so many products.
_WHOLE = 0.05


def canonical(
    weights: FloatArray, rank: int, *, iterations: int = 200, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Sum of ``rank`` products of four vectors.

    Few products approximate a tensor best by large ones that nearly cancel, without bound (de Silva
    and Lim 2008, arXiv math/0607647; for convolutions Phan et al. 2020, arXiv 2008.05441), and what
    is left of cancelling channels is lost in 8 bits. A ridge on the factors keeps them small, at
    hardly any cost in error. Where the products can make the whole tensor it is lifted.

    Args:
        weights: [O, I, h, w].
        rank: Number of products; may exceed every axis.
        iterations: Of alternating least squares.
        seed: Of the columns that the start by SVD does not fill.

    Returns:
        Factors [O, R], [I, R], [h, R], [w, R] of columns of equal length, so that none of the
        convolutions they become has values much larger than another's.
    """
    norm = float(np.linalg.norm(weights)) or 1.0
    scaled = weights / norm
    found = _products(scaled, rank, "svd", _FREE, seed, _NO_RIDGE)
    found = _products(scaled, rank, (None, found), iterations, seed, _RIDGE)
    if np.linalg.norm(_sum_of(found) - scaled) < _WHOLE:
        found = _products(scaled, rank, (None, found), iterations, seed, _NO_RIDGE)
    factors = [found[0] * norm, *found[1:]]
    lengths = np.array([np.linalg.norm(factor, axis=0) for factor in factors])
    mean = np.prod(lengths, axis=0) ** 0.25
    even = [
        factor * np.divide(mean, length, out=np.zeros_like(mean), where=length > 0)
        for factor, length in zip(factors, lengths, strict=True)
    ]
    return even[0], even[1], even[2], even[3]


def _products(
    weights: FloatArray, rank: int, start: Any, iterations: int, seed: int, ridge: float
) -> list[FloatArray]:
    from tensorly.decomposition import parafac

    with warnings.catch_warnings():
        # A window has fewer rows than there are products; TensorLy fills the start and says so.
        warnings.simplefilter("ignore")
        result: Any = parafac(
            weights,
            rank,
            n_iter_max=iterations,
            init=start,
            tol=1e-8,
            random_state=seed,
            l2_reg=ridge,
        )
    factors = [np.array(factor, np.float64) for factor in result.factors]
    return [factors[0] * np.asarray(result.weights), *factors[1:]]


def _sum_of(factors: list[FloatArray]) -> FloatArray:
    return np.asarray(np.einsum("or,ir,hr,wr->oihw", *factors, optimize=True), np.float64)


class Canonical(RankedFactorization):
    """Four convolutions for one."""

    name = "cp"
    summary = "1x1, columns, rows, 1x1 in place of a convolution (CP)"

    def fits(self, layer: nn.Module, options: Any = None) -> str:
        return plain_window(layer)

    def matrices(self, layer: nn.Module) -> tuple[FloatArray, ...]:
        # The rank of a tensor has no spectrum of its own; that of the outputs is a lower bound.
        assert isinstance(layer, nn.Conv2d)
        return (unfold(weights_of(layer), 0),)

    def full_ranks(self, layer: nn.Module) -> Ranks:
        """Every tensor is a sum of this many products: one for each pair of the smaller axes."""
        assert isinstance(layer, nn.Conv2d)
        sizes = sorted(layer.weight.shape)
        return (int(sizes[0] * sizes[1] * sizes[2]),)

    def build(self, layer: nn.Module, ranks: Ranks, moment: FloatArray | None) -> nn.Sequential:
        assert isinstance(layer, nn.Conv2d)
        (rank,) = ranks
        outputs, inputs, rows, columns = canonical(weights_of(layer), rank)
        return nn.Sequential(
            conv_part(layer, inputs.T[:, :, None, None]),
            conv_part(layer, rows.T[:, None, :, None], rows=True, groups=rank),
            conv_part(layer, columns.T[:, None, None, :], columns=True, groups=rank),
            conv_part(layer, outputs[:, :, None, None], bias=layer.bias),
        )
