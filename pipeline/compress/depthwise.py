"""Depthwise-separable in place of a convolution: a window per channel, then 1x1.

Howard et al. 2017 (arXiv 1704.04861). Per input channel the windows of all outputs are a matrix
[D_out, h w]; its best product of rank m gives m depthwise windows and their weights in the 1x1
layer, which is the least-squares start for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgefactor.pipeline.compress.conv_parts import (
    check_rank,
    conv_part,
    plain_window,
    weights_of,
)
from edgefactor.pipeline.compress.factorization import Factorization, FactorOptions, Site
from edgefactor.pipeline.compress.method import check_range

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseOptions(FactorOptions):
    """Options of the replacement.

    Attributes:
        multiplier: Windows for each input channel.
    """

    multiplier: int = 1

    def __post_init__(self) -> None:
        FactorOptions.__post_init__(self)
        check_range("multiplier", self.multiplier, 1, 1 << 16)


def separate_channels(weights: FloatArray, multiplier: int) -> tuple[FloatArray, FloatArray, float]:
    """The nearest depthwise-separable convolution.

    Args:
        weights: [O, I, h, w].
        multiplier: Windows for each input channel.

    Returns:
        Depthwise windows [I * multiplier, 1, h, w], mixing weights [O, I * multiplier, 1, 1], and
        the part of the squared length that is lost.
    """
    outputs, inputs, height, width = weights.shape
    matrices = weights.transpose(1, 0, 2, 3).reshape(inputs, outputs, height * width)
    u, s, vt = np.linalg.svd(matrices, full_matrices=False)
    root = np.sqrt(s[:, :multiplier])
    windows = (vt[:, :multiplier] * root[:, :, None]).reshape(-1, 1, height, width)
    mixing = (u[:, :, :multiplier] * root[:, None, :]).transpose(1, 0, 2).reshape(outputs, -1)
    lost = float((s[:, multiplier:] ** 2).sum() / max((s**2).sum(), 1e-30))
    return windows, mixing[:, :, None, None], lost


class Depthwise(Factorization):
    """Two convolutions for one."""

    name = "depthwise"
    summary = "a window per channel and a 1x1 layer in place of a convolution"
    options = DepthwiseOptions

    def fits(self, layer: nn.Module, options: Any = None) -> str:
        return plain_window(layer)

    def replacements(
        self, model: nn.Module, names: Sequence[str], options: Any, site: Site
    ) -> dict[str, tuple[nn.Sequential, dict[str, Any]]]:
        result = {}
        for name in names:
            layer = model.get_submodule(name)
            assert isinstance(layer, nn.Conv2d)
            weights = weights_of(layer)
            most = min(weights.shape[0], weights.shape[2] * weights.shape[3])
            check_rank(options.multiplier, most, f"{name}, multiplier")
            windows, mixing, lost = separate_channels(weights, options.multiplier)
            new = nn.Sequential(
                conv_part(layer, windows, rows=True, columns=True, groups=layer.in_channels),
                conv_part(layer, mixing, bias=layer.bias),
            )
            result[name] = (new, {"weight_error": lost})
        return result
