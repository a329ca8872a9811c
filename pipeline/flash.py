"""A bundle on a real board: the check program in its flash, its tensors against the reference."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgefactor.errors import TargetError
from edgefactor.pipeline.bundle import C_FOLDER
from edgefactor.pipeline.checking.ladder import Int8Ladder
from edgefactor.pipeline.config import FlashOptions, Progress
from edgefactor.pipeline.opened import open_bundle
from edgefactor.pipeline.report import Rung
from edgefactor.runtime.board_runner import BoardRunner, commands
from edgefactor.runtime.probe import Command, choose_probe, device_of
from edgefactor.targets.catalogue import load_target
from edgefactor.targets.description import Target

#: The program that every tensor is read from, as the builder calls it.
PROGRAM = "check_traced.elf"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashResult:
    """What was run on the board, or would be.

    Attributes:
        target: Name of the target.
        part: The part that it describes.
        probe: The program that drives the debug probe.
        commands: What is run, in the folder of the check program.
        rung: The comparison with the NumPy reference; None for a dry run.
    """

    target: str
    part: str
    probe: str
    commands: tuple[Command, ...]
    rung: Rung | None

    @property
    def ok(self) -> bool:
        """Whether nothing differed, or nothing was run."""
        return self.rung is None or self.rung.passed

    def lines(self) -> tuple[str, ...]:
        """For people: the commands of a dry run, or what the comparison found."""
        if self.rung is None:
            return tuple(shlex.join(command) for command in self.commands)
        rung = self.rung
        verdict = (
            f"{rung.rung}: {rung.differing_elements:,} of {rung.elements:,} elements of "
            f"{rung.tensors} tensors differ from the {rung.compared_with}, {rung.samples} inputs"
        )
        first = rung.first_mismatch
        return (verdict,) if first is None else (verdict, f"first in the tensor {first['tensor']}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "target": self.target,
            "part": self.part,
            "probe": self.probe,
            "commands": [shlex.join(command) for command in self.commands],
            "ok": self.ok,
            "rung": None if self.rung is None else asdict(self.rung),
        }


def flash(options: FlashOptions, progress: Progress = lambda _: None) -> FlashResult:
    """Run a bundle's C on a board and compare every tensor with the reference.

    Args:
        options: Which bundle, which board, how many inputs.
        progress: Called with the name of each step.

    Raises:
        EdgefactorError: The bundle, the target or the data is wrong, or no program for the probe
            is installed.
        ToolError: The board cannot be reached, or the program on it failed.
    """
    opened = open_bundle(options.bundle)
    target = opened.target if options.target is None else _other(options.target, opened.target)
    device = device_of(target)
    if options.configuration:
        device = replace(device, openocd=options.configuration)
        target = replace(target, device=device)
    probe = choose_probe(options.probe, device, installed=not options.dry_run)
    rung = None
    if not options.dry_run:
        data = opened.data(options.data, options.samples, options.seed).take(options.samples)
        steps = Int8Ladder(opened.graph, opened.folder, target, data, progress)
        with BoardRunner(opened.folder / C_FOLDER, target, probe) as runner:
            rung = steps.c_code(runner, runner.name, options.samples)
    return FlashResult(
        target=target.name,
        part=target.part,
        probe=probe.program,
        commands=commands(probe, device, PROGRAM),
        rung=rung,
    )


def _other(name: str, exported: Target) -> Target:
    """Another target than the bundle's, which must be able to run the same code."""
    target = load_target(name)
    if (target.dsp, target.mve) != (exported.dsp, exported.mve):
        raise TargetError(
            f"the bundle was exported for a processor like {exported.name}",
            where=name,
            found=f"dsp = {target.dsp}, mve = {target.mve}".lower(),
            expected=f"dsp = {exported.dsp}, mve = {exported.mve}".lower(),
            hint=f"edgefactor export ... --target {name}",
        )
    return target
