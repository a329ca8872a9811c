"""Harness and firmware compile without a warning, and a bundle gets all it needs."""

import shutil
from pathlib import Path

import pytest

from edgefactor.runtime.build import COMMON_FLAGS, board_defines
from edgefactor.runtime.support import (
    HARNESS_FOLDER,
    firmware_sources,
    harness_sources,
    support_files,
)
from edgefactor.runtime.toolchain import run
from edgefactor.targets.catalogue import list_targets, load_target, target_aliases
from tests.runtime.fake_bundle import FOLDER
from tests.tools import require_tool

WARNINGS = "-Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wundef -pedantic -Werror".split()
NAMES = [name for name in list_targets() if name not in target_aliases()]
COMPILERS = [(name, load_target(name).compiler) for name in NAMES] + [("host", "clang")]


@pytest.mark.parametrize(("name", "compiler"), COMPILERS)
@pytest.mark.parametrize("traced", [False, True])
def test_no_warnings(tmp_path: Path, name: str, compiler: str, traced: bool) -> None:
    require_tool(compiler)
    target = load_target(name)
    defines = (*board_defines(target.board),) if target.board else ()
    for source in (*harness_sources(target), *firmware_sources(target)):
        command = (
            compiler,
            *target.cpu_flags,
            *COMMON_FLAGS,
            *WARNINGS,
            *defines,
            *(("-DEF_TRACE",) if traced else ()),
            f"-I{FOLDER}",
            f"-I{HARNESS_FOLDER}",
            "-c",
            source,
            "-o",
            tmp_path / "out.o",
        )
        run(command, timeout_seconds=60)


@pytest.mark.parametrize("name", NAMES)
def test_bundle_gets_all_files(name: str) -> None:
    target = load_target(name)
    files = support_files(target)
    assert all(path.is_file() for path in files.values())
    assert list(files) == sorted(files)
    assert {"check/check.c", "check/io_stdio.c", "firmware/main.c"} <= set(files)
    if target.board:
        script = f"firmware/{target.board.linker_script.name}"
        arm = {script, "firmware/sections.ld", "firmware/startup.c", "check/measure_arm.c"}
        assert arm <= set(files)
    else:
        assert "firmware/startup.c" not in files


def test_own_linker_script_brings_its_own_sections(tmp_path: Path) -> None:
    board = load_target("cortex-m4").board
    assert board is not None
    for name in (board.linker_script.name, "sections.ld"):
        shutil.copy(board.linker_script.parent / name, tmp_path)
    shutil.copy(board.linker_script, tmp_path / "own.ld")
    shutil.copy(Path(board.linker_script).parents[1] / "cortex-m4.toml", tmp_path / "own.toml")
    text = (tmp_path / "own.toml").read_text(encoding="utf-8")
    text = text.replace("mps2-an385.ld", "own.ld")
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    files = support_files(load_target(str(tmp_path / "own.toml")))
    assert files["firmware/own.ld"] == tmp_path / "own.ld"
    assert files["firmware/sections.ld"] == tmp_path / "sections.ld"
