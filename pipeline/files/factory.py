"""Finds the function that a user names as ``file.py:function`` or ``package.module:function``.

The code is the user's own and runs with the user's rights; edgefactor only calls what was named.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from edgefactor.errors import DataError, EdgefactorError, ModelError, OptionError


def is_reference(text: str) -> bool:
    """Whether `text` names a function (``file.py:function``) rather than a file."""
    return ":" in text and text.rsplit(":", 1)[1].isidentifier() and not Path(text).exists()


def resolve(reference: str, *, option: str) -> Callable[..., Any]:
    """Imports the file or module and returns the function.

    Args:
        reference: ``file.py:function`` or ``package.module:function``.
        option: The option it came from, for messages (``--model``).

    Raises:
        OptionError: If the reference is malformed, or the file, module or function is not there.
        ModelError, DataError: If the code fails while it is imported.
    """
    place, separator, name = reference.rpartition(":")
    if not separator or not place or not name.isidentifier():
        raise OptionError(
            "This does not name a function",
            where=option,
            found=repr(reference),
            expected="file.py:function or package.module:function",
        )
    module = _import(place, option)
    found = getattr(module, name, None)
    if not callable(found):
        problem = "is not there" if found is None else "cannot be called"
        raise OptionError(
            f"The function {name} {problem}",
            where=f"{option} {reference}",
            found=f"functions and classes there: {_public_callables(module)}",
        )
    return found  # type: ignore[no-any-return]


def call(function: Callable[..., Any], reference: str, *, option: str) -> Any:
    """Calls the user's function without arguments.

    Raises:
        ModelError, DataError: If it raises; the message holds the place in the user's code.
    """
    try:
        return function()
    except EdgefactorError:
        raise
    except Exception as error:
        raise _failure(f"{option} {reference} failed when it was called", error, option) from error


def _import(place: str, option: str) -> ModuleType:
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise OptionError("There is no such Python file", where=f"{option} {place}")
        return _import_file(path.resolve(), option)
    try:
        # As `python -m` does: modules beside the user are importable.
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(f"{error.name}.")):
            raise OptionError(
                f"There is no Python module {place}",
                where=option,
                hint="Give a path that ends in .py, or a module that is importable from here.",
            ) from error
        raise _failure(f"{place} cannot be imported", error, option) from error
    except Exception as error:
        raise _failure(f"{place} cannot be imported", error, option) from error


def _import_file(path: Path, option: str) -> ModuleType:
    # Under its own name, so that a pickle that refers to the module and imports between the user's
    # files resolve to this very one; the file's folder is importable, as when Python runs it.
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None:
        origin = getattr(loaded, "__file__", None)
        if origin is not None and Path(origin).resolve() == path:
            return loaded
        name = f"_edgefactor_user_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise OptionError("This is not a Python file", where=f"{option} {path}")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _failure(f"{path.name} cannot be imported", error, option) from error
    return module


def _failure(message: str, error: Exception, option: str) -> EdgefactorError:
    frames = traceback.extract_tb(error.__traceback__)
    last = next((f for f in reversed(frames) if f.filename != __file__), None)
    where = f"{Path(last.filename).name}, line {last.lineno}, in {last.name}" if last else option
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
    kind = ModelError if option == "--model" else DataError
    return kind(message, where=where, found=f"{type(error).__name__}: {error}")


def _public_callables(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    return ", ".join(sorted(names)[:8]) or "none"
