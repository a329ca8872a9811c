"""Data from array files and from the user's own functions.

Each reader returns raw arrays, one per model input, and labels or None; `data` checks and converts.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import DataError
from edgefactor.pipeline.files import factory as factories

Arrays = tuple[tuple[NDArray[Any], ...], NDArray[Any] | None]
Shape = tuple[int, ...]

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
        if "Object arrays" in str(error):
            found = "an array of Python objects (not loaded)"
        elif "pickle" in str(error):
            # NumPy takes every file without a magic number of its own for a pickle.
            found = "neither an .npz nor an .npy file"
        else:
            found = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            "The data file cannot be read", where=where, found=found, expected=_KINDS
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
        inputs = tuple(_member(content, name, limit) for name in wanted)
        labels = _member(content, "y", limit) if "y" in found and "y" not in wanted else None
    except (ValueError, OSError, EOFError, IndexError, zipfile.BadZipFile) as error:
        pickled = "pickle" in str(error)
        raise DataError(
            "An array of the file cannot be read",
            where=where,
            found="an array of Python objects (not loaded)" if pickled else str(error),
            expected="float or integer arrays",
        ) from error
    return inputs, labels


def _member(content: Mapping[str, Any], name: str, limit: int) -> NDArray[Any]:
    array = content[name]
    # A zip archive may hold anything; what is no .npy comes as bytes.
    if not isinstance(array, np.ndarray):
        raise ValueError(f"the member {name} is no array")
    return array[:limit] if array.ndim else array


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
