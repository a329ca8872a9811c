"""Grouped in place of a full convolution: each group of outputs sees its own inputs; 1/G the cost.

Krizhevsky et al. 2012 split AlexNet so; the start are the weights inside the groups, which is the
nearest grouped convolution, and the weights between groups are lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgefactor.pipeline.compress.conv_parts import conv_part, weights_of
from edgefactor.pipeline.compress.factorization import Factorization, FactorOptions, Site
from edgefactor.pipeline.compress.method import check_range

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedOptions(FactorOptions):
    """Options of the replacement.

    Attributes:
        groups: Number of groups; must divide both numbers of channels.
    """

    groups: int = 2

    def __post_init__(self) -> None:
        FactorOptions.__post_init__(self)
        check_range("groups", self.groups, 2, 1 << 16)


def diagonal_blocks(weights: FloatArray, groups: int) -> tuple[FloatArray, float]:
    """The weights inside the groups.

    Returns:
        [O, I / groups, h, w] as torch orders them, and the part of the squared length that is lost.
    """
    outputs, inputs = weights.shape[:2]
    blocks = weights.reshape(
        groups, outputs // groups, groups, inputs // groups, *weights.shape[2:]
    )
    own = blocks[np.arange(groups), :, np.arange(groups)]
    kept = own.reshape(outputs, inputs // groups, *weights.shape[2:])
    lost = 1 - float((kept**2).sum() / max((weights**2).sum(), 1e-30))
    return kept, lost


class Grouped(Factorization):
    """One convolution in groups."""

    name = "grouped"
    summary = "a convolution in groups, 1/G of the weights and multiplications"
    options = GroupedOptions

    def fits(self, layer: nn.Module, options: Any = None) -> str:
        if not isinstance(layer, nn.Conv2d):
            return "it is no convolution"
        if layer.groups > 1:
            return f"it has {layer.groups} groups already"
        channels = layer.in_channels, layer.out_channels
        if options is not None and any(number % options.groups for number in channels):
            return f"{options.groups} groups do not divide {channels[0]} and {channels[1]} channels"
        return ""

    def replacements(
        self, model: nn.Module, names: Sequence[str], options: Any, site: Site
    ) -> dict[str, tuple[nn.Sequential, dict[str, Any]]]:
        result = {}
        for name in names:
            layer = model.get_submodule(name)
            assert isinstance(layer, nn.Conv2d)
            kept, lost = diagonal_blocks(weights_of(layer), options.groups)
            part = conv_part(
                layer, kept, rows=True, columns=True, groups=options.groups, bias=layer.bias
            )
            result[name] = (nn.Sequential(part), {"weight_error": lost})
        return result
