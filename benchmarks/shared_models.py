"""The trained networks and data of the benchmarks, from a folder beside the checkout.

They are not part of edgefactor; ``--shared DIR`` names the folder with ``models`` and ``data``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from own_networks import SHAPES, seeded

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "shared"
_CIFAR_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
_CIFAR_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A trained network with inputs as its PyTorch module takes them.

    Attributes:
        name: File name of the state dict without its suffix.
        weights: The state dict.
        factory: ``file.py:function`` that builds the module.
        calibration: Inputs that ranges are taken from.
        inputs: Inputs that are evaluated; none of the calibration's where there are enough.
        labels: Their classes; None for the auto-encoder, for which there is no licensed data.
    """

    name: str
    weights: Path
    factory: str
    calibration: NDArray[np.float32]
    inputs: NDArray[np.float32]
    labels: NDArray[np.int64] | None


NAMES = ("resnet8", "ds_cnn", "autoencoder", "resnet20")


def load_network(name: str, folder: Path, samples: int, calibration: int = 256) -> Network:
    """A network and its data.

    Args:
        name: One of ``NAMES``.
        folder: Holds ``models`` and ``data``.
        samples: Inputs to evaluate, at most.
        calibration: Inputs to calibrate on, at most.
    """
    models, data = folder / "models", folder / "data"
    file = "cifar_resnet.py" if name == "resnet20" else "mlperf_tiny.py"
    labels: NDArray[np.int64] | None = None
    if name == "autoencoder":
        # Synthetic log-mel-like inputs: good for exactness and signal-to-noise, not for accuracy.
        noise = np.random.default_rng(0).normal(-20, 10, (calibration + samples, 640))
        values = noise.astype(np.float32)
        held, inputs = values[:calibration], values[calibration:]
    elif name == "ds_cnn":
        arrays = np.load(data / "kws01.npz")
        features = (arrays["x"].astype(np.float32) - 83) * np.float32(0.5847029)
        inputs = features[:samples, None]
        labels = arrays["y"][:samples].astype(np.int64)
        # There are no others; ranges of 1,000 inputs say nothing of their labels.
        held = features[:calibration, None]
    else:
        arrays = np.load(data / "cifar10.npz")
        held = _images(arrays["x_train"][:calibration], normalize=name == "resnet20")
        inputs = _images(arrays["x_test"][:samples], normalize=name == "resnet20")
        labels = arrays["y_test"][:samples].astype(np.int64)
    return Network(
        name=name,
        weights=models / f"{name}.pt",
        factory=f"{models / file}:{name}",
        calibration=held,
        inputs=inputs,
        labels=labels,
    )


def random_network(name: str, folder: Path, samples: int, calibration: int = 64) -> Network:
    """A network of own_networks.py, its seeded weights written to a folder, with normal inputs."""
    state = folder / f"{name}.pt"
    torch.save(seeded(name).state_dict(), state)
    generator = np.random.default_rng(0)
    values = generator.standard_normal((calibration + samples, *SHAPES[name])).astype(np.float32)
    return Network(
        name=name,
        weights=state,
        factory=f"{Path(__file__).with_name('own_networks.py')}:{name}",
        calibration=values[:calibration],
        inputs=values[calibration:],
        labels=None,
    )


def _images(pixels: NDArray[np.uint8], *, normalize: bool) -> NDArray[np.float32]:
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)
    return (planes / 255 - _CIFAR_MEAN) / _CIFAR_STD if normalize else planes
