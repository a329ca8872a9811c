"""The C of a bundle on an emulated Arm board: tensors, memory touched, instructions executed."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

from edgefactor.errors import TargetError, ToolError
from edgefactor.runtime.exchange import Mode, Samples
from edgefactor.runtime.results import InstructionCount, StartUp, StepInstructions, TouchedMemory
from edgefactor.runtime.toolchain import run
from edgefactor.runtime.tracing import TracingRunner
from edgefactor.targets.description import Board, Target

EMULATOR_SECONDS = 600

EXACT_SHIFT = 7
"""Virtual time advances 2^shift ns an instruction. 2^7 ns are more than two ticks of every board's
timer, so that rounding gives the exact count; 32 bits of ticks last for 10^9 instructions."""

LONG_SHIFT = 2
"""For longer runs: a tick is then up to 12.5 instructions."""

LOOP_ROUNDS = (1000, 101000)
"""Rounds of the harness's calibration loops, of 2 instructions each."""

STACK_EXHAUSTED = 0xFFFFFFFF
STACK_BYTES = 0x8000
"""Stack of the check harness, from targets/support/sections.ld."""


class EmulatedRunner(TracingRunner):
    """Compiles a bundle's C for a target and runs it on that target's emulated board."""

    def __init__(
        self, folder: Path, target: Target, *, timeout_seconds: float = EMULATOR_SECONDS
    ) -> None:
        """Prepare to build.

        Args:
            folder: The C folder of a bundle.
            target: A target with an emulated board.
            timeout_seconds: Limit for one run of the emulator, which serves one chunk of samples.

        Raises:
            TargetError: The target has no emulated board.
        """
        if target.board is None:
            raise TargetError(f"the target {target.name} has no emulated board")
        super().__init__(folder, target, timeout_seconds=timeout_seconds)
        self.board: Board = target.board
        self.name = f"C on emulated {target.name}"
        self._shift: int | None = None

    def _launch(self, program: Path) -> None:
        command: list[str | Path] = [
            "qemu-system-arm",
            "-machine",
            self.board.machine,
            *("-display", "none", "-monitor", "none", "-serial", "none"),
            *("-semihosting-config", "enable=on,target=native"),
            *("-kernel", program),
        ]
        if self._shift is not None:
            command += ["-icount", f"shift={self._shift}"]
        try:
            run(command, timeout_seconds=self.timeout_seconds, folder=self.work)
        except ToolError as error:
            if "Lockup" not in error.found:
                raise
            # The processor could not even enter its fault handler, and QEMU gives up.
            raise ToolError(
                "the emulated processor locked up: the model's stack overflowed, or its code "
                "destroyed the vector table",
                where=error.where,
                found=error.found.splitlines()[0],
                expected=f"at most {STACK_BYTES} bytes of stack",
            ) from error

    def firmware(self) -> Path:
        """Build the minimal firmware, on which flash is measured; it lives until ``close``."""
        return self.builder.firmware()

    def memory(self, inputs: Samples) -> TouchedMemory:
        """Measure the arena and the stack that an inference touches: the most of all samples.

        Raises:
            ToolError: The model overran the board's stack, or the emulator failed.
        """
        words = self.ask(Mode.MEMORY, inputs, traced=False).words()
        records = [words[start : start + 4] for start in range(0, len(words), 4)]
        touched = TouchedMemory(
            arena_planned_bytes=records[0][0],
            arena_first_byte=min(record[1] for record in records),
            arena_end_byte=max(record[2] for record in records),
            stack_bytes=max(record[3] for record in records),
        )
        if touched.stack_bytes == STACK_EXHAUSTED:
            raise ToolError("the model used up the stack of the check harness", where=self.name)
        return touched

    def instructions(self, inputs: Samples) -> InstructionCount:
        """Count the instructions of an inference and of each of its steps.

        Raises:
            ToolError: The emulator's count of a known loop is wrong, so that none can be trusted.
        """
        for shift in (EXACT_SHIFT, LONG_SHIFT):
            self._shift = shift
            try:
                count = self._count(inputs, _Clock(self.board, shift, self.name))
            finally:
                self._shift = None
            if count is not None:
                return count
        raise ToolError("an inference is too long for the board's timer", where=self.name)

    def start_up(self, inputs: Samples) -> StartUp:
        """Count what decoding the weights at start-up takes; nothing where none are decoded.

        Args:
            inputs: At least one sample, which is not looked at.

        Raises:
            ToolError: As in ``instructions``.
        """
        for shift in (EXACT_SHIFT, LONG_SHIFT):
            self._shift = shift
            try:
                words = self.ask(Mode.START_UP, inputs[:1], traced=False).words()
            finally:
                self._shift = None
            clock = _Clock(self.board, shift, self.name)
            empty = clock.calibrate(words)
            ticks, wrapped, stack_bytes = words[4:7]
            if not wrapped:
                instructions = max(0, clock.instructions(ticks) - empty)
                return StartUp(instructions=instructions, stack_bytes=stack_bytes)
        raise ToolError("decoding weights is too long for the board's timer", where=self.name)

    def _count(self, inputs: Samples, clock: _Clock) -> InstructionCount | None:
        """Count with one clock; None when the timer wrapped round."""
        words = self.ask(Mode.COUNT, inputs, traced=False).words()
        empty = clock.calibrate(words)
        records = [words[start : start + 2] for start in range(4, len(words), 2)]
        if any(wrapped for _, wrapped in records):
            return None
        samples = tuple(clock.instructions(ticks) - empty for ticks, _ in records)

        words = self.ask(Mode.STEPS, inputs[:1], traced=True).words()
        clock.calibrate(words)
        hook = clock.instructions(words[3])
        if words[4]:
            return None
        steps = tuple(
            StepInstructions(
                step=step.step,
                tensor=step.tensor,
                layer=step.layer,
                instructions=max(0, clock.instructions(after - before) - hook),
            )
            for step, (before, after) in zip(self.source.trace, pairwise(words[5:]), strict=True)
        )
        return InstructionCount(
            per_inference=max(samples),
            samples=samples,
            steps=steps,
            resolution=clock.resolution,
        )


class _Clock:
    """Converts ticks of a board's timer into instructions."""

    def __init__(self, board: Board, shift: int, where: str) -> None:
        self.ticks_per_instruction: float = board.timer_hz * 2**shift / 1e9
        self.where = where
        # A difference of two readings is off by less than one tick.
        self.resolution = (
            1 if self.ticks_per_instruction > 2 else math.ceil(1 / self.ticks_per_instruction)
        )

    def instructions(self, ticks: int) -> int:
        return round(ticks / self.ticks_per_instruction)

    def calibrate(self, words: list[int]) -> int:
        """Check the clock on loops of known length; return the cost of an empty measurement."""
        empty, *loops = (self.instructions(ticks) for ticks in words[:3])
        # The loops' function may take a few instructions around the loop: the same for both.
        around = loops[0] - 2 * LOOP_ROUNDS[0] - empty
        found = loops[1] - loops[0]
        expected = 2 * (LOOP_ROUNDS[1] - LOOP_ROUNDS[0])
        slack = 0 if self.resolution == 1 else 2 * self.resolution
        if abs(found - expected) > slack or abs(around) > 8 + slack:
            raise ToolError(
                "the emulator does not count instructions as expected; its counts were not used",
                where=self.where,
                found=f"{found} instructions for a loop, {around} around it",
                expected=f"{expected} instructions",
                hint="use QEMU 7.2 or later; `qemu-system-arm --version` shows which one runs",
            )
        return empty
