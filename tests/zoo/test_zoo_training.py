"""The recipes of the zoo's benchmark fit the networks and the data, and give the same weights."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import zoo_training
from benchmarks.zoo_cases import NAMES, SMALL, find_case
from benchmarks.zoo_rows import Row
from benchmarks.zoo_training import RECIPES, Data, Recipe, load_data, trained
from benchmarks.zoo_words import CLASSES, KEY_WORDS
from examples.zoo.text_classifier import WORDS

KNOWN = [name for name in RECIPES if name in NAMES]


@pytest.mark.parametrize("name", KNOWN)
def test_recipe_fits_the_network(name: str) -> None:
    recipe = RECIPES[name]
    module = importlib.import_module(f"examples.zoo.{name}")
    network = getattr(module, name)(**recipe.arguments).eval()
    x = torch.zeros(1, *recipe.shape)
    x = x.long() if recipe.data == "words" else x
    with torch.no_grad():
        found = network(x)
    if recipe.goal == "input":
        assert found.shape == x.shape and 0 <= found.min() and found.max() <= 1
    else:
        assert found.shape[1] >= 10
    if recipe.goal == "probabilities":
        assert float(found.sum()) == pytest.approx(1.0)


def test_digest_leaves_out_what_is_said_about_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("examples.zoo.lenet5")
    digests = []
    for text in ('"""A."""\nx = 1\n', '"""B."""\nx = 1  # one\n', '"""B."""\nx = 2\n'):
        (tmp_path / "lenet5.py").write_text(text)
        monkeypatch.setattr(module, "__file__", str(tmp_path / "lenet5.py"))
        digests.append(zoo_training._digest("lenet5"))
    assert digests[0] == digests[1] != digests[2]


def test_small_networks_are_there() -> None:
    assert set(SMALL) <= set(NAMES)


@pytest.mark.parametrize(
    ("data", "shape", "stored"),
    [
        ("mnist", (1, 32, 32), (28, 28)),
        ("cifar10", (3, 32, 32), (32, 32, 3)),
        ("cifar10", (3, 48, 48), (32, 32, 3)),
        ("fsdd", (49, 10), (49, 10)),
        ("fsdd", (10, 49), (49, 10)),
    ],
)
def test_data_in_the_shape_of_the_network(
    data: str, shape: tuple[int, ...], stored: tuple[int, ...], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    generator = np.random.default_rng(0)
    kind = np.float32 if data == "fsdd" else np.uint8
    parts = {f"x_{part}": generator.integers(0, 255, (6, *stored)).astype(kind) for part in PARTS}
    labels = {f"y_{part}": np.arange(6) for part in PARTS}
    file = "fsdd_mfcc" if data == "fsdd" else data
    np.savez(tmp_path / "data" / f"{file}.npz", **parts, **labels)
    recipe = Recipe(data=data, shape=shape, epochs=1, rate=0.1, inputs=4)
    found = load_data(recipe, tmp_path)
    assert found.x_train.shape == (4, *shape) and found.x_test.shape == (6, *shape)
    assert found.x_train.dtype == np.float32 and len(found.y_train) == 4
    if data == "mnist":
        inner = found.x_train[:, 0, 2:-2, 2:-2]
        np.testing.assert_allclose(inner, parts["x_train"][:4] / np.float32(255), rtol=1e-6)


PARTS = ("train", "test")


def test_words_whose_order_is_the_class(tmp_path: Path) -> None:
    recipe = RECIPES["text_classifier"]
    data = load_data(recipe, tmp_path)
    assert data.x_train.shape[1:] == recipe.shape and data.x_train.max() < WORDS
    keys = [row[(row > 0) & (row <= KEY_WORDS)] for row in data.x_test[:200]]
    pairs = [(int(first), int(second)) for first, second in keys]
    numbers = {pair: int(y) for pair, y in zip(pairs, data.y_test[:200], strict=True)}
    assert [numbers[pair] for pair in pairs] == data.y_test[:200].tolist()
    assert all(numbers.get(pair[::-1]) != number for pair, number in numbers.items())
    assert set(data.y_train.tolist()) == set(range(CLASSES))
    # Padding is at the end, and nowhere else.
    lengths = (data.x_test > 0).sum(1)
    assert np.all((np.arange(recipe.shape[0]) < lengths[:, None]) == (data.x_test > 0))


def test_training_is_done_once_and_the_same_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((128, 49, 10)).astype(np.float32)
    y = generator.integers(0, 10, 128)
    data = Data(x_train=x, y_train=y, x_test=x, y_test=y)
    first = trained("sensor_net", data, tmp_path / "a")
    before = first.stat().st_mtime_ns
    assert trained("sensor_net", data, tmp_path / "a") == first
    assert first.stat().st_mtime_ns == before
    second = trained("sensor_net", data, tmp_path / "b")
    states = [torch.export.load(path).state_dict for path in (first, second)]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    monkeypatch.setattr(zoo_training, "SEED", 1)
    assert trained("sensor_net", data, tmp_path / "a") != first


def test_without_the_data_weights_are_random(tmp_path: Path) -> None:
    case = find_case("lenet_300_100", tmp_path, None, 10)
    assert case.data == "random" and case.labelled is None and case.factory


@pytest.mark.parametrize(
    ("device", "sqnr_db", "failed", "within"),
    [
        (0.905, 10.0, (), True),
        (0.895, 40.0, (), False),
        (0.91, 40.0, ("tflm",), False),
        (None, 20.5, (), True),
        (None, 19.5, (), False),
        (None, None, (), True),
    ],
)
def test_what_counts_as_the_same_network(
    device: float | None, sqnr_db: float | None, failed: tuple[str, ...], within: bool
) -> None:
    row = Row(
        network="net", data="mnist", target="cortex-m4", layers=1, macs=1, weight_bytes=1,
        instructions=1, flash_bytes=1, arena_bytes=1, ram_bytes=1, evaluated=100,
        float_accuracy=None if device is None else 0.91, device_accuracy=device, sqnr_db=sqnr_db,
        exact_elements=1, differing_elements=0, failed_rungs=failed, not_run=(), cpu_seconds=1.0,
    )  # fmt: skip
    assert row.within == within
