"""Networks that are in no table of others: inverted residuals, one dimension, wide dense layers.

With random weights: what instructions and memory depend on, not accuracy. They are here so that
nothing is tuned to the networks that were measured elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from mobile_networks import InvertedResidual
from torch import nn


def inverted_residuals() -> nn.Module:
    """Blocks of MobileNetV2 (arXiv:1801.04381) for images of 48x48."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU6(),
        InvertedResidual(16, 24, 4, 2), InvertedResidual(24, 24, 6, 1),
        InvertedResidual(24, 40, 6, 2), InvertedResidual(40, 40, 6, 1),
        nn.Conv2d(40, 128, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(128, 10),
    )  # fmt: skip


def one_dimension() -> nn.Module:
    """Convolutions over 256 samples of 6 sensors."""
    return nn.Sequential(
        nn.Conv1d(6, 32, 9, 2, 4), nn.ReLU(), nn.Conv1d(32, 64, 5, 2, 2), nn.ReLU(),
        nn.Conv1d(64, 64, 5, 1, 2), nn.ReLU(), nn.Conv1d(64, 128, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(128, 6),
    )  # fmt: skip


def wide_dense() -> nn.Module:
    """Three dense layers."""
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )


SHAPES: dict[str, tuple[int, ...]] = {
    "inverted_residuals": (3, 48, 48),
    "one_dimension": (6, 256),
    "wide_dense": (784,),
}
FACTORIES: dict[str, Callable[[], nn.Module]] = {
    "inverted_residuals": inverted_residuals,
    "one_dimension": one_dimension,
    "wide_dense": wide_dense,
}


def seeded(name: str) -> nn.Module:
    """A network with its random weights."""
    torch.manual_seed(0)
    return FACTORIES[name]().eval()
