"""Calibration and evaluation data: where it comes from, and that it is what it should be.

`read` takes an .npz or .npy file, a folder of images, or ``file.py:function``. All of them end as
one `Dataset` of float32 arrays in the layout that the PyTorch model takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import DataError
from edgefactor.pipeline.config import Normalization
from edgefactor.pipeline.files.factory import is_reference
from edgefactor.pipeline.inputs import images, sources

FloatArray = NDArray[np.float32]
Shape = tuple[int, ...]

_MAX_SAMPLES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Samples of every model input, and what they should be recognised as.

    Attributes:
        inputs: One array per model input, samples along axis 0, all of one length.
        labels: The class of each sample as int64, or None.
        source: Where it came from, without folders, for reports.
        random: Whether it is noise in place of data, on which nothing can be verified.
    """

    inputs: tuple[FloatArray, ...]
    labels: NDArray[np.int64] | None = None
    source: str = ""
    random: bool = False

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.inputs[0])

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape of each input for one sample, batch 1 first."""
        return tuple((1, *array.shape[1:]) for array in self.inputs)

    def sample(self, index: int) -> tuple[FloatArray, ...]:
        """Sample `index` of every input, as a batch of one."""
        return tuple(array[index : index + 1] for array in self.inputs)

    def take(self, count: int) -> Dataset:
        """The first `count` samples, or all if there are fewer."""
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, inputs=tuple(a[:count] for a in self.inputs), labels=labels)


def read(
    place: str,
    *,
    option: str = "--data",
    names: Sequence[str] = (),
    shapes: Sequence[Shape] | None = None,
    normalization: Normalization | None = None,
    limit: int = _MAX_SAMPLES,
) -> Dataset:
    """Reads data and checks it.

    Args:
        place: .npz or .npy file, folder of images, or ``file.py:function``.
        option: The option that named it, for messages.
        names: The model's inputs in order; needed for a model with several.
        shapes: Shape of each input with batch 1, if known.
        normalization: Applied to the values, if given.
        limit: Samples beyond this number are left out.

    Returns:
        The data as the model takes it.

    Raises:
        DataError: If it is missing, unreadable, empty, not finite, or does not fit `shapes`.
    """
    path = Path(place)
    if is_reference(place):
        inputs, labels = sources.read_function(place, option, names, shapes, limit)
        source = f"{Path(place.rpartition(':')[0]).name}:{place.rpartition(':')[2]}"
    elif path.is_dir():
        inputs, labels = images.read_images(path, option, shapes, limit)
        source = path.name
    else:
        inputs, labels = sources.read_arrays(path, option, names, limit)
        source = path.name
    counts = {len(array) if array.ndim else 0 for array in inputs}
    if counts == {0}:
        raise DataError("The data holds no samples", where=f"{option} {place}")
    if len(counts) > 1:
        raise DataError(
            "The inputs have different numbers of samples",
            where=f"{option} {place}",
            found=", ".join(str(array.shape) for array in inputs),
        )
    where = f"{option} {place}"
    numbers = tuple(_to_float(array, where) for array in inputs)
    dataset = Dataset(
        inputs=numbers, labels=_to_labels(labels, len(numbers[0]), where), source=source
    )
    if shapes is not None:
        check_shapes(dataset, shapes, option=where)
    return normalize(dataset, normalization or Normalization(), option=where)


def random_data(
    shapes: Sequence[Shape], samples: int, seed: int, limits: Sequence[int] = ()
) -> Dataset:
    """Standard normal noise in place of data, the same for the same seed.

    Args:
        shapes: Of one sample of each input.
        samples: How many.
        seed: Of the generator.
        limits: For each input, below which whole numbers its values lie; 0 for noise.
    """
    generator = np.random.default_rng(seed)
    inputs = tuple(
        generator.integers(least_index(limit), limit, (samples, *shape[1:])).astype(np.float32)
        if limit
        else generator.standard_normal((samples, *shape[1:])).astype(np.float32)
        for shape, limit in zip(shapes, limits or [0] * len(shapes), strict=True)
    )
    return Dataset(inputs=inputs, source=f"random numbers (seed {seed})", random=True)


def least_index(limit: int) -> int:
    """The least random number below a limit: 0 is often padding, or the length of nothing."""
    return 1 if limit > 2 else 0


def check_shapes(dataset: Dataset, shapes: Sequence[Shape], *, option: str = "--data") -> None:
    """Compares the data with the model's inputs.

    Raises:
        DataError: If they differ; a layout that only needs a transpose is recognised.
    """
    if len(dataset.inputs) != len(shapes):
        raise DataError(
            "The data has another number of inputs than the model",
            where=option,
            found=f"{len(dataset.inputs)}",
            expected=f"{len(shapes)}",
        )
    for array, shape in zip(dataset.inputs, shapes, strict=True):
        if array.shape[1:] != tuple(shape[1:]):
            expected = ", ".join(str(size) for size in shape[1:])
            raise DataError(
                "The data does not have the shape that the model takes",
                where=option,
                found=str(list(array.shape)),
                expected=f"[samples, {expected}]",
                hint=_layout_hint(array.shape, tuple(shape)),
            )


def check_labels(dataset: Dataset, classes: int, *, option: str = "--data") -> None:
    """Checks that every label is a class of the model.

    Raises:
        DataError: If a label is below 0 or not below `classes`.
    """
    if dataset.labels is None:
        return
    outside = np.flatnonzero((dataset.labels < 0) | (dataset.labels >= classes))
    if len(outside):
        raise DataError(
            "A label is not a class of the model",
            where=f"{option}, sample {outside[0]}",
            found=f"{dataset.labels[outside[0]]} ({len(outside)} such labels)",
            expected=f"0 to {classes - 1}",
        )


def normalize(dataset: Dataset, how: Normalization, *, option: str = "--data") -> Dataset:
    """Applies ``(x * scale - mean) / std``, channel by channel where `how` has several numbers.

    Raises:
        DataError: If the channels do not match, or the model has several inputs.
    """
    if how.is_identity:
        return dataset
    if len(dataset.inputs) > 1:
        raise DataError(
            "--mean, --std and --scale are for a model with one input",
            where=option,
            hint="Normalise in a file.py:function instead.",
        )
    array = dataset.inputs[0]
    mean = _per_channel(how.mean or (0.0,), array, "--mean")
    std = _per_channel(how.std or (1.0,), array, "--std")
    result = ((array * np.float32(how.scale) - mean) / std).astype(np.float32)
    return replace(dataset, inputs=(result,))


def _per_channel(values: tuple[float, ...], array: FloatArray, option: str) -> FloatArray:
    channels = array.shape[1] if array.ndim > 1 else 1
    if len(values) not in (1, channels):
        raise DataError(
            f"{option} has another number of values than the input has channels",
            where=option,
            found=str(len(values)),
            expected=f"1 or {channels}" if channels > 1 else "1",
        )
    return np.asarray(values, np.float32).reshape(1, -1, *(1,) * (array.ndim - 2))


def _to_float(array: NDArray[Any], where: str) -> FloatArray:
    if array.dtype.kind not in "fiub":
        raise DataError(
            "The data does not hold numbers",
            where=where,
            found=f"arrays of type {array.dtype}",
            expected="float or integer arrays",
        )
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array, dtype=np.float32)
    flat = numbers.reshape(len(numbers), -1)
    bad = np.flatnonzero(~np.isfinite(flat).all(axis=1))
    if len(bad):
        raise DataError(
            "The data holds NaN or infinite values",
            where=f"{where}, sample {bad[0]}",
            found=f"{len(bad)} of {len(numbers)} samples affected",
            expected="finite numbers",
        )
    return numbers


def _to_labels(labels: NDArray[Any] | None, samples: int, where: str) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.shape != (samples,):
        raise DataError(
            "The labels do not match the samples",
            where=where,
            found=f"labels of shape {list(labels.shape)}",
            expected=f"[{samples}], one class index for each sample",
            hint="For one-hot labels use y.argmax(1)." if flat.ndim == 2 else "",
        )
    whole = flat.dtype.kind in "iub" or (
        flat.dtype.kind == "f" and bool(np.all(np.isfinite(flat) & (flat == np.trunc(flat))))
    )
    if not whole:
        raise DataError(
            "The labels are not class indices",
            where=where,
            found=f"values of type {labels.dtype}",
            expected="integers from 0",
        )
    return flat.astype(np.int64)


def _layout_hint(found: Shape, shape: Shape) -> str:
    sizes = shape[1:]
    if len(found) == len(shape) > 2 and found[1:] == (*sizes[1:], sizes[0]):
        axes = (0, len(found) - 1, *range(1, len(found) - 1))
        return f"The channels are last: use x.transpose{axes}."
    if found[1:] == sizes[1:] and sizes[0] == 1:
        return "The channel axis is missing: use x[:, None]."
    if found == sizes:
        return "The axis of the samples is missing: use x[None]."
    if np.prod(found[1:]) == np.prod(sizes):
        return f"The number of values fits: x.reshape(-1, {', '.join(map(str, sizes))}) may be it."
    return "Give the data in the layout that the PyTorch model takes."
