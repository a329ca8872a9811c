"""What holds for the text of every kernel, whichever of them a network takes."""

from pathlib import Path

from edgefactor.runtime.toolchain import run
from tests.tools import REPOSITORY, require_tool

SOURCES = REPOSITORY / "runtime" / "csrc"


def test_pointers_are_aligned_by_way_of_void(tmp_path: Path) -> None:
    """Firmware is often compiled with -Wcast-align; clang heeds it on Arm, gcc when strict."""
    files = sorted(SOURCES.rglob("*.c"))
    assert len(files) > 100
    flags = ("-std=c99", "-Wcast-align=strict", "-Werror", "-fsyntax-only", f"-I{SOURCES}")
    run((require_tool("gcc"), *flags, *files), timeout_seconds=120, folder=tmp_path)
