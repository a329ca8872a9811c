"""Which Python objects a pickle names, found by reading its opcodes: nothing is imported or called.

The gate itself is `torch.load(weights_only=True)`, whose unpickler refuses every global that is not
on its list. This module says beforehand what a file needs, so that an error can name it, and keeps
the one addition to the list: the module classes of torch.nn.
"""

from __future__ import annotations

import functools
import io
import pickletools
import sys
import zipfile
from collections.abc import Mapping

import torch
from torch import nn

from edgefactor.errors import ModelError
from edgefactor.pipeline.files.formats import Format, ModelFile

_STRINGS = ("UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE")
_PLAIN_ATTRIBUTES = (
    bool,
    int,
    float,
    str,
    bytes,
    type(None),
    torch.dtype,
    torch.device,
    torch.Tensor,
)
_LEGACY_PICKLES = 4  # magic number, protocol, system information, and the object
# What torch's own unpickler accepts, besides its long lists of storages, dtypes and rebuilders.
_PLAIN = frozenset(
    {
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.set",
        "__builtin__.bytearray",
        "__builtin__.complex",
        "__builtin__.set",
        "collections.Counter",
        "collections.OrderedDict",
    }
)


def named_globals(file: ModelFile) -> tuple[str, ...]:
    """The classes and functions (``module.name``) that the file's pickle refers to, sorted.

    Raises:
        ModelError: If the opcodes are no well-formed pickle.
    """
    try:
        if file.format is Format.LEGACY_PICKLE:
            stream = io.BytesIO(file.path.read_bytes())
            names = set().union(*(_scan(stream) for _ in range(_legacy_count(stream))))
        else:
            with zipfile.ZipFile(file.path) as archive:
                prefix = f"{file.root}/" if file.root else ""
                names = _scan(io.BytesIO(archive.read(f"{prefix}data.pkl")))
    except (ValueError, IndexError, KeyError, EOFError, UnicodeDecodeError) as error:
        raise ModelError(
            "The model file is damaged: its pickle cannot be read",
            where=str(file.path),
            found=str(error),
            hint="Copy or download it again, or save it again from PyTorch.",
        ) from error
    return tuple(sorted(names))


def foreign_globals(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `names` that neither torch's safe unpickler nor the torch.nn list allows."""
    known = set(torch_nn_classes()) | set(_torch_allowed())
    return tuple(name for name in names if name not in known)


def module_globals(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `names` that are module classes of torch.nn: the file holds a whole module."""
    return tuple(name for name in names if name in torch_nn_classes())


@functools.cache
def torch_nn_classes() -> dict[str, type[nn.Module]]:
    """Every module class that torch.nn.modules itself defines, by the name a pickle gives it.

    Classes only, never functions: an unpickler may call what is on the list, and constructing one
    of these runs torch's code with plain arguments. What the instance then holds is looked at by
    `load` before anything is called.
    """
    classes: dict[str, type[nn.Module]] = {}
    for module_name, module in sorted(sys.modules.items()):
        if module_name.startswith("torch.nn.modules."):
            for name, value in sorted(vars(module).items()):
                own = isinstance(value, type) and value.__module__ == module_name
                if own and issubclass(value, nn.Module) and value.__name__ == name:
                    classes[f"{module_name}.{name}"] = value
    return classes


def find_foreign_attribute(module: nn.Module) -> str:
    """Where a module of torch.nn's classes holds something that would be called; empty if nowhere.

    Unpickling sets any attribute, so hooks and methods could have been exchanged.
    """
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            hooks = attribute.endswith("_hooks") and bool(value)
            own_data = attribute in ("_parameters", "_buffers", "_modules")
            if hooks or not (own_data or _is_plain(value)) or attribute == "forward":
                return f"module {name or type(part).__name__}, attribute {attribute}"
    return ""


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, tuple | list | set):
        return all(_is_plain(item) for item in value)
    return isinstance(value, _PLAIN_ATTRIBUTES)


@functools.cache
def _torch_allowed() -> frozenset[str]:
    from torch import _weights_only_unpickler as unpickler

    # Private, and only for the wording of errors: the unpickler decides by itself.
    allowed: dict[str, object] = getattr(unpickler, "_get_allowed_globals", dict)()
    return _PLAIN | frozenset(str(name) for name in allowed)


def _legacy_count(stream: io.BytesIO) -> int:
    # torch's legacy files start with a pickled magic number; another pickle is a single one.
    for opcode, argument, _ in pickletools.genops(stream.getvalue()[2:]):
        is_torch = opcode.name == "LONG1" and argument == torch.serialization.MAGIC_NUMBER
        return _LEGACY_PICKLES if is_torch else 1
    return 1


def _scan(stream: io.BytesIO) -> set[str]:
    found: set[str] = set()
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            found.add(f"{module}.{name}")
        elif opcode.name in _STRINGS:
            strings.append(str(argument))
        elif opcode.name == "STACK_GLOBAL":
            # Module and name were pushed just before (or fetched from the memo, then unknown).
            found.add(".".join(strings[-2:]) if len(strings) > 1 else "unknown")
    return found
