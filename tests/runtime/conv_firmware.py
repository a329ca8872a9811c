"""Runs convolution layers on an emulated Arm board: results compared there, instructions counted.

One firmware holds a table of layers with their inputs and exact outputs. Run as a script it prints
instructions per multiply-accumulate: ``python -m tests.runtime.conv_firmware cortex-m4``.
"""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import CSymbol, CValue, LayerCode, Ref
from edgefactor.targets.catalogue import load_target
from edgefactor.targets.description import Target
from tests.runtime.conv_library import SOURCES, WARNINGS
from tests.runtime.conv_reference import ConvLayer
from tests.tools import REPOSITORY, require_tool

HARNESS = REPOSITORY / "runtime" / "harness"
SUPPORT = REPOSITORY / "targets" / "support"
ICOUNT_SHIFT = 6  # 64 ns an instruction: more than one tick of any board's timer

MAIN = """
#include "check_io.h"
#include "measure.h"

static int8_t output[OUTPUT_BYTES + 8];
static uint32_t scratch[SCRATCH_BYTES / 4 + 1];
static int8_t input[INPUT_BYTES];

static int8_t *source_of(uint32_t i)
{
    if (layers[i].in_scratch >= 0) {
        return (int8_t *)scratch + layers[i].in_scratch;
    }
    return layers[i].in_place ? output : input;
}

static int call(uint32_t i)
{
    layers[i].kernel(layers[i].args, source_of(i), output, scratch);
    return 0;
}

static void say(uint32_t value)
{
    char text[12];
    uint32_t at = sizeof text - 1;
    text[at] = 0;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    check_say(&text[at]);
}

int main(void)
{
    int status;
    measure_start();
    const uint32_t empty = ticks_of(nothing, 0, &status);
    for (uint32_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        uint32_t wrong = 0;
        for (uint32_t k = 0; k < sizeof output; k++) {
            output[k] = 0x55;
        }
        for (uint32_t k = 0; k < sizeof scratch / 4; k++) {
            scratch[k] = 0xA5A5A5A5U;
        }
        for (uint32_t k = 0; k < layers[i].in_bytes; k++) {
            source_of(i)[k] = layers[i].in[k];
        }
        const uint32_t ticks = ticks_of(call, i, &status);
        for (uint32_t k = 0; k < layers[i].out_bytes; k++) {
            wrong += output[k] != layers[i].out[k];
        }
        if (!layers[i].in_place) {
            for (uint32_t k = layers[i].out_bytes; k < sizeof output; k++) {
                wrong += output[k] != 0x55;
            }
        }
        for (uint32_t k = layers[i].scratch_bytes / 4; k < sizeof scratch / 4; k++) {
            wrong += scratch[k] != 0xA5A5A5A5U;
        }
        say(ticks - empty);
        check_say(" ");
        say(wrong);
        check_say("\\n");
    }
    check_exit(0);
}
"""


HOST_MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    for (uint32_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        uint32_t wrong = 0;
        const uint32_t in_bytes = layers[i].in_bytes;
        const uint32_t out_bytes = layers[i].out_bytes;
        int8_t *in = malloc(in_bytes);
        int8_t *out = layers[i].in_place ? in : malloc(out_bytes);
        const uint32_t behind = layers[i].in_scratch < 0 ? 0 : (uint32_t)layers[i].in_scratch;
        int8_t *scratch = malloc(layers[i].scratch_bytes + behind + in_bytes);
        int8_t *source = layers[i].in_scratch < 0 ? in : scratch + behind;
        memcpy(source, layers[i].in, in_bytes);
        layers[i].kernel(layers[i].args, source, out, scratch);
        for (uint32_t k = 0; k < out_bytes; k++) {
            wrong += out[k] != layers[i].out[k];
        }
        printf("0 %u\\n", (unsigned)wrong);
        free(scratch);
        if (out != in) {
            free(out);
        }
        free(in);
    }
    return 0;
}
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One layer to run: the kernel, the layer it was chosen for, and where input and output lie."""

    layer: ConvLayer
    code: LayerCode
    in_place: bool = False
    in_scratch: bool = False

    @property
    def behind(self) -> int:
        """Where in scratch the input lies; -1 if elsewhere."""
        return -(-(self.code.scratch_lead or 0) // 4) * 4 if self.in_scratch else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the board reported of one run.

    Attributes:
        instructions: Executed by the kernel, exact to a few.
        wrong: Output bytes that differ, and bytes outside output and scratch that were written.
    """

    instructions: int
    wrong: int


def _array(ctype: str, name: str, data: NDArray[np.integer]) -> str:
    numbers = ",".join(map(str, data.reshape(-1).tolist()))
    return f"static const {ctype} {name}[{data.size}] = {{{numbers}}};\n"


def _fields(values: Mapping[str, CValue], prefix: str) -> str:
    texts = []
    for value in values.values():
        if isinstance(value, Mapping):
            texts.append("{" + _fields(value, prefix) + "}")
        elif isinstance(value, Ref):
            texts.append(prefix + value.suffix)
        elif isinstance(value, CSymbol):
            texts.append(value.name)
        else:
            texts.append(str(value))
    return ", ".join(texts)


