"""Finds and runs programs: compilers, CMake, QEMU. The only module that starts a subprocess.

Programs are started by argument lists, never through a shell, and always with a time limit.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgefactor.errors import MissingToolError, ToolError

JOBS = 2
"""Compilers that run side by side."""

NEARLY_FULL_BYTES = 2**20
"""With less room than this for temporary files, a failure is likely to come from it."""

OUTPUT_TAIL_CHARACTERS = 2000
"""How much of a failed program's output an error shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The command that installs a program, by system."""

    debian: str
    fedora: str
    macos: str

    def hint(self) -> str:
        """The command for this system, or all of them where the system is not recognised."""
        if self.debian == self.fedora == self.macos:
            return self.debian
        if sys.platform == "darwin":
            return self.macos
        if shutil.which("apt-get"):
            return self.debian
        if shutil.which("dnf"):
            return self.fedora
        return f"Debian: {self.debian}; Fedora: {self.fedora}; macOS: {self.macos}"


INSTALLATIONS = {
    "arm-none-eabi-gcc": Installation(
        debian="sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi",
        fedora="sudo dnf install arm-none-eabi-gcc-cs arm-none-eabi-newlib",
        macos="brew install --cask gcc-arm-embedded",
    ),
    "qemu-system-arm": Installation(
        debian="sudo apt-get install qemu-system-arm",
        fedora="sudo dnf install qemu-system-arm",
        macos="brew install qemu",
    ),
    "cc": Installation(
        debian="sudo apt-get install gcc libc6-dev",
        fedora="sudo dnf install gcc",
        macos="xcode-select --install",
    ),
    "clang": Installation(
        debian="sudo apt-get install clang",
        fedora="sudo dnf install clang",
        macos="xcode-select --install",
    ),
    "openocd": Installation(
        debian="sudo apt-get install openocd",
        fedora="sudo dnf install openocd",
        macos="brew install open-ocd",
    ),
    "pyocd": Installation(
        debian="pip install pyocd", fedora="pip install pyocd", macos="pip install pyocd"
    ),
    "cmake": Installation(
        debian="sudo apt-get install cmake",
        fedora="sudo dnf install cmake",
        macos="brew install cmake",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that ended with exit code 0."""

    command: tuple[str, ...]
    stdout: str
    stderr: str
    seconds: float


def find_program(name: str) -> Path:
    """Where a program is.

    Args:
        name: Its name, or a path. ``cc`` also means what the environment variable CC names.

    Raises:
        MissingToolError: It is not installed; the hint is the command that installs it.
    """
    wanted = os.environ.get("CC", "cc") if name == "cc" else name
    path = shutil.which(wanted)
    if path is not None:
        return Path(path)
    installation = INSTALLATIONS.get(name)
    raise MissingToolError(
        f"the program {wanted} is not installed",
        expected=f"{wanted} in PATH",
        hint=installation.hint() if installation else "",
    )


def has_program(name: str) -> bool:
    """Whether a program is installed."""
    try:
        find_program(name)
    except MissingToolError:
        return False
    return True


def run(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program to its end.

    Args:
        command: The program, looked up by ``find_program``, and its arguments.
        timeout_seconds: After this the program is ended.
        folder: Its working directory.
        environment: Variables added to this process's own.

    Raises:
        MissingToolError: It is not installed.
        ToolError: It ended with another code than 0, or took too long.
    """
    words = (str(find_program(str(command[0]))), *(str(word) for word in command[1:]))
    start = time.monotonic()
    try:
        ended = subprocess.run(
            words,
            cwd=folder,
            env=None if environment is None else {**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{Path(words[0]).name} did not end within {timeout_seconds:g} s",
            where=shlex.join(words),
            found=_tail(_text(error.stderr) or _text(error.stdout)),
        ) from error
    except OSError as error:
        raise ToolError(
            f"{Path(words[0]).name} cannot be started", where=shlex.join(words), found=str(error)
        ) from error
    if ended.returncode != 0:
        raise ToolError(
            f"{Path(words[0]).name} {_ending(ended.returncode)}",
            where=shlex.join(words),
            found=_tail(ended.stderr or ended.stdout),
            hint=_full_disk(),
        )
    return Completed(
        command=words,
        stdout=ended.stdout,
        stderr=ended.stderr,
        seconds=time.monotonic() - start,
    )


def run_all(
    commands: Sequence[Sequence[str | Path]], *, timeout_seconds: float, folder: Path | None = None
) -> tuple[Completed, ...]:
    """Run programs that do not depend on each other, ``JOBS`` at a time.

    Raises:
        ToolError: One of them failed; the first such error in the order given.
    """
    with ThreadPoolExecutor(max_workers=JOBS) as pool:
        ends = [
            pool.submit(run, command, timeout_seconds=timeout_seconds, folder=folder)
            for command in commands
        ]
        return tuple(end.result() for end in ends)


def _full_disk() -> str:
    """What to do where a program may have failed because temporary files found no room."""
    try:
        folder = tempfile.gettempdir()
        free_bytes = shutil.disk_usage(folder).free
    except OSError:
        return ""
    if free_bytes > NEARLY_FULL_BYTES:
        return ""
    return f"{folder} is full: make room, or name another folder in the variable TMPDIR"


def _ending(code: int) -> str:
    # Negative: ended by a signal. Emulators and sanitizers end that way when a program goes wrong.
    return f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _tail(output: str) -> str:
    output = output.strip()
    if len(output) <= OUTPUT_TAIL_CHARACTERS:
        return output
    return "..." + output[-OUTPUT_TAIL_CHARACTERS:]
