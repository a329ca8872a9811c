"""Rows of the zoo's table that were measured before, with the same code.

A row is kept in ``build/zoo/rows`` under the hash of all that it depends on in the repository, so
an interrupted run of the table goes on where it stopped, and a change to a kernel measures anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from benchmarks.zoo_rows import Row

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "zoo" / "rows"
_ROOMS = ("pipeline", "export", "runtime", "targets")
_BENCHMARK = ("zoo_cases", "zoo_rows", "zoo_training", "zoo_words", "shared_models")
_SUFFIXES = (".py", ".c", ".h", ".toml", ".ld", ".j2")


def row_file(network: str, target: str, settings: object, folder: Path = FOLDER) -> Path:
    """Where the row of a network on a target is kept.

    Args:
        network: One of the zoo.
        target: Name of a target.
        settings: What else it depends on: samples, data, evaluated inputs.
        folder: Holds the rows.
    """
    own = ROOT / "examples" / "zoo" / f"{network}.py"
    text = f"{_code_digest()} {_digest([own] if own.is_file() else [])} {settings!r}"
    return folder / f"{network}-{target}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


def load(path: Path) -> Row | None:
    """A row that was kept; None if there is none."""
    if not path.is_file():
        return None
    values = json.loads(path.read_text())
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Row(**{**values, **lists})


def keep(row: Row, path: Path) -> None:
    """Keep a row; it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps(asdict(row), indent=1))
    beside.replace(path)


@functools.cache
def _code_digest() -> str:
    """Of the exporter, the kernels, the targets, and what prepares the networks."""
    files = [path for room in _ROOMS for path in (ROOT / room).rglob("*")]
    files += [ROOT / "benchmarks" / f"{name}.py" for name in _BENCHMARK]
    files.append(ROOT / "examples" / "zoo" / "prepare.py")
    return _digest(sorted(path for path in files if path.suffix in _SUFFIXES))


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()
