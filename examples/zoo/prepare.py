"""Random weights for the networks of this folder, with batch norms that fit them.

The weights are drawn with a fixed seed. Batch norms see a few random inputs in training mode, so
that activations have a sane size, and their own parameters are drawn too, so that folding them
matters. Their offsets are positive: where half of all units are cut off in every layer, a network
without training turns the rounding of 8 bits into noise (MobileNet, 27 layers: 6 dB instead of 21).
Tests and ``benchmarks/zoo.py`` start here; a user starts from trained weights instead.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from examples.zoo.residual_stream import ResidualStream

FOLDER = Path(__file__).parent
NAMES = tuple(
    sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("prepare", "__init__"))
)
SEED = 0
#: Inputs to calibrate on, and others to check with.
CALIBRATION, CHECKED = 48, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The files that an export of a network takes.

    Attributes:
        name: One of ``NAMES``; its file and its factory are called the same.
        model: State dict.
        factory: ``file.py:function``.
        calibration: Inputs to take ranges from.
        inputs: Other inputs, to check with.
    """

    name: str
    model: Path
    factory: str
    calibration: Path
    inputs: Path


def build(name: str) -> nn.Module:
    """The network with weights drawn at random, in evaluation mode."""
    module = importlib.import_module(f"examples.zoo.{name}")
    torch.manual_seed(SEED)
    network: nn.Module = getattr(module, name)()
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)):
                # PyTorch's own start values let a signal fade over ten layers without a norm.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(network, ResidualStream):
            network.grow_outlier()
        for norm in norms:
            norm.weight.uniform_(0.8, 1.2)
            norm.bias.uniform_(0.0, 1.5)
            norm.momentum = None  # the plain mean over what it sees
        network.train()
        for _ in range(4):
            network(draw(name, 16))
    return network.eval()


def draw(name: str, count: int) -> Tensor:
    """Inputs with the statistics of normalized images: coarse structure and some noise.

    For a network of words, their ids, with padding at the end.
    """
    module = importlib.import_module(f"examples.zoo.{name}")
    sizes = module.INPUT_SHAPE[1:]
    if hasattr(module, "WORDS"):
        ids = torch.randint(module.PADDING + 1, module.WORDS, (count, *sizes))
        lengths = torch.randint(1, sizes[0] + 1, (count, 1))
        return ids.where(torch.arange(sizes[0]) < lengths, module.PADDING)
    coarse = torch.randn(count, *(-(-size // 4) if size > 8 else size for size in sizes))
    for axis, size in enumerate(sizes, start=1):
        if size > 8:
            coarse = coarse.repeat_interleave(4, axis).narrow(axis, 0, size)
    return coarse + 0.3 * torch.randn(count, *sizes)


def prepare(name: str, folder: Path) -> Prepared:
    """Write the state dict and the inputs of a network into a folder."""
    network = build(name)
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / f"{name}.pt"
    torch.save(network.state_dict(), model)
    paths = []
    for label, count in (("calibration", CALIBRATION), ("inputs", CHECKED)):
        paths.append(folder / f"{name}_{label}.npz")
        np.savez(paths[-1], x=draw(name, count).numpy())
    return Prepared(
        name=name,
        model=model,
        factory=f"{FOLDER / name}.py:{name}",
        calibration=paths[0],
        inputs=paths[1],
    )
