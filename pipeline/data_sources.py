"""The three places data is read from: array files, folders of images, and the user's functions.

Each reader returns raw arrays, one per model input, and labels or None; `data` checks and converts.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import DataError
from edgefactor.pipeline import factory as factories

if TYPE_CHECKING:
    from PIL.Image import Image

Arrays = tuple[tuple[NDArray[Any], ...], NDArray[Any] | None]
Shape = tuple[int, ...]

_IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
)
_KINDS = "an .npz or .npy file, a folder of images, or file.py:function"


def read_arrays(path: Path, option: str, names: Sequence[str], limit: int) -> Arrays:
    """Reads ``x`` and ``y``, arrays named as the model's inputs, or the only array of a file.

    Raises:
        DataError: If the file is missing, no array file, or the arrays cannot be told apart.
    """
    where = f"{option} {path}"
    try:
        content = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError("There is no such data file", where=where, expected=_KINDS) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        pickled = "allow_pickle" in str(error) or "pickled" in str(error)
        raise DataError(
            "The data file cannot be read" if not pickled else "The data file holds Python objects",
            where=where,
            found="pickled objects" if pickled else str(error).splitlines()[0],
            expected=_KINDS,
        ) from error
    if isinstance(content, np.ndarray):
        return (content[:limit] if content.ndim else content,), None
    with content:
        return _choose(content, where, names, limit)


def _choose(content: Mapping[str, Any], where: str, names: Sequence[str], limit: int) -> Arrays:
    found = list(content)
    wanted = [name for name in names if name in found]
    if "x" in found and len(names) < 2:
        wanted = ["x"]
    elif names and len(wanted) == len(names):
        pass
    elif len(found) == 1 and len(names) < 2:
        wanted = found
    else:
        expected = " and ".join(names) if len(names) > 1 else "x (and y for labels)"
        raise DataError(
            "The arrays in the file cannot be matched to the model's inputs",
            where=where,
            found=", ".join(found[:8]) or "no arrays",
            expected=f"arrays named {expected}",
        )
    try:
        inputs = tuple(content[name][:limit] for name in wanted)
        labels = content["y"][:limit] if "y" in found and "y" not in wanted else None
    except (ValueError, OSError, EOFError, IndexError, zipfile.BadZipFile) as error:
        pickled = "pickle" in str(error)
        raise DataError(
            "An array of the file cannot be read",
            where=where,
            found="an array of Python objects (not loaded)" if pickled else str(error),
            expected="float or integer arrays",
        ) from error
    return inputs, labels


def read_images(path: Path, option: str, shapes: Sequence[Shape] | None, limit: int) -> Arrays:
    """Reads a folder of images, values 0 to 255 as [N, C, H, W]; subfolders are classes.

    The classes are the subfolders sorted by name, 0 first.

    Raises:
        DataError: If there are no images, or they do not have the size of the input.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError(
            "Reading images needs Pillow", where=option, hint="Run: pip install pillow"
        ) from error
    where = f"{option} {path}"
    files, labels = _image_files(path, limit)
    if not files:
        raise DataError(
            "The folder holds no images", where=where, expected=" ".join(_IMAGE_SUFFIXES)
        )
    shape = shapes[0] if shapes and len(shapes[0]) == 4 else None
    arrays: list[NDArray[Any]] = []
    for file in files:
        try:
            with Image.open(file) as image:
                arrays.append(_pixels(image, shape))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise DataError("An image cannot be read", where=str(file), found=str(error)) from error
        expected = tuple(shape[2:]) if shape else arrays[0].shape[1:]
        if arrays[-1].shape[1:] != expected:
            raise DataError(
                "An image does not have the size of the model's input",
                where=str(file),
                found=f"{arrays[-1].shape[1]} x {arrays[-1].shape[2]} (height x width)",
                expected=f"{expected[0]} x {expected[1]}",
                hint="Resize the images beforehand, as it was done for training, or give a "
                "file.py:function that does it.",
            )
    channels = {array.shape[0] for array in arrays}
    if len(channels) > 1:
        raise DataError(
            "Grey and colour images are mixed", where=where, hint="Give --input-shape as well."
        )
    return (np.stack(arrays),), None if labels is None else np.asarray(labels, np.int64)


