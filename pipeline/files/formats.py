"""Tells model files apart by their bytes and their zip members, without unpickling anything.

`torch.save`, `torch.jit.save` and `torch.export.save` all write zip archives, with any suffix.
Which one it was shows in the names of the members; what a pickle holds shows in `pickles`.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from edgefactor.errors import ModelError

_MAX_UNPACKED_BYTES = 1 << 31
_FOREIGN = {
    ".onnx": "an ONNX model",
    ".tflite": "a TensorFlow Lite model",
    ".safetensors": "a safetensors file",
    ".h5": "a Keras or HDF5 file",
    ".hdf5": "a Keras or HDF5 file",
    ".keras": "a Keras model",
    ".pb": "a TensorFlow graph",
    ".mlmodel": "a Core ML model",
    ".npz": "a NumPy archive",
    ".npy": "a NumPy array",
}
_WAYS = (
    "Save the network from PyTorch: torch.save(model.state_dict(), 'model.pt') and name the code "
    "that builds it with --model file.py:factory, or torch.export.save(program, 'model.pt2')."
)


class Format(Enum):
    """What a model file is."""

    PICKLE = "pickle in a zip archive (torch.save)"
    LEGACY_PICKLE = "bare pickle (torch.save before 1.6, or pickle.dump)"
    TORCHSCRIPT = "TorchScript (torch.jit.save)"
    EXPORTED_PROGRAM = "ExportedProgram (torch.export.save)"
    OLD_EXPORTED_PROGRAM = "ExportedProgram of PyTorch before 2.8"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file that looks like a model.

    Attributes:
        path: Where it is.
        format: What it is.
        root: The folder inside the archive that all members share; empty for a bare pickle.
        members: The members' names without the root.
    """

    path: Path
    format: Format
    root: str = ""
    members: tuple[str, ...] = ()


def identify(path: Path) -> ModelFile:
    """Says what kind of model file `path` is.

    Raises:
        ModelError: If it is missing, unreadable, damaged, or no PyTorch model at all.
    """
    start = _first_bytes(path)
    if start.startswith(b"PK\x03\x04"):
        return _identify_zip(path)
    foreign = _foreign_kind(path, start)
    if foreign is not None:
        raise ModelError(
            f"This is {foreign}, not a PyTorch model", where=str(path), hint=_foreign_hint(path)
        )
    # Protocol 2 and later start with 0x80 and the number; nothing older was ever torch's default.
    if len(start) > 2 and start[0] == 0x80 and 2 <= start[1] <= 5:
        return ModelFile(path=path, format=Format.LEGACY_PICKLE)
    found = "a text file" if _is_text(start) else f"bytes starting with {start[:8].hex(' ')}"
    raise ModelError(
        "This is not a PyTorch model file",
        where=str(path),
        found=found,
        expected="a file written by torch.save, torch.jit.save or torch.export.save",
        hint=_WAYS,
    )


def _first_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise ModelError("The model is a folder, not a file", where=str(path), hint=_WAYS)
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except FileNotFoundError as error:
        raise ModelError("There is no such model file", where=str(path)) from error
    except OSError as error:
        raise ModelError(
            "The model file cannot be read", where=str(path), found=error.strerror or str(error)
        ) from error
    if not start:
        raise ModelError("The model file is empty (0 bytes)", where=str(path), hint=_WAYS)
    return start


def _identify_zip(path: Path) -> ModelFile:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise ModelError(
            "The model file is damaged: its zip archive is not complete",
            where=str(path),
            found=str(error),
            hint="Copy or download it again, or save it again from PyTorch.",
        ) from error
    if damaged is not None:
        raise ModelError(
            "The model file is damaged: a member's checksum is wrong",
            where=f"{path}, member {damaged}",
            hint="Copy or download it again, or save it again from PyTorch.",
        )
    root, members = _members(path, [info.filename for info in infos])
    if sum(info.file_size for info in infos) > _MAX_UNPACKED_BYTES:
        raise ModelError("The model is larger than 2 GiB", where=str(path))
    return ModelFile(path=path, format=_zip_format(path, members), root=root, members=members)


def _members(path: Path, names: list[str]) -> tuple[str, tuple[str, ...]]:
    """The archive's root folder and the names below it, refusing what two readers could read apart.

    PyTorch looks members up without regard to case, below the first member's folder; Python takes
    the last of equal names. A file that plays on such differences could show one thing and load
    another.
    """
    roots = {name.split("/", 1)[0] if "/" in name else "" for name in names}
    folded = {name.casefold() for name in names}
    odd = [n for n in names if n.startswith("/") or "\\" in n or ".." in PurePosixPath(n).parts]
    if len(folded) != len(names) or odd:
        raise ModelError(
            "The archive holds equal or irregular member names",
            where=str(path),
            found=odd[0] if odd else "two members whose names are the same",
            hint="Save the model again from PyTorch.",
        )
    if len(roots) != 1 or "" in roots:
        return "", tuple(names)
    root = roots.pop()
    return root, tuple(name[len(root) + 1 :] for name in names)


def _zip_format(path: Path, members: tuple[str, ...]) -> Format:
    present = set(members)
    if "serialized_exported_program.json" in present:
        return Format.OLD_EXPORTED_PROGRAM
    if any(name.startswith("models/") and name.endswith(".json") for name in present):
        return Format.EXPORTED_PROGRAM
    if "constants.pkl" in present and any(name.startswith("code/") for name in present):
        return Format.TORCHSCRIPT
    if "data.pkl" in present and "constants.pkl" not in present:
        return Format.PICKLE
    foreign = _FOREIGN.get(path.suffix.lower())
    raise ModelError(
        f"This is {foreign}, not a PyTorch model" if foreign else "This zip archive is no model",
        where=str(path),
        found=f"members {', '.join(sorted(present)[:4])}" if present else "no members",
        expected="a file written by torch.save, torch.jit.save or torch.export.save",
        hint=_WAYS,
    )


def _foreign_kind(path: Path, start: bytes) -> str | None:
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if start.startswith(b"\x89HDF"):
        return "a Keras or HDF5 file"
    if start.startswith(b"\x93NUMPY"):
        return "a NumPy array"
    if start.startswith(b"\x7fELF"):
        return "a program"
    return _FOREIGN.get(path.suffix.lower())


def _foreign_hint(path: Path) -> str:
    if path.suffix.lower() == ".safetensors":
        return (
            "Load it with safetensors.torch.load_file and save the result with torch.save; "
            "then give --model file.py:factory."
        )
    return f"edgefactor starts from PyTorch. {_WAYS}"


def _is_text(start: bytes) -> bool:
    # The sample may end in the middle of a character of up to four bytes.
    for cut in range(4):
        try:
            return "\0" not in start[: len(start) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return False
