"""Interrupted at every checkpoint and resumed, each method ends in the same bits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.pipeline.compress import BY_NAME, training
from edgefactor.pipeline.compress.checkpoints import Checkpoints
from edgefactor.pipeline.compress.engine import apply_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.recipe import parse_recipe
from tests.pipeline.compress.small_nets import context, task

TRAINING = "epochs = 1.5\nbatch = 64\nlearning-rate = 2e-3\n"
TUNE = f'[[step]]\nmethod = "fine-tune"\n[step.training]\n{TRAINING}augment = "shift"\n'
FACTORS = 'must-save = "nothing"\nsamples = 32\nlayers = "2"\n'

#: Every method that trains, and every factorization with training after it.
RECIPES = {
    "prune": f"keep = 0.3\nevery = 1\n[step.training]\n{TRAINING}",
    "prune-channels": f'keep = 0.5\nlayers = "2"\n[step.training]\n{TRAINING}',
    "share": f'values = 4\nscale = "rms"\nimportance = "outputs"\n[step.training]\n{TRAINING}',
    "share-vectors": (
        f'layers = "2"\nimportance = "outputs"\nvalues = 8\n[step.training]\n{TRAINING}'
    ),
    "deep-k-means": (
        f'layers = "2"\nvalues = 8\nstrength = 0.1\nrenew = 1\n[step.retraining]\n{TRAINING}'
        f"[step.training]\n{TRAINING}"
    ),
    "soft-sharing": f"components = 5\n[step.training]\n{TRAINING}",
    "uniform": f"bits = 3\n[step.training]\n{TRAINING}",
    "ternary": f"[step.training]\n{TRAINING}",
    "binary": f"[step.training]\n{TRAINING}",
    "svd": f'rank = 4\nmust-save = "nothing"\nlayers = "7"\n{TUNE}',
    "tucker": f"rank = 0.5\n{FACTORS}{TUNE}",
    "tucker, by sensitivity": f'choose = "sensitivity"\n{FACTORS}{TUNE}',
    "cp": f"rank = 6\n{FACTORS}{TUNE}",
    "spatial": f"rank = 4\n{FACTORS}{TUNE}",
    "depthwise": f"{FACTORS}{TUNE}",
    "grouped": f"groups = 2\n{FACTORS}{TUNE}",
    "shift": f"{FACTORS}{TUNE}",
    "shift, attention": f'taps = "attention"\n{FACTORS}[step.training]\n{TRAINING}{TUNE}',
    "shift, shared": f'taps = "attention-shared"\n{FACTORS}[step.training]\n{TRAINING}{TUNE}',
    "dictionary": f'layers = "7"\nnonzeros = 2\natoms = 8\nmust-save = "nothing"\n{TUNE}',
    "fine-tune": f'[step.training]\nloss = "distill"\n{TRAINING}',
}
#: Optimizer steps of one training above: two and one.
STEPS = 3


class _KillError(Exception):
    """Stands for the process being killed."""


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 4),
    ).eval()  # fmt: skip


def compressed(name: str, checkpoints: Checkpoints | None, seed: int) -> dict[str, Any]:
    # What else the process drew from torch's generator must not matter.
    torch.manual_seed(seed)
    np.random.seed(seed)
    torch.randn(seed)
    method = name.partition(",")[0]
    text = f'[[step]]\nmethod = "{method}"\n{RECIPES[name]}'
    recipe = parse_recipe(text, BY_NAME, name=name, where=name)
    model = network()
    apply_recipe(model, recipe, BY_NAME, context(task(128), checkpoints=checkpoints))
    freeze(model)
    return copy.deepcopy(model.state_dict())


@pytest.mark.parametrize("name", RECIPES)
def test_killed_at_every_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compressed(name, None, 3)
    # A checkpoint after every step of the optimizer, and a kill before every next one.
    monkeypatch.setattr(training, "INTERVAL_SECONDS", -1.0)
    real = training._Run._one_step
    left = 0

    def one_step(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _KillError
        real(*arguments)

    monkeypatch.setattr(training._Run, "_one_step", one_step)
    kills = 0
    while True:
        left = 1
        try:
            resumed = compressed(name, Checkpoints(tmp_path, "same"), 10 + kills)
            break
        except _KillError:
            kills += 1
    trainings = RECIPES[name].count("training]")
    assert kills == trainings * STEPS - 1
    assert whole.keys() == resumed.keys()
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key
