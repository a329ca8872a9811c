"""Trains networks of examples/zoo for a minute each, on the real data of the benchmarks.

The data lies beside the checkout (benchmarks/shared_models.py). What is trained is kept in
``build/zoo`` under a name that changes with the recipe and with the network's own file, so it is
done once; a second training gives the same weights.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

CACHE = Path(__file__).resolve().parents[1] / "build" / "zoo"
SEED = 0
CALIBRATION = 256
_CIFAR_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
_CIFAR_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)

Goal = Literal["scores", "probabilities"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network of the zoo is trained.

    Attributes:
        data: ``mnist``, ``cifar10`` or ``fsdd`` (spoken digits).
        shape: One input without its batch.
        epochs: Passes over the training inputs.
        rate: Largest learning rate; it rises and falls once (Smith and Topin 2018).
        inputs: Training inputs, the first ones; None for all.
        goal: What the output is: class scores or their softmax.
        arguments: Of the network's function, where the data has other sizes than the paper's.
    """

    data: str
    shape: tuple[int, ...]
    epochs: int
    rate: float
    inputs: int | None = None
    goal: Goal = "scores"
    arguments: Mapping[str, int] = field(default_factory=dict)


_IMAGE = (3, 32, 32)
_SPEECH = {"channels": 10, "classes": 10}
RECIPES: dict[str, Recipe] = {
    "lenet_300_100": Recipe(data="mnist", shape=(1, 28, 28), epochs=5, rate=3e-3),
    "lenet5": Recipe(data="mnist", shape=(1, 32, 32), epochs=3, rate=3e-3),
    "sensor_net": Recipe(
        data="fsdd",
        shape=(49, 10),
        epochs=60,
        rate=5e-3,
        goal="probabilities",
        arguments=_SPEECH,
    ),
    "tc_resnet": Recipe(data="fsdd", shape=(10, 49), epochs=30, rate=3e-3, arguments=_SPEECH),
    "gru_keywords": Recipe(data="fsdd", shape=(49, 10), epochs=30, rate=5e-3),
    "lstm_keywords": Recipe(data="fsdd", shape=(49, 10), epochs=30, rate=5e-3),
    "transformer_kws": Recipe(data="fsdd", shape=(49, 10), epochs=15, rate=2e-3),
    "alexnet": Recipe(data="cifar10", shape=_IMAGE, epochs=4, rate=1e-3),
    "squeezenet": Recipe(data="cifar10", shape=_IMAGE, epochs=3, rate=1e-3),
    "mobilenet_v1": Recipe(data="cifar10", shape=_IMAGE, epochs=4, rate=5e-3),
    "micronet": Recipe(data="cifar10", shape=(3, 48, 48), epochs=3, rate=5e-3),
    "efficientnet_lite": Recipe(data="cifar10", shape=(3, 48, 48), epochs=2, rate=5e-3),
    "mobilenet_v3_small": Recipe(data="cifar10", shape=(3, 64, 64), epochs=2, rate=5e-3),
    "shift_resnet": Recipe(data="cifar10", shape=_IMAGE, epochs=2, rate=1e-2, inputs=10_000),
    "resnext": Recipe(data="cifar10", shape=_IMAGE, epochs=2, rate=5e-3, inputs=8_000),
    "mobilenet_v2": Recipe(data="cifar10", shape=_IMAGE, epochs=2, rate=1e-2, inputs=8_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Inputs as a network takes them, [n, *shape], and their classes."""

    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def load_data(recipe: Recipe, folder: Path) -> Data:
    """The data of a recipe in the network's own shape.

    Args:
        recipe: Names the data.
        folder: Holds ``data`` (``--shared``).
    """
    file = "fsdd_mfcc" if recipe.data == "fsdd" else recipe.data
    arrays = np.load(folder / "data" / f"{file}.npz")
    count = recipe.inputs
    train, test = arrays["x_train"][:count], arrays["x_test"]
    if recipe.data == "fsdd":
        mean, std = train.mean((0, 1)), train.std((0, 1))
        prepared = [_speech((part - mean) / std, recipe.shape) for part in (train, test)]
    else:
        prepared = [_images(part, recipe.shape) for part in (train, test)]
    return Data(
        x_train=prepared[0],
        y_train=arrays["y_train"][:count].astype(np.int64),
        x_test=prepared[1],
        y_test=arrays["y_test"].astype(np.int64),
    )


def _speech(frames: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """[n, 49 frames, 10 coefficients], which some networks take the other way round."""
    turned = frames if shape == (49, 10) else frames.transpose(0, 2, 1)
    return np.ascontiguousarray(turned, np.float32)


def _images(pixels: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Grey levels in 0..1 with a margin where there is room; colours normalized, enlarged."""
    if pixels.ndim == 3:
        margin = (shape[1] - pixels.shape[1]) // 2
        grey = pixels.astype(np.float32)[:, None] / 255
        return np.pad(grey, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)
    planes = (planes / 255 - _CIFAR_MEAN) / _CIFAR_STD
    if planes.shape[2] == shape[1]:
        return planes
    enlarged = F.interpolate(torch.from_numpy(planes), size=shape[1:], mode="bilinear")
    return enlarged.numpy()


def trained(name: str, data: Data, folder: Path = CACHE) -> Path:
    """A trained network of the zoo as a .pt2 file, which brings its shape and needs no factory."""
    recipe = RECIPES[name]
    module = importlib.import_module(f"examples.zoo.{name}")
    source = Path(str(module.__file__)).read_bytes()
    digest = hashlib.sha256(source + repr((recipe, SEED)).encode()).hexdigest()[:12]
    path = folder / f"{name}-{digest}.pt2"
    if path.is_file():
        return path
    torch.manual_seed(SEED)
    network: nn.Module = getattr(module, name)(**recipe.arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order, so that a second run gives the same weights
    try:
        _train(network, recipe, torch.from_numpy(data.x_train), torch.from_numpy(data.y_train))
    finally:
        torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    example = torch.from_numpy(data.x_train[:1])
    torch.export.save(torch.export.export(network.eval(), (example,)), path)
    return path


def _train(network: nn.Module, recipe: Recipe, x: Tensor, y: Tensor) -> None:
    size = 64
    steps = recipe.epochs * (len(x) // size)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    network.train()
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(x)).split(size)[: len(x) // size]:
            inputs = x[batch]
            if recipe.data == "cifar10" and torch.rand(()) < 0.5:
                inputs = inputs.flip(3)  # left and right, for half of the batches
            loss = _loss(network(inputs), y[batch], recipe.goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _loss(output: Tensor, labels: Tensor, goal: Goal) -> Tensor:
    if goal == "probabilities":
        return F.nll_loss(output.clamp_min(1e-7).log(), labels)
    return F.cross_entropy(output, labels)
