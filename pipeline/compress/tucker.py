"""Tucker-2 of a convolution: 1x1 to few maps, the window between few maps, 1x1 back.

Kim et al. 2015 (arXiv 1511.06530). The factors are found by higher-order orthogonal iteration from
a start by higher-order SVD, which is TensorLy's ``partial_tucker``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgefactor.pipeline.compress.conv_parts import conv_part, plain_window, weights_of
from edgefactor.pipeline.compress.factorization import Ranks
from edgefactor.pipeline.compress.ranked import RankedFactorization

FloatArray = NDArray[np.float64]


def unfold(tensor: FloatArray, axis: int) -> FloatArray:
    """The tensor as a matrix whose rows run over one axis."""
    return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)


def tucker2(
    weights: FloatArray, outer: int, inner: int, *, iterations: int = 50
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Factors of the two channel axes.

    Args:
        weights: [O, I, h, w].
        outer: Rank of the outputs.
        inner: Rank of the inputs.
        iterations: Of the orthogonal iteration; 0 for the higher-order SVD alone.

    Returns:
        Output factor [O, outer], core [outer, inner, h, w], input factor [I, inner]; the channel
        factors are orthonormal.
    """
    from tensorly.decomposition import partial_tucker

    if iterations == 0:
        factors = [
            np.linalg.svd(unfold(weights, axis), full_matrices=False)[0][:, :rank]
            for axis, rank in ((0, outer), (1, inner))
        ]
        core = np.einsum("oihw,op,iq->pqhw", weights, *factors)
        return factors[0], core, factors[1]
    result: Any = partial_tucker(
        weights, rank=[outer, inner], modes=[0, 1], n_iter_max=iterations, tol=1e-7
    )
    core, factors = result[0]
    return factors[0], core, factors[1]


class Tucker(RankedFactorization):
    """Three convolutions for one."""

    name = "tucker"
    summary = "1x1, a window between few maps, 1x1 in place of a convolution (Tucker-2)"

    def fits(self, layer: nn.Module, options: Any = None) -> str:
        return plain_window(layer)

    def matrices(self, layer: nn.Module) -> tuple[FloatArray, ...]:
        assert isinstance(layer, nn.Conv2d)
        weights = weights_of(layer)
        return unfold(weights, 0), unfold(weights, 1)

    def full_ranks(self, layer: nn.Module) -> Ranks:
        return tuple(min(matrix.shape) for matrix in self.matrices(layer))

    def build(self, layer: nn.Module, ranks: Ranks, moment: FloatArray | None) -> nn.Sequential:
        assert isinstance(layer, nn.Conv2d)
        left, core, right = tucker2(weights_of(layer), *ranks)
        return nn.Sequential(
            conv_part(layer, right.T[:, :, None, None]),
            conv_part(layer, core, rows=True, columns=True),
            conv_part(layer, left[:, :, None, None], bias=layer.bias),
        )
