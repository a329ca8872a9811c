"""Scratch comes from the arena: no kernel keeps more than a few words on the stack."""

from pathlib import Path

import pytest

from edgefactor.export.c_writer import KERNEL_FOLDER
from edgefactor.runtime.toolchain import run_all
from edgefactor.targets.catalogue import load_target
from tests.tools import require_tool

#: Registers that a function saves, its arguments, a tile of a few pixels by a few channels.
MOST_BYTES = 400
KERNELS = sorted(KERNEL_FOLDER.glob("*.c"))


@pytest.mark.parametrize("name", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_no_kernel_keeps_buffers_on_the_stack(name: str, tmp_path: Path) -> None:
    target = load_target(name)
    compiler = require_tool(target.compiler)
    flags = [*target.cpu_flags, *target.kernel_flags, "-fstack-usage", "-c"]
    commands = [
        [compiler, *flags, kernel, "-o", tmp_path / f"{kernel.stem}.o"] for kernel in KERNELS
    ]
    run_all(commands, timeout_seconds=120)
    uses = {}
    for report in tmp_path.glob("*.su"):
        for line in report.read_text().splitlines():
            function, size, kind = line.split("\t")
            assert kind in ("static", "dynamic,bounded"), line
            uses[function] = int(size)
    assert len(uses) >= len(KERNELS) // 2
    large = {function: size for function, size in uses.items() if size > MOST_BYTES}
    assert large == {}
