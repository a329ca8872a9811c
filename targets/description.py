"""What the rest of edgefactor may know about a target: properties, never its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TimerKind = Literal["cmsdk", "sse"]
"""Timers the check harness can read: Arm's CMSDK APB timer, the SSE-300's system counter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """An emulated board that executes the target's code.

    Attributes:
        machine: Name of QEMU's machine.
        linker_script: The board's linker script; it includes ``sections.ld`` beside it.
        flash_bytes: Size of the region for code and constants on the board.
        ram_bytes: Size of the region for data on the board.
        timer: Kind of the timer by which instructions are counted.
        timer_address: Base address of the timer's registers.
        timer_hz: Frequency of the timer.
    """

    machine: str
    linker_script: Path
    flash_bytes: int
    ram_bytes: int
    timer: TimerKind
    timer_address: int
    timer_hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A real part as the programs of debug probes know it.

    Attributes:
        flash_origin: Address of the first byte that a program may take; vectors lie there.
        flash_bytes: Size from there on.
        ram_origin: Address of the RAM.
        ram_bytes: Its size, in one piece.
        openocd: Configuration files of OpenOCD, the probe's first; empty if it has none.
        pyocd: The part's name in pyOCD; empty if it has none.
    """

    flash_origin: int
    flash_bytes: int
    ram_origin: int
    ram_bytes: int
    openocd: tuple[str, ...]
    pyocd: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A processor to export for.

    Attributes:
        name: The target's own name; an alias has been resolved.
        title: Name for people.
        part: A part that has this much memory.
        flash_bytes: Flash of the part: the budget unless the user gives another; 0 for no limit.
        ram_bytes: RAM of the part, likewise.
        dsp: Has the 16-bit SIMD instructions (SMLAD and others).
        mve: Has the M-profile vector extension.
        unaligned: Words may be read at any address.
        compiler: Program that compiles for it.
        cpu_flags: Compiler flags that choose the processor, for compiling and linking.
        kernel_flags: Optimization flags of the kernels.
        model_flags: Optimization flags of everything else.
        board: Where its code is emulated; None where it runs on this computer.
        device: The part behind a debug probe; None where the file does not describe one.
    """

    name: str
    title: str
    part: str
    flash_bytes: int
    ram_bytes: int
    dsp: bool
    mve: bool
    unaligned: bool
    compiler: str
    cpu_flags: tuple[str, ...]
    kernel_flags: tuple[str, ...]
    model_flags: tuple[str, ...]
    board: Board | None
    device: Device | None = None
