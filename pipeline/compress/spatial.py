"""Spatially separable kernels: a column, then a row; h + w weights in place of h w.

Per kernel the best sum of r columns times rows is its SVD; not every kernel has rank 1, so what is
lost is reported. A depthwise convolution is split so. For a convolution of all inputs each pair of
channels would need a map of its own in between (``kernels = "each"`` says how many), so its kernels
are split jointly: (D_in, h) by (w, D_out), with R maps in between (Jaderberg et al. 2014, arXiv
1405.3866, scheme 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgefactor.pipeline.compress.conv_parts import conv_part, weights_of
from edgefactor.pipeline.compress.factorization import RankOptions, Ranks
from edgefactor.pipeline.compress.ranked import RankedFactorization
from edgefactor.pipeline.compress.svd import truncated_svd

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialOptions(RankOptions):
    """Options of ``spatial``.

    Attributes:
        kernels: How a convolution of all inputs is split: all its kernels jointly, or "each" by
            itself, which is refused with what it would take.
    """

    kernels: Literal["joint", "each"] = "joint"


def separate_kernels(kernels: FloatArray, rank: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Every kernel as ``rank`` columns times rows.

    Args:
        kernels: [..., h, w].
        rank: At most min(h, w).

    Returns:
        Columns [..., rank, h], rows [..., rank, w], and per kernel the part of its squared length
        that is lost.
    """
    u, s, vt = np.linalg.svd(kernels, full_matrices=False)
    root = np.sqrt(s[..., :rank, None])
    lost = np.sum(s[..., rank:] ** 2, axis=-1)
    total = np.sum(s**2, axis=-1)
    residual = np.divide(lost, total, out=np.zeros_like(lost), where=total > 0)
    return np.swapaxes(u[..., :rank], -1, -2) * root, vt[..., :rank, :] * root, residual


def joint_matrix(weights: FloatArray) -> FloatArray:
    """[D_in h, D_out w]: a product of rank R is R columns over all inputs and R rows to all."""
    outputs, inputs, height, width = weights.shape
    return weights.transpose(1, 2, 0, 3).reshape(inputs * height, outputs * width)


def separate_jointly(weights: FloatArray, rank: int) -> tuple[FloatArray, FloatArray]:
    """The best split of all kernels at once.

    Returns:
        Columns [rank, I, h, 1] and rows [O, rank, 1, w].
    """
    outputs, inputs, height, width = weights.shape
    left, right = truncated_svd(joint_matrix(weights), rank)
    columns = left.T.reshape(rank, inputs, height, 1)
    rows = right.reshape(rank, outputs, width).transpose(1, 0, 2)[:, :, None, :]
    return columns, rows


def _each_kernel(layer: nn.Conv2d) -> str:
    """Why the kernels of a convolution of all inputs are not split one by one."""
    outputs, inputs, height, width = layer.weight.shape
    maps = outputs * inputs
    return (
        f"its kernels one by one would need {maps:,} maps between columns and rows, one for each "
        f"pair of its {inputs} inputs and {outputs} outputs, to take {maps * (height + width):,} "
        f"weights at rank 1 where the layer has {maps * height * width:,}"
    )


class Spatial(RankedFactorization):
    """(h, 1), then (1, w)."""

    name = "spatial"
    summary = "columns, then rows, in place of a window; depthwise per kernel, others jointly"
    options = SpatialOptions

    def fits(self, layer: nn.Module, options: Any = None) -> str:
        if not isinstance(layer, nn.Conv2d):
            return "it is no convolution"
        if min(layer.kernel_size) == 1:
            return f"its window is {layer.kernel_size[0]}x{layer.kernel_size[1]}"
        if layer.groups not in (1, layer.in_channels):
            return f"it has {layer.groups} groups"
        if options is not None and options.kernels == "each" and not self._is_depthwise(layer):
            return _each_kernel(layer)
        return ""

    def _is_depthwise(self, layer: nn.Conv2d) -> bool:
        return layer.groups == layer.in_channels and layer.weight.shape[1] == 1

    def matrices(self, layer: nn.Module) -> tuple[FloatArray, ...]:
        assert isinstance(layer, nn.Conv2d)
        weights = weights_of(layer)
        if self._is_depthwise(layer):
            # One spectrum for all kernels: the k-th value is the norm of the k-th components.
            spectrum = np.linalg.norm(np.linalg.svd(weights[:, 0], compute_uv=False), axis=0)
            return (np.diag(spectrum),)
        return (joint_matrix(weights),)

    def full_ranks(self, layer: nn.Module) -> Ranks:
        assert isinstance(layer, nn.Conv2d)
        if self._is_depthwise(layer):
            return (min(layer.kernel_size),)
        return (min(joint_matrix(weights_of(layer)).shape),)

    def facts(self, layer: nn.Module, ranks: Ranks) -> dict[str, Any]:
        """What would be lost of each kernel if it were one column times one row."""
        assert isinstance(layer, nn.Conv2d)
        residual = separate_kernels(weights_of(layer), 1)[2]
        return {"kernel_residual": float(residual.mean()), "worst_kernel": float(residual.max())}

    def build(self, layer: nn.Module, ranks: Ranks, moment: FloatArray | None) -> nn.Sequential:
        assert isinstance(layer, nn.Conv2d)
        (rank,) = ranks
        weights = weights_of(layer)
        if not self._is_depthwise(layer):
            columns, rows = separate_jointly(weights, rank)
            return nn.Sequential(
                conv_part(layer, columns, rows=True),
                conv_part(layer, rows, columns=True, bias=layer.bias),
            )
        outputs, _, height, width = weights.shape
        columns, rows, _ = separate_kernels(weights[:, 0], rank)
        # With several outputs an input, torch orders them input by input, as the groups do.
        return nn.Sequential(
            conv_part(
                layer,
                columns.reshape(outputs * rank, 1, height, 1),
                rows=True,
                groups=layer.in_channels,
            ),
            conv_part(
                layer,
                rows.reshape(outputs, rank, 1, width),
                columns=True,
                groups=outputs,
                bias=layer.bias,
            ),
        )
