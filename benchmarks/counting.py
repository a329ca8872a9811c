"""Instructions by class, estimated cycles and stack of each layer, counted by a plugin of QEMU.

The plugin (count_plugin.c) is compiled when it is needed; its instruction counts are compared with
those of the board's timer, which edgefactor reports.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cycle_model import CLASSES, MODELS, write_table
from elftools.elf.elffile import ELFFile

from edgefactor.errors import ToolError
from edgefactor.runtime.emulator import EMULATOR_SECONDS, EmulatedRunner
from edgefactor.runtime.exchange import Mode, Samples, ask
from edgefactor.runtime.toolchain import run

PLUGIN = Path(__file__).with_name("count_plugin.c")
HOOK_SLACK = 24
"""Instructions of a step that only pass arguments to the hook, at most."""
UNTOUCHED = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCount:
    """What one layer executed.

    Attributes:
        instructions: All of them.
        cycles: Estimated, without wait states; None where there is no model of the core.
        stack_bytes: Of its kernels, from the first word they store to the deepest.
        by_class: Instructions by class (``cycle_model.CLASSES``).
    """

    instructions: int
    cycles: int | None
    stack_bytes: int
    by_class: Mapping[str, int]


@cache
def plugin() -> Path:
    """The compiled plugin."""
    place = Path(tempfile.mkdtemp(prefix="edgefactor-")) / "count_plugin.so"
    run(("cc", "-O2", "-shared", "-fPIC", PLUGIN, "-o", place), timeout_seconds=60)
    return place


def _addresses(image: Path) -> dict[str, int]:
    with image.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab").iter_symbols()
        return {symbol.name: int(symbol.entry.st_value) for symbol in symbols}


def count_layers(runner: EmulatedRunner, inputs: Samples) -> dict[str, LayerCount]:
    """Run one sample of a traced build; layer name -> what it executed.

    Args:
        runner: The C of a bundle on its emulated board.
        inputs: int8 (samples, bytes); the first one is run.

    Raises:
        ToolError: The plugin's counts and the timer's differ.
    """
    program = runner.builder.check_harness(traced=True)
    known = _addresses(program)
    with tempfile.TemporaryDirectory(prefix="edgefactor-") as place:
        table, found = Path(place) / "table", Path(place) / "counts"
        write_table(program, runner.target.name, table)
        options = (
            f"{plugin()},hook={known['ef_trace'] & ~1:#x},stack_low={known['__stack_limit']:#x},"
            f"stack_high={known['__stack_top']:#x},table={table},out={found}"
        )
        command = [
            "qemu-system-arm", "-machine", runner.board.machine, "-display", "none",
            "-monitor", "none", "-serial", "none",
            "-semihosting-config", "enable=on,target=native", "-kernel", program,
            "-plugin", options,
        ]  # fmt: skip

        def launch() -> None:
            run(command, timeout_seconds=EMULATOR_SECONDS, folder=runner.work)

        ask(Mode.TRACE, inputs[:1], runner.work, launch)
        lines = found.read_text().splitlines()
    counts: dict[str, LayerCount] = {}
    has_model = runner.target.name in MODELS
    for step, line in zip(runner.source.trace, lines, strict=True):
        if step.layer:
            before = counts.get(step.layer)
            counts[step.layer] = _added(before, _layer_count(line, has_model))
    _compare(runner, inputs, counts)
    return counts


def _layer_count(line: str, has_model: bool) -> LayerCount:
    instructions, cycles, lowest, highest, *classes = map(int, line.split())
    return LayerCount(
        instructions=instructions,
        cycles=cycles if has_model else None,
        stack_bytes=0 if lowest == UNTOUCHED else highest + 4 - lowest,
        by_class=dict(zip(CLASSES, classes, strict=False)),
    )


def _added(first: LayerCount | None, second: LayerCount) -> LayerCount:
    """Layers of several outputs are reported in parts."""
    if first is None:
        return second
    return LayerCount(
        instructions=first.instructions + second.instructions,
        cycles=None if first.cycles is None or second.cycles is None
        else first.cycles + second.cycles,
        stack_bytes=max(first.stack_bytes, second.stack_bytes),
        by_class={name: first.by_class[name] + second.by_class[name] for name in CLASSES},
    )  # fmt: skip


def _compare(runner: EmulatedRunner, inputs: Samples, counts: Mapping[str, LayerCount]) -> None:
    timed = runner.instructions(inputs[:1])
    for name, expected in timed.by_layer().items():
        found = counts[name].instructions
        if abs(found - expected) > HOOK_SLACK + timed.resolution:
            raise ToolError(
                "the plugin and the board's timer count differently",
                where=name,
                found=f"{found:,} instructions by the plugin",
                expected=f"{expected:,} by the timer",
            )
