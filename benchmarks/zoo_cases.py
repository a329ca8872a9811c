"""The networks of the zoo with weights and data: trained on real data, or drawn at random."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Most scripts of this folder run as files and import their neighbours; this one is a module,
# because the zoo is one.
sys.path.append(str(Path(__file__).parent))
from shared_models import NAMES as SHARED_NAMES
from shared_models import load_network

from benchmarks.zoo_training import CALIBRATION, RECIPES, load_data, trained
from examples.zoo.prepare import NAMES as ZOO_NAMES
from examples.zoo.prepare import prepare

NAMES = tuple(sorted({*ZOO_NAMES, *SHARED_NAMES}))
SMALL = (
    "conv_autoencoder", "detector", "ds_cnn", "gru_keywords", "lenet5", "lstm_keywords", "micronet",
    "residual_stream", "sensor_net", "shift_attention_resnet", "tc_resnet",
    "text_classifier", "vmamba",
)  # fmt: skip
_SOURCES = {"resnet8": "cifar10", "resnet20": "cifar10", "ds_cnn": "kws01"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The files that an export takes.

    Attributes:
        name: Of the network.
        data: What it was trained on; ``random`` weights otherwise.
        model: Its file.
        factory: What builds it, where the file is a state dict.
        calibration: Inputs to take ranges from.
        inputs: Others, to compare runtimes with.
        labelled: The test set with its labels; None where there is no accuracy.
    """

    name: str
    data: str
    model: Path
    factory: str | None
    calibration: Path
    inputs: Path
    labelled: Path | None


def find_case(name: str, folder: Path, shared: Path | None, evaluate: int) -> Case:
    """A network's weights and data, written into a folder.

    Args:
        name: One of ``NAMES``.
        folder: Receives data, and random weights.
        shared: Folder with the real data; None for random weights.
        evaluate: Labelled inputs, at most.
    """
    if shared is not None and name in RECIPES:
        recipe = RECIPES[name]
        data = load_data(recipe, shared)
        # What gives back its input has no accuracy.
        labels = None if recipe.goal == "input" else data.y_test[:evaluate]
        return _written(
            name, recipe.data, folder, trained(name, data), None, data.x_train,
            data.x_test[:evaluate], labels,
        )  # fmt: skip
    if shared is not None and name in SHARED_NAMES:
        network = load_network(name, shared, evaluate if name in _SOURCES else 100)
        return _written(
            name, _SOURCES.get(name, "trained, noise"), folder, network.weights, network.factory,
            network.calibration, network.inputs, network.labels,
        )  # fmt: skip
    prepared = prepare(name, folder)
    return Case(
        name=name,
        data="random",
        model=prepared.model,
        factory=prepared.factory,
        calibration=prepared.calibration,
        inputs=prepared.inputs,
        labelled=None,
    )


def _written(
    name: str,
    data: str,
    folder: Path,
    model: Path,
    factory: str | None,
    calibration: NDArray[np.float32] | NDArray[np.int64],
    inputs: NDArray[np.float32] | NDArray[np.int64],
    labels: NDArray[np.int64] | None,
) -> Case:
    paths = {part: folder / f"{name}_{part}.npz" for part in ("calibration", "inputs", "labelled")}
    np.savez(paths["calibration"], x=calibration[:CALIBRATION])
    np.savez(paths["inputs"], x=inputs[:100])
    if labels is not None:
        np.savez(paths["labelled"], x=inputs, y=labels)
    return Case(
        name=name,
        data=data,
        model=model,
        factory=factory,
        calibration=paths["calibration"],
        inputs=paths["inputs"],
        labelled=None if labels is None else paths["labelled"],
    )
