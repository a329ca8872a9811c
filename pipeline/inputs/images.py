"""Data from a folder of images, with one subfolder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import DataError

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
    try:
        files, labels = _image_files(path, limit)
    except OSError as error:
        raise DataError("The folder cannot be read", where=where, found=str(error)) from error
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
