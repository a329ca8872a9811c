"""Finds, reads and validates target descriptions: one TOML file a target.

The files beside this one are the targets that edgefactor brings; a user's own may lie anywhere and
is named by its path. A file with the single key ``alias_of`` gives a target a second name.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from edgefactor.errors import TargetError
from edgefactor.targets.description import Board, Device, Target, TimerKind

FOLDER = Path(__file__).resolve().parent
SUPPORT_FOLDER = FOLDER / "support"


def list_targets() -> tuple[str, ...]:
    """Names of the targets that edgefactor brings, aliases included, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def target_aliases() -> dict[str, str]:
    """Second names of targets, each with the name it stands for."""
    tables = ((name, _read(FOLDER / f"{name}.toml")) for name in list_targets())
    return {name: str(table["alias_of"]) for name, table in tables if "alias_of" in table}


def load_target(name: str) -> Target:
    """The description of a target.

    Args:
        name: A name of ``list_targets``, or the path of a TOML file of the same form.

    Raises:
        TargetError: There is no such target, or its file is wrong.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    # A name with a separator would reach outside the folder.
    if not path.is_file() or (not name.endswith(".toml") and Path(name).name != name):
        raise TargetError(
            f"there is no target {name!r}",
            expected="one of " + ", ".join(list_targets()),
            hint=_suggestion(name),
        )
    table = _read(path)
    if "alias_of" in table:
        path = FOLDER / f"{table['alias_of']}.toml"
        # One step only: an alias of an alias would fail below for its missing keys.
        table = _read(path)
    return _parse(path, table)


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), list_targets(), n=3, cutoff=0.5)
    return " or ".join(f"--target {match}" for match in close) or "edgefactor targets"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(
            "the target file cannot be read", where=str(path), found=str(error)
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(
            "the target file is not valid TOML", where=str(path), found=str(error)
        ) from error


#: What a TOML file calls the types that its values are read as.
_KINDS = {str: "a string", int: "an integer", bool: "a boolean", list: "an array", dict: "a table"}


class _Table:
    """One table of a target file; takes typed values out and knows what was never asked for."""

    def __init__(self, path: Path, name: str, values: Mapping[str, Any]) -> None:
        self.path = path
        self.name = name
        self.values = dict(values)

    def take(self, key: str, kind: type) -> Any:
        label = f"{self.name}.{key}" if self.name else key
        value = self.values.pop(key, None)
        if value is None:
            raise self.wrong(f"the key {label} is missing", "", _KINDS[kind])
        # bool is an int to isinstance, but `ram_bytes = true` is a mistake.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(f"the key {label} is of the wrong type", repr(value), _KINDS[kind])
        if isinstance(value, int) and value < 0:
            raise self.wrong(f"the key {label} is negative", repr(value), "0 or more")
        return value

    def take_words(self, key: str) -> tuple[str, ...]:
        words = self.take(key, list)
        if not all(isinstance(word, str) for word in words):
            raise self.wrong(f"{self.name}.{key} holds more than words", repr(words), "strings")
        return tuple(words)

    def take_table(self, key: str) -> _Table:
        return _Table(self.path, key, self.take(key, dict))

    def finish(self) -> None:
        if self.values:
            names = ", ".join(sorted(self.values))
            raise self.wrong(f"unknown keys in [{self.name or 'the top level'}]", names, "none")

    def wrong(self, message: str, found: str, expected: str) -> TargetError:
        return TargetError(message, where=str(self.path), found=found, expected=expected)


def _parse(path: Path, values: Mapping[str, Any]) -> Target:
    top = _Table(path, "", values)
    memory = top.take_table("memory")
    features = top.take_table("features")
    compiler = top.take_table("compiler")
    board = top.take_table("board") if "board" in values else None
    device = top.take_table("device") if "device" in values else None
    target = Target(
        name=path.stem,
        title=top.take("title", str),
        part=top.take("part", str),
        flash_bytes=memory.take("flash_bytes", int),
        ram_bytes=memory.take("ram_bytes", int),
        dsp=features.take("dsp", bool),
        mve=features.take("mve", bool),
        unaligned=features.take("unaligned", bool),
        compiler=compiler.take("program", str),
        cpu_flags=compiler.take_words("cpu_flags"),
        kernel_flags=compiler.take_words("kernel_flags"),
        model_flags=compiler.take_words("model_flags"),
        board=None if board is None else _parse_board(path, board),
        device=None if device is None else _parse_device(device),
    )
    for table in (top, memory, features, compiler):
        table.finish()
    return target


def _parse_board(path: Path, table: _Table) -> Board:
    script_name = table.take("linker_script", str)
    # A user's target may bring its own script or name one of the support folder.
    script = path.parent / script_name
    if not script.is_file():
        script = SUPPORT_FOLDER / script_name
    if not script.is_file():
        raise table.wrong("the linker script does not exist", script_name, str(script))
    timer = table.take("timer", str)
    if timer not in get_args(TimerKind):
        raise table.wrong("unknown timer", timer, " or ".join(get_args(TimerKind)))
    board = Board(
        machine=table.take("machine", str),
        linker_script=script,
        flash_bytes=table.take("flash_bytes", int),
        ram_bytes=table.take("ram_bytes", int),
        timer=cast(TimerKind, timer),
        timer_address=table.take("timer_address", int),
        timer_hz=table.take("timer_hz", int),
    )
    table.finish()
    return board


def _parse_device(table: _Table) -> Device:
    device = Device(
        flash_origin=table.take("flash_origin", int),
        flash_bytes=table.take("flash_bytes", int),
        ram_origin=table.take("ram_origin", int),
        ram_bytes=table.take("ram_bytes", int),
        openocd=table.take_words("openocd"),
        pyocd=table.take("pyocd", str),
    )
    table.finish()
    return device