def _scratch(run: Run) -> int:
    """Bytes of scratch that may be written, in words."""
    return (
        -(-max(run.code.scratch_bytes, run.behind + run.layer.input.size) // 4) * 4
        if (run.in_scratch)
        else run.code.scratch_bytes
    )


def _table(runs: Sequence[Run]) -> str:
    text = '#include "ef_conv2d.h"\n'
    rows = ""
    for number, run in enumerate(runs):
        (call,) = run.code.calls
        name = f"layer{number}_"
        for array in run.code.arrays:
            text += _array(array.ctype, name + array.suffix, array.data)
        text += _array("int8_t", name + "in", run.layer.input)
        text += _array("int8_t", name + "out", run.layer.output)
        text += f"static const {call.struct} {name}args = {{{_fields(call.args, name)}}};\n"
        rows += (
            f"    {{{call.function}, &{name}args, {name}in, {name}out, {run.layer.input.size},"
            f" {run.layer.output.size}, {_scratch(run)}, {int(run.in_place)}, {run.behind}}},\n"
        )
    sizes = {
        "INPUT_BYTES": max(run.layer.input.size for run in runs),
        "OUTPUT_BYTES": max(max(run.layer.output.size, run.layer.input.size) for run in runs),
        "SCRATCH_BYTES": max(_scratch(run) for run in runs) + 16,
    }
    text += "".join(f"#define {name} {value}\n" for name, value in sizes.items())
    return (
        text
        + "static const struct {\n"
        + "    void (*kernel)(const ef_conv2d_args *, const int8_t *, int8_t *, void *);\n"
        + "    const ef_conv2d_args *args;\n    const int8_t *in, *out;\n"
        + "    uint32_t in_bytes, out_bytes, scratch_bytes, in_place;\n    int32_t in_scratch;\n"
        + f"}} layers[] = {{\n{rows}}};\n"
    )


def run_on_board(
    target: Target, runs: Sequence[Run], flags: Sequence[str] = (), keep: Path | None = None
) -> list[Outcome]:
    """Builds one firmware with all runs, executes it, and returns an outcome for each."""
    assert target.board is not None
    compiler, emulator = require_tool(target.compiler), require_tool("qemu-system-arm")
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        (folder / "main.c").write_text(_table(runs) + MAIN)
        sources = sorted({n for run in runs for n in run.code.sources if n.endswith(".c")})
        timer = f"-DEF_TIMER_{target.board.timer.upper()}={target.board.timer_address:#x}"
        elf = folder / "firmware.elf"
        command = [
            compiler, *target.cpu_flags, *target.kernel_flags, *WARNINGS, *flags, timer,
            "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-nostartfiles",
            "--specs=nano.specs", f"-I{SOURCES}", f"-I{HARNESS}", f"-L{SUPPORT}",
            f"-T{target.board.linker_script}",
            str(folder / "main.c"), *(str(SOURCES / name) for name in sources),
            str(HARNESS / "measure_arm.c"), str(HARNESS / "io_semihosting.c"),
            str(SUPPORT / "startup.c"), "-o", str(elf),
        ]  # fmt: skip
        subprocess.run(command, check=True, timeout=300)
        done = subprocess.run(
            [
                emulator, "-M", target.board.machine, "-display", "none", "-monitor", "none",
                "-serial", "none", "-semihosting-config", "enable=on,target=native",
                "-icount", f"shift={ICOUNT_SHIFT}", "-kernel", str(elf),
            ],
            capture_output=True, text=True, timeout=300, check=False, cwd=folder,
        )  # fmt: skip
    # The semihosting console is stderr.
    lines = (done.stdout + done.stderr).split("\n")
    assert done.returncode == 0, lines
    tick_ns = 1e9 / target.board.timer_hz
    outcomes = []
    for line in filter(None, lines):
        ticks, wrong = map(int, line.split())
        outcomes.append(
            Outcome(instructions=round(ticks * tick_ns / (1 << ICOUNT_SHIFT)), wrong=wrong)
        )
    return outcomes


def run_sanitized(runs: Sequence[Run], compiler: str = "gcc") -> list[Outcome]:
    """The same on the host under the address and undefined-behaviour sanitizers."""
    with tempfile.TemporaryDirectory() as folder:
        main, program = Path(folder) / "main.c", Path(folder) / "program"
        main.write_text(_table(runs) + HOST_MAIN)
        sources = sorted({n for run in runs for n in run.code.sources if n.endswith(".c")})
        command = [
            require_tool(compiler), "-O1", "-g", *WARNINGS, "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all", f"-I{SOURCES}", str(main),
            *(str(SOURCES / name) for name in sources), "-o", str(program),
        ]  # fmt: skip
        subprocess.run(command, check=True, timeout=300)
        done = subprocess.run(
            [str(program)], capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr
    return [
        Outcome(instructions=0, wrong=int(line.split()[1])) for line in done.stdout.split("\n")[:-1]
    ]


def print_table(target_name: str, kernel: str | None = None) -> None:
    """Instructions per MAC of the layer shapes of three networks, raw and with 16 values."""
    from edgefactor.export.c_code.layer_code import IsaFeatures
    from edgefactor.export.conv_kernels.choice import choose_conv
    from tests.runtime.conv_shapes import network_layers

    target = load_target(target_name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    runs = []
    for layer in network_layers():
        for encoding in ("raw", "codebook") if len(np.unique(layer.codes)) <= 16 else ("raw",):
            code = choose_conv(
                layer.geometry, layer.codes, layer.bias, layer.multipliers, layer.shifts,
                input_name="in", features=features, encoding=encoding, optimize="balanced",
                kernel=kernel,
            )  # fmt: skip
            runs.append(Run(layer=layer, code=code))
    for run, outcome in zip(runs, run_on_board(target, runs), strict=True):
        option = run.code.alternatives[0]
        print(
            f"{run.layer.name:32} {option.kernel:26} {run.code.encoding:8} "
            f"{outcome.instructions:9} {outcome.instructions / run.layer.geometry.macs:6.3f}/MAC "
            f"est {option.instructions / outcome.instructions:5.2f} "
            f"scratch {run.code.scratch_bytes:5} "
            f"{'WRONG ' + str(outcome.wrong) if outcome.wrong else 'exact'}"
        )


if __name__ == "__main__":
    import sys

    print_table(sys.argv[1], *sys.argv[2:3])
