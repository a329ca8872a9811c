"""Hand-written C that goes with a model: the minimal firmware and the check harness."""

from __future__ import annotations

from pathlib import Path

from edgefactor.targets.catalogue import SUPPORT_FOLDER
from edgefactor.targets.description import Target

HARNESS_FOLDER = Path(__file__).resolve().parent / "harness"


def firmware_sources(target: Target) -> tuple[Path, ...]:
    """C files of the minimal firmware; on a computer its main function alone."""
    names = ("main.c", "startup.c") if target.board else ("main.c",)
    return tuple(SUPPORT_FOLDER / name for name in names)


def harness_sources(target: Target) -> tuple[Path, ...]:
    """C files of the check harness, without the start-up code that it shares with the firmware."""
    names = (
        ("check.c", "io_semihosting.c", "measure_arm.c")
        if target.board
        else ("check.c", "io_stdio.c")
    )
    return tuple(HARNESS_FOLDER / name for name in names)


def support_files(target: Target) -> dict[str, Path]:
    """Files that a bundle's C folder needs beside the model, so that it builds as it lies there.

    The harness comes whole, so that the same folder is checked on a computer and on the board.

    Returns:
        Source by path relative to the C folder, sorted.
    """
    files = {f"check/{path.name}": path for path in HARNESS_FOLDER.glob("*.[ch]")}
    files |= {f"firmware/{path.name}": path for path in firmware_sources(target)}
    if target.board:
        script = target.board.linker_script
        sections = script.parent / "sections.ld"
        if not sections.is_file():
            sections = SUPPORT_FOLDER / "sections.ld"
        toolchain = SUPPORT_FOLDER / "arm-none-eabi.cmake"
        files |= {f"firmware/{path.name}": path for path in (script, sections, toolchain)}
    return dict(sorted(files.items()))
