"""Two processes under torchrun train as one does: each takes half of every batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edgefactor.pipeline.load import load
from tests.pipeline.compress.small_nets import task

pytestmark = pytest.mark.slow

NETWORK = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 24), nn.ReLU(), nn.Linear(24, 4),
    ).eval()
"""
RECIPE = """
title = "prune, share, train"
[[step]]
method = "prune"
layers = "5"
keep = 0.3
every = 2
training = { epochs = 2, batch = 64, batch-norm = "frozen" }
[[step]]
method = "share"
values = 8
scale = "rms"
training = { epochs = 1, batch = 64, batch-norm = "frozen" }
"""
SECONDS = 300


def compressed(folder: Path, name: str, processes: int) -> dict[str, torch.Tensor]:
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    command = [
        sys.executable, *(launcher if processes > 1 else []), "-m", "edgefactor", "compress",
        "net.pt", "--model", "net.py:network", "--recipe", "recipe.toml", "--train", "train.npz",
        "-o", f"{name}.pt2",
    ]  # fmt: skip
    root = Path(__file__).parents[3]
    places = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return dict(load(folder / f"{name}.pt2").module.state_dict())


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    scope: dict[str, object] = {}
    exec(NETWORK, scope)
    torch.save(scope["network"]().state_dict(), tmp_path / "net.pt")  # type: ignore[operator]
    data = task(256)
    np.savez(tmp_path / "train.npz", x=data.inputs[0], y=data.labels)
    one = compressed(tmp_path, "one", 1)
    two = compressed(tmp_path, "two", 2)
    again = compressed(tmp_path, "again", 2)
    assert one.keys() == two.keys()
    for key, tensor in two.items():
        # The mean of two halves' gradients is the batch's up to the order of sums.
        assert torch.allclose(one[key].double(), tensor.double(), atol=2e-3), key
        assert torch.equal(tensor, again[key]), key
