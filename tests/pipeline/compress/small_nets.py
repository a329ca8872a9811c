"""A network and a task that train in a second, for the tests of compression."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgefactor.pipeline.compress.checkpoints import Checkpoints
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.inputs.data import Dataset

SEED = 20261122

# Networks this small gain nothing from threads and lose much to waiting for one another.
torch.set_num_threads(1)


def task(samples: int = 512, *, labelled: bool = True) -> Dataset:
    """Four classes of noisy 8x8 patterns."""
    rng = np.random.default_rng(SEED)
    patterns = rng.standard_normal((4, 1, 8, 8))
    labels = rng.integers(0, 4, samples)
    noise = rng.standard_normal((samples, 1, 8, 8))
    inputs = (patterns[labels] + 1.2 * noise).astype(np.float32)
    return Dataset(inputs=(inputs,), labels=labels if labelled else None, source="patterns")


class SmallNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.1)
        self.fc1 = nn.Linear(128, 24)
        self.fc2 = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        return self.fc2(torch.relu(self.fc1(self.drop(x.flatten(1)))))


def network(seed: int = SEED) -> SmallNet:
    torch.manual_seed(seed)
    return SmallNet().eval()


def context(
    data: Dataset | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    teacher: nn.Module | None = None,
    seed: int = 0,
) -> Context:
    return Context(
        trainer=TorchTrainer(checkpoints),
        train=data,
        evaluation=data,
        seed=seed,
        teacher=teacher,
    )
