"""The C of a bundle on a real board behind a debug probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgefactor.runtime.build import Builder
from edgefactor.runtime.probe import Command, Probe, device_of
from edgefactor.runtime.toolchain import run
from edgefactor.runtime.tracing import TracingRunner
from edgefactor.targets.description import Board, Device, Target

BOARD_SECONDS = 300
STACK_BYTES = 0x2000
#: Without emulated board there is no timer to read; the modes that run here read none.
_NO_TIMER = Board(
    machine="",
    linker_script=Path(),
    flash_bytes=0,
    ram_bytes=0,
    timer="cmsdk",
    timer_address=0,
    timer_hz=1,
)


class BoardRunner(TracingRunner):
    """Compiles a bundle's C for a part, puts it into its flash and runs it there.

    What was in the flash before is gone.
    """

    def __init__(
        self, folder: Path, target: Target, probe: Probe, *, timeout_seconds: int = BOARD_SECONDS
    ) -> None:
        """Prepare to build.

        Args:
            folder: The C folder of a bundle.
            target: A target that describes its part.
            probe: The program that drives the debug probe.
            timeout_seconds: Limit for one run, loading included.

        Raises:
            TargetError: The target describes no part.
        """
        self.device = device_of(target)
        self.probe = probe
        super().__init__(folder, target, timeout_seconds=timeout_seconds)
        script = self.work / "device.ld"
        script.write_text(linker_script(self.device), encoding="utf-8")
        board = replace(target.board or _NO_TIMER, linker_script=script)
        flags = (*target.cpu_flags, *probe.defines)
        self.builder = Builder(
            self.source, replace(target, board=board, cpu_flags=flags), self.work
        )
        self.name = f"C on {target.part or target.name} by {probe.program}"

    def _launch(self, program: Path) -> None:
        for command in commands(self.probe, self.device, program.name, self.timeout_seconds):
            run(command, timeout_seconds=self.timeout_seconds + 10, folder=self.work)


def commands(
    probe: Probe, device: Device, file: str, timeout_seconds: float = BOARD_SECONDS
) -> tuple[Command, ...]:
    """What is run to have a board execute an ELF file of the working folder."""
    return probe.commands(device, file, int(timeout_seconds))


def linker_script(device: Device) -> str:
    """Regions of a part for ``targets/support/sections.ld``."""
    return (
        "MEMORY\n{\n"
        f"  FLASH (rx)  : ORIGIN = 0x{device.flash_origin:08X}, LENGTH = {device.flash_bytes}\n"
        f"  RAM   (rwx) : ORIGIN = 0x{device.ram_origin:08X}, LENGTH = {device.ram_bytes}\n"
        "}\n"
        'REGION_ALIAS("VECTORS", FLASH)\n'
        f"__stack_bytes = 0x{STACK_BYTES:X};\n\n"
        "INCLUDE sections.ld\n"
    )
