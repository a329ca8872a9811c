"""The output folder: written beside its place, renamed into it, with a manifest of its files.

A run that is interrupted, or that finds the disk full, leaves the old bundle whole and nothing
else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgefactor.errors import OptionError

MANIFEST = "manifest.json"
FLOAT_ONNX = "model.onnx"
INT8_ONNX = "model.int8.onnx"
TFLITE = "model.tflite"
GRAPH = "graph.json"
REPORT = "report.json"
C_FOLDER = "c"
FORMAT = "edgefactor.bundle/1"


@contextmanager
def writing(output: Path) -> Iterator[Path]:
    """Gives a fresh folder to write into; when the block ends well, it becomes `output`.

    A bundle that is there already is replaced as a whole. When the block raises, `output` stays as
    it was.

    Raises:
        OptionError: If `output` is something else than a bundle or an empty folder, or the place
            cannot be written.
    """
    output = Path(os.path.abspath(output))
    check_output(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise _unwritable(output, error) from error
    try:
        try:
            yield folder
            _make_readable(folder)
            _exchange(folder, output)
        except OSError as error:
            # Only what happens in this very folder; an OSError of a tool or a data file goes on.
            if _concerns(error, folder):
                raise _unwritable(output, error) from error
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_output(output: Path) -> None:
    """Refuses, before any work is done, a place that must not or cannot be written.

    Raises:
        OptionError: If `output` is a file, a folder that is no bundle, or cannot be written.
    """
    try:
        if output.is_symlink() or (output.exists() and not output.is_dir()):
            raise OptionError(
                "The output is there already and is not a folder", where=str(output), hint=_OTHER
            )
        if output.is_dir() and any(output.iterdir()) and not is_bundle(output):
            raise OptionError(
                "The output folder holds other things than a bundle, so it is not replaced",
                where=str(output),
                found=", ".join(sorted(entry.name for entry in output.iterdir())[:4]),
                expected="a folder that does not exist, is empty, or was written by edgefactor",
                hint=_OTHER,
            )
    except OSError as error:
        raise _unwritable(output, error) from error
    parent = output.absolute().parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        problem = "not a folder" if parent.exists() and not parent.is_dir() else "no permission"
        raise OptionError(
            "The output folder cannot be written", where=str(output), found=problem, hint=_OTHER
        )


_OTHER = "Choose another place with -o."


def is_bundle(folder: Path) -> bool:
    """Whether `folder` was written by an export."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(manifest, dict)
        and str(manifest.get("format", "")).startswith("edgefactor.bundle/")
        and isinstance(manifest.get("files"), dict)
        and isinstance(manifest.get("options"), dict)
    )


def write_manifest(
    folder: Path, *, versions: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes the manifest over all files in `folder`, and returns it.

    It holds no date and no path outside of the bundle: the same model and options give the same
    bytes.

    Args:
        folder: The bundle, with everything else in place.
        versions: Version of edgefactor and of what took part.
        options: The options of the run; paths as names without folders.
    """
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    )
    manifest = {
        "format": FORMAT,
        "versions": dict(sorted(versions.items())),
        "options": dict(options),
        "files": {name: sha256(folder / name) for name in files},
    }
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle.

    Raises:
        OptionError: If `folder` is no bundle, or a file of it is missing or changed.
    """
    if not is_bundle(folder):
        raise OptionError(
            "This is not a bundle that edgefactor wrote",
            where=str(folder),
            expected=f"a folder with a {MANIFEST}",
        )
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for name, digest in manifest["files"].items():
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
        try:
            whole = inside and (folder / name).is_file() and sha256(folder / name) == digest
        except OSError as error:
            raise OptionError(
                "A file of the bundle cannot be read", where=str(folder / name), found=str(error)
            ) from error
        if not whole:
            raise OptionError(
                "A file of the bundle is missing or was changed",
                where=str(folder / name),
                hint="Export it again.",
            )
    return manifest


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_readable(folder: Path) -> None:
    # mkdtemp makes folders for the owner only; a bundle has the permissions of any new folder.
    mask = os.umask(0)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)


def _exchange(folder: Path, output: Path) -> None:
    """Puts `folder` at `output`; the old folder is moved aside first and put back on failure."""
    if not output.exists():
        folder.rename(output)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{output.name}.old.", dir=output.parent))
    moved = aside / output.name
    try:
        output.rename(moved)
        folder.rename(output)
    except BaseException:
        # An interrupt may arrive between the two.
        if moved.exists() and not output.exists():
            moved.rename(output)
        raise
    finally:
        if output.exists():
            shutil.rmtree(aside, ignore_errors=True)


def _concerns(error: OSError, folder: Path) -> bool:
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    # A full disk is reported by write(), without a name.
    return not names or any(name.startswith(str(folder.parent)) for name in names)


def _unwritable(output: Path, error: OSError) -> OptionError:
    return OptionError(
        "The output folder cannot be written",
        where=str(output),
        found=error.strerror or str(error),
        hint=_OTHER,
    )