def _image_files(path: Path, limit: int) -> tuple[list[Path], list[int] | None]:
    def images(folder: Path) -> list[Path]:
        return sorted(f for f in folder.iterdir() if f.suffix.lower() in _IMAGE_SUFFIXES)

    classes = sorted(f for f in path.iterdir() if f.is_dir() and not f.name.startswith("."))
    by_class = [images(folder) for folder in classes]
    if not any(by_class):
        return images(path)[:limit], None
    # In turn from every class, so that any prefix is a fair sample.
    longest = max(len(files) for files in by_class)
    mixed = [
        (files[index], label)
        for index in range(longest)
        for label, files in enumerate(by_class)
        if index < len(files)
    ][:limit]
    return [file for file, _ in mixed], [label for _, label in mixed]


def _pixels(image: Image, shape: Shape | None) -> NDArray[Any]:
    grey = shape[1] == 1 if shape else image.mode in ("1", "L", "I", "F")
    pixels = np.asarray(image.convert("L" if grey else "RGB"))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def read_function(
    reference: str,
    option: str,
    names: Sequence[str],
    shapes: Sequence[Shape] | None,
    limit: int,
) -> Arrays:
    """Calls the user's function and collects what it yields.

    It returns an iterable of x, (x, y), ((x1, x2), y) or {name: x, "y": y}: batches or, where their
    rank says so, single samples.

    Raises:
        DataError: If the function fails or yields something else.
    """
    function = factories.resolve(reference, option=option)
    where = f"{option} {reference}"
    batches: list[tuple[tuple[NDArray[Any], ...], NDArray[Any] | None]] = []
    count = 0
    try:
        for item in _items(factories.call(function, reference, option=option), where):
            batch = _batch(item, names, shapes, where)
            batches.append(batch)
            count += len(batch[0][0])
            if count >= limit:
                break
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            "The data function failed while it was read",
            where=where,
            found=f"{type(error).__name__}: {error}",
        ) from error
    if not batches:
        raise DataError("The data holds no samples", where=where)
    try:
        inputs = tuple(
            np.concatenate(parts)[:limit]
            for parts in zip(*(batch[0] for batch in batches), strict=True)
        )
        labelled = [labels for _, labels in batches if labels is not None]
        labels = np.concatenate(labelled)[:limit] if len(labelled) == len(batches) else None
    except ValueError as error:
        raise DataError(
            "The items that the function yields have different shapes",
            where=where,
            found=str(error),
        ) from error
    return inputs, labels


def _items(returned: Any, where: str) -> Iterator[Any]:
    if _is_array(returned):
        return iter([returned])
    if isinstance(returned, tuple) and len(returned) == 2 and all(_is_array(p) for p in returned):
        return iter([returned])
    if isinstance(returned, Mapping) or not isinstance(returned, Iterable):
        if isinstance(returned, Mapping):
            return iter([returned])
        raise DataError(
            "The function returns nothing that can be iterated",
            where=where,
            found=f"a {type(returned).__name__}",
            expected="an iterable of x or (x, y)",
        )
    return islice(iter(returned), None)


def _batch(
    item: Any, names: Sequence[str], shapes: Sequence[Shape] | None, where: str
) -> tuple[tuple[NDArray[Any], ...], NDArray[Any] | None]:
    labels: Any = None
    if isinstance(item, Mapping):
        missing = [name for name in names if name not in item]
        keys = list(names) or [key for key in item if key != "y"]
        if missing or not keys:
            raise DataError(
                "An item lacks an input of the model",
                where=where,
                found=", ".join(map(str, item)),
                expected=", ".join(names) or "x",
            )
        values, labels = [item[key] for key in keys], item.get("y")
    elif isinstance(item, tuple | list) and len(item) == 2:
        first, labels = item
        values = list(first) if isinstance(first, tuple | list) else [first]
    else:
        values = [item]
    arrays = [_array(value, where) for value in values]
    marks = None if labels is None else _array(labels, where)
    rank = len(shapes[0]) if shapes else None
    single = arrays[0].ndim == rank - 1 if rank else marks is not None and marks.ndim == 0
    if single:
        arrays = [array[None] for array in arrays]
        marks = None if marks is None else marks.reshape(1)
    return tuple(arrays), None if marks is None else np.atleast_1d(marks)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach")


def _array(value: Any, where: str) -> NDArray[Any]:
    # A torch tensor is recognised by what it can do, so that arrays alone do not import torch.
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(
            "An item is no array", where=where, found=f"a {type(value).__name__}: {error}"
        ) from error
