"""Truncated SVD of dense and 1x1 layers: one matrix becomes the product of two thin ones.

With inputs at hand the error of the layer's output is minimised in place of the error of its
weights: reduced-rank regression, exact for the inputs' second moments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress.conv_parts import as_tensor, conv_part
from edgefactor.pipeline.compress.factorization import Ranks
from edgefactor.pipeline.compress.ranked import RankedFactorization

FloatArray = NDArray[np.float64]


def truncated_svd(matrix: FloatArray, rank: int) -> tuple[FloatArray, FloatArray]:
    """The best product of rank ``rank`` in the Frobenius norm (Eckart and Young 1936).

    Returns:
        Left [rows, rank] and right [rank, columns]; the singular values are shared evenly.
    """
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * vt[:rank]


def reduced_rank(
    matrix: FloatArray, second_moment: FloatArray, rank: int
) -> tuple[FloatArray, FloatArray]:
    """The product of rank ``rank`` that minimises the mean of ``|(matrix - left right) x|^2``.

    Args:
        matrix: [outputs, inputs].
        second_moment: Mean of ``x x'``, [inputs, inputs].
        rank: Components to keep.
    """
    values, vectors = np.linalg.eigh(second_moment)
    root = vectors * np.sqrt(np.maximum(values, 0))
    u, _, _ = np.linalg.svd(matrix @ root, full_matrices=False)
    # Outputs are projected on their principal directions; scaling them by the square root of
    # their size shares it between the factors as in the plain SVD.
    left = u[:, :rank]
    right = left.T @ matrix
    size = np.sqrt(np.maximum(np.linalg.norm(right, axis=1), 1e-12))
    return left * size, right / size[:, None]


def matrix_of(layer: nn.Module) -> FloatArray:
    """The weights of a dense or 1x1 layer as [outputs, inputs].

    Raises:
        OptionError: If the layer is another one.
    """
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.kernel_size != (1, 1)):
        raise OptionError(
            "SVD factorizes dense and 1x1 layers",
            found=f"a window of {layer.kernel_size} in {layer.groups} groups",
            hint='Use "tucker", "cp" or "spatial" for larger windows.',
        )
    return weight.detach().flatten(1).cpu().double().numpy()


class Svd(RankedFactorization):
    """Two thin layers for a dense or 1x1 one."""

    name = "svd"
    summary = "two thin layers for a dense or 1x1 layer, of the rank that is kept"
    uses_moment = True

    def fits(self, layer: nn.Module, options: Any = None) -> str:
        if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.kernel_size != (1, 1)):
            return "it is no dense or 1x1 layer"
        return ""

    def matrices(self, layer: nn.Module) -> tuple[FloatArray, ...]:
        return (matrix_of(layer),)

    def full_ranks(self, layer: nn.Module) -> Ranks:
        return (min(matrix_of(layer).shape),)

    def build(self, layer: nn.Module, ranks: Ranks, moment: FloatArray | None) -> nn.Sequential:
        matrix = matrix_of(layer)
        (rank,) = ranks
        left, right = (
            truncated_svd(matrix, rank) if moment is None else reduced_rank(matrix, moment, rank)
        )
        bias: Tensor | None = layer.bias  # type: ignore[assignment]
        if isinstance(layer, nn.Conv2d):
            return nn.Sequential(
                conv_part(layer, right[:, :, None, None], rows=True, columns=True),
                conv_part(layer, left[:, :, None, None], bias=bias),
            )
        weight: Tensor = layer.weight  # type: ignore[assignment]
        first = nn.Linear(matrix.shape[1], rank, bias=False)
        second = nn.Linear(rank, matrix.shape[0], bias=bias is not None)
        with torch.no_grad():
            first.weight.copy_(as_tensor(right, weight))
            second.weight.copy_(as_tensor(left, weight))
            if bias is not None:
                second.bias.copy_(bias)
        return nn.Sequential(first.to(weight.device), second.to(weight.device))
