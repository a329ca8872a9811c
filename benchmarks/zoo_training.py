"""Trains networks of examples/zoo for minutes each, on the data of the benchmarks.

    python -m benchmarks.zoo_training                 # all of them; also done by benchmarks/zoo.py
    python -m benchmarks.zoo_training lenet5 alexnet

The data lies beside the checkout (benchmarks/shared_models.py). What is trained is kept in
``build/zoo`` under a name that changes with the recipe and with the network's code, so it is done
once; a second training gives the same weights.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo_words import texts
from examples.zoo.text_classifier import WORDS

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "shared"
CACHE = Path(__file__).resolve().parents[1] / "build" / "zoo"
SEED = 0
CALIBRATION = 256
_CIFAR_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
_CIFAR_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)

Goal = Literal["scores", "probabilities", "input"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network of the zoo is trained.

    Attributes:
        data: ``mnist``, ``cifar10``, ``fsdd`` (spoken digits) or ``words``, which a rule makes
            (benchmarks/zoo_words.py).
        shape: One input without its batch.
        epochs: Passes over the training inputs.
        rate: Largest learning rate; it rises and falls once (Smith and Topin 2018).
        inputs: Training inputs, the first ones; None for all.
        batch: Inputs a step; a core does more of them a second where maps fit in its cache.
        goal: What the output is: class scores, their softmax, or the input itself.
        arguments: Of the network's function, where the data has other sizes than the paper's.
    """

    data: str
    shape: tuple[int, ...]
    epochs: int
    rate: float
    inputs: int | None = None
    batch: int = 64
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
    "transformer_kws": Recipe(data="fsdd", shape=(49, 10), epochs=10, rate=2e-3),
    "text_classifier": Recipe(data="words", shape=(24,), epochs=8, rate=3e-3),
    "conv_autoencoder": Recipe(data="mnist", shape=(1, 32, 32), epochs=2, rate=3e-3, goal="input"),
    "alexnet": Recipe(data="cifar10", shape=_IMAGE, epochs=3, rate=1e-3),
    "squeezenet": Recipe(data="cifar10", shape=_IMAGE, epochs=6, rate=1.5e-3),
    "mobilenet_v1": Recipe(data="cifar10", shape=_IMAGE, epochs=4, rate=5e-3),
    "micronet": Recipe(data="cifar10", shape=(3, 48, 48), epochs=8, rate=5e-3),
    "efficientnet_lite": Recipe(data="cifar10", shape=(3, 48, 48), epochs=5, rate=5e-3),
    "mobilenet_v3_small": Recipe(data="cifar10", shape=(3, 64, 64), epochs=5, rate=5e-3),
    "shift_attention_resnet": Recipe(
        data="cifar10", shape=_IMAGE, epochs=2, rate=5e-3, batch=32, inputs=10_000
    ),
    "shift_resnet": Recipe(
        data="cifar10", shape=_IMAGE, epochs=2, rate=5e-3, batch=32, inputs=10_000
    ),
    "resnext": Recipe(data="cifar10", shape=_IMAGE, epochs=2, rate=5e-3, batch=32, inputs=10_000),
    "mobilenet_v2": Recipe(
        data="cifar10", shape=_IMAGE, epochs=2, rate=5e-3, batch=32, inputs=10_000
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Inputs as a network takes them, [n, *shape], and their classes."""

    x_train: NDArray[np.float32] | NDArray[np.int64]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32] | NDArray[np.int64]
    y_test: NDArray[np.int64]


def load_data(recipe: Recipe, folder: Path) -> Data:
    """The data of a recipe in the network's own shape.

    Args:
        recipe: Names the data.
        folder: Holds ``data`` (``--shared``).
    """
    if recipe.data == "words":
        (size,) = recipe.shape
        train, test = texts(20_000, size, WORDS, SEED + 1), texts(10_000, size, WORDS, SEED + 2)
        return Data(x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
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
    path = folder / f"{name}-{_digest(name)}.pt2"
    if path.is_file():
        return path
    torch.manual_seed(SEED)
    module = importlib.import_module(f"examples.zoo.{name}")
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


def _digest(name: str) -> str:
    """Of the recipe and of the network's code; its comments and docstrings may change."""
    module = importlib.import_module(f"examples.zoo.{name}")
    tree = ast.parse(Path(str(module.__file__)).read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    text = ast.dump(tree) + repr((RECIPES[name], SEED))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _train(network: nn.Module, recipe: Recipe, x: Tensor, y: Tensor) -> None:
    size = recipe.batch
    steps = recipe.epochs * (len(x) // size)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    # Channels last takes a third to a half of the time off convolutions on a CPU.
    layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
    network.train().to(memory_format=layout)
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(x)).split(size)[: len(x) // size]:
            inputs = x[batch]
            if recipe.data == "cifar10" and torch.rand(()) < 0.5:
                inputs = inputs.flip(3)  # left and right, for half of the batches
            output = network(inputs.contiguous(memory_format=layout))
            target = inputs if recipe.goal == "input" else y[batch]
            loss = _loss(output, target, recipe.goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.to(memory_format=torch.contiguous_format)


def _loss(output: Tensor, target: Tensor, goal: Goal) -> Tensor:
    if goal == "input":
        return F.binary_cross_entropy(output, target)
    if goal == "probabilities":
        return F.nll_loss(output.clamp_min(1e-7).log(), target)
    return F.cross_entropy(output, target)


@torch.no_grad()
def score(path: Path, recipe: Recipe, data: Data) -> tuple[str, float]:
    """What a trained network reaches on the test set: its name and figure."""
    network = torch.export.load(path).module()
    outputs = torch.cat([network(x[None]) for x in torch.from_numpy(data.x_test[:1000])]).numpy()
    if recipe.goal == "input":
        return "mean squared error", float(np.square(outputs - data.x_test[:1000]).mean())
    return "accuracy", float((outputs.argmax(1) == data.y_test[:1000]).mean())


@click.command()
@click.argument("names", nargs=-1)
@click.option("--shared", type=click.Path(exists=True, path_type=Path), default=DEFAULT_FOLDER)
def main(names: tuple[str, ...], shared: Path) -> None:
    """Train what is not trained yet, and show what it reaches on 1,000 test inputs."""
    for name in names or tuple(RECIPES):
        recipe = RECIPES[name]
        data = load_data(recipe, shared)
        start = time.process_time()
        path = trained(name, data)
        seconds = time.process_time() - start
        figure, value = score(path, recipe, data)
        click.echo(f"{path.name}: {figure} {value:.4f}, {seconds:.0f} CPU seconds")


if __name__ == "__main__":
    main()
