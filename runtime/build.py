"""Compiles the C of a bundle with the harness or the minimal firmware, outside the bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgefactor.errors import BudgetError, MissingToolError, ToolError
from edgefactor.runtime.model_source import ModelSource
from edgefactor.runtime.support import HARNESS_FOLDER, firmware_sources, harness_sources
from edgefactor.runtime.toolchain import INSTALLATIONS, run, run_all
from edgefactor.targets.catalogue import SUPPORT_FOLDER
from edgefactor.targets.description import Board, Target

COMPILE_SECONDS = 120
COMMON_FLAGS = ("-std=c99", "-ffunction-sections", "-fdata-sections")
SANITIZER_FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-fno-lto")
_OVERFLOW = re.compile(r"region [`'](\w+)' overflowed by (\d+) bytes")
TRACE_DEFINE = "-DEF_TRACE"


def board_defines(board: Board) -> tuple[str, ...]:
    """Compiler flags that tell the harness about the board's timer."""
    return (f"-DEF_TIMER_{board.timer.upper()}=0x{board.timer_address:08X}U",)


class Builder:
    """Builds programs from one bundle for one target in a work folder.

    Objects are kept, so that a second program compiles only what differs.
    """

    def __init__(
        self, source: ModelSource, target: Target, work: Path, *, sanitize: bool = False
    ) -> None:
        self.source = source
        self.target = target
        self.work = work
        self._sanitizers = SANITIZER_FLAGS if sanitize else ()
        self._objects: dict[tuple[Path, tuple[str, ...]], Path] = {}

    def check_harness(self, *, traced: bool) -> Path:
        """The program that runs samples; with ``traced`` it reports every tensor."""
        board = self.target.board
        flags = (*self.target.model_flags, *((TRACE_DEFINE,) if traced else ()))
        harness = list(harness_sources(self.target))
        if board:
            harness.append(SUPPORT_FOLDER / "startup.c")
        # Only the model's file and the harness see whether it is traced: kernels compile once.
        objects = [
            *self._compile(self.source.kernels, self.target.kernel_flags),
            *self._compile(self.source.model, flags),
            *self._compile(harness, (*flags, *(board_defines(board) if board else ()))),
        ]
        return self._link(objects, "check_traced" if traced else "check")

    def firmware(self) -> Path:
        """The minimal firmware: the model, its kernels, start-up code and nothing else."""
        objects = [
            *self._compile(self.source.kernels, self.target.kernel_flags),
            *self._compile(self.source.model, self.target.model_flags),
            *self._compile(firmware_sources(self.target), self.target.model_flags),
        ]
        return self._link(objects, "firmware")

    def _compile(self, sources: Sequence[Path], flags: Sequence[str]) -> list[Path]:
        flags = (*self.target.cpu_flags, *COMMON_FLAGS, *flags, *self._sanitizers)
        folder = self.source.folder
        commands: list[tuple[str | Path, ...]] = []
        for source in sources:
            if (source, flags) in self._objects:
                continue
            # The number keeps equal names of different folders or flags apart.
            made = self.work / f"{source.stem}_{len(self._objects)}.o"
            self._objects[source, flags] = made
            includes = (f"-I{folder}", f"-I{folder / 'kernels'}", f"-I{HARNESS_FOLDER}")
            commands.append((self.target.compiler, *flags, *includes, "-c", source, "-o", made))
        self._require_c_library()
        run_all(commands, timeout_seconds=COMPILE_SECONDS)
        return [self._objects[source, flags] for source in sources]

    def _link(self, objects: Sequence[Path], name: str) -> Path:
        program = self.work / f"{name}{'.elf' if self.target.board else ''}"
        command: list[str | Path] = [
            self.target.compiler,
            *self.target.cpu_flags,
            *self._sanitizers,
            *objects,
            "-o",
            program,
        ]
        if self.target.board:
            script = self.target.board.linker_script
            command += [
                "-nostartfiles",
                "--specs=nano.specs",
                "-Wl,--gc-sections",
                f"-L{script.parent}",
                f"-L{SUPPORT_FOLDER}",
                f"-T{script}",
            ]
        try:
            run(command, timeout_seconds=COMPILE_SECONDS)
        except ToolError as error:
            overflow = _OVERFLOW.search(error.found)
            if overflow is None:
                raise
            raise BudgetError(
                f"the program does not fit the {overflow[1]} of the board",
                where=self.target.name,
                found=f"{int(overflow[2]):,} bytes too much",
            ) from error
        return program

    def _require_c_library(self) -> None:
        """Say that newlib is missing before the compiler says that string.h is."""
        if not self.target.board:
            return
        ended = run(
            (self.target.compiler, "-print-file-name=nano.specs"), timeout_seconds=COMPILE_SECONDS
        )
        # The compiler answers with the bare name when it does not find the file.
        if Path(ended.stdout.strip()).name == ended.stdout.strip():
            raise MissingToolError(
                f"{self.target.compiler} has no C library (newlib, nano variant)",
                expected="nano.specs",
                hint=INSTALLATIONS["arm-none-eabi-gcc"].hint(),
            )
