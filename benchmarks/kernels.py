"""Kernels on emulated Arm: instructions, estimated cycles, flash and RAM by shape and encoding.

    python benchmarks/kernels.py [--target NAME ...] [--form NAME ...] [--case TEXT ...] [--json]
    python benchmarks/kernels.py --form "int16 activations"

All shapes run in one image a target and form of the weights, each on an input of its own. Before
anything is counted, every tensor is compared with the NumPy reference. Instructions are exact;
cycles are estimates (cycle_model.py). Beside them: CMSIS-NN's figures (cmsis_nn_figures.toml).
"""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from counting import LayerCount, count_layers
from kernel_cases import CASES, Case, model_of
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from edgefactor.errors import OptionError
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures, LayerCode
from edgefactor.export.c_writer import CSources, write_c
from edgefactor.export.encodings.codebook import fitting_encodings
from edgefactor.export.ir import Graph, Op
from edgefactor.export.ops import family_of
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.requantize import Requantize
from edgefactor.export.ports import encode_inputs, input_rows
from edgefactor.export.reference import run_samples
from edgefactor.export.validate import validate
from edgefactor.pipeline.bundle import C_FOLDER
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.checking.footprint import multiply_accumulates
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.run import write_sources
from edgefactor.pipeline.sharing_at_export.share_codes import (
    Codes,
    Floats,
    Moments,
    best_codes,
    change_codes,
    code_weights,
    observe_inputs,
    share_codes,
)
from edgefactor.pipeline.sharing_at_export.uniform_codes import share_uniform
from edgefactor.pipeline.sharing_at_export.vector_codes import share_vectors
from edgefactor.pipeline.widths.choice import can_widen
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.memory import flash_use
from edgefactor.runtime.parity import compare_codes
from edgefactor.targets.catalogue import load_target
from edgefactor.targets.description import Target

FIGURES = Path(__file__).with_name("cmsis_nn_figures.toml")
TARGETS = ("cortex-m4", "cortex-m0plus", "cortex-m55")
PREFIX = "kernels"
SAMPLES = 4
Change = Callable[[Graph, Mapping[str, Moments]], Graph]


def pruned(graph: Graph, moments: Mapping[str, Moments], *, kept: float) -> Graph:
    """This share of each layer's weights is left, the largest ones, in 15 values."""

    def change(op: Conv2D, codes: Codes, cost: Floats) -> Codes:
        limit = np.quantile(np.abs(codes), 1 - kept)
        left = np.where(np.abs(codes) > limit, codes, 0)
        weights = code_weights(left, cost)
        weights[128] = 0
        moved = best_codes(weights, 15)[left + 128]
        return np.where(left == 0, 0, moved)

    return change_codes(graph, moments, change)


def signs(graph: Graph, moments: Mapping[str, Moments], *, threshold: float) -> Graph:
    """A layer's weights become -a, 0, a; those below this share of the mean magnitude are 0."""

    def change(op: Conv2D, codes: Codes, cost: Floats) -> Codes:
        size = np.abs(codes)
        kept = size >= threshold * size.mean()
        level = int(np.rint(size[kept].mean()))
        return np.where(kept, np.where(codes < 0, -level, level), 0)

    return change_codes(graph, moments, change)


WIDE = "int16 activations"
"""Weights of 8 bits, everything else of 16; what converts to and from int8 is not counted."""

FORMS: dict[str, tuple[str, Change | None]] = {
    "int8": ("raw", None),
    WIDE: ("raw", None),
    "16 values": ("codebook", partial(share_codes, values=16)),
    "8 values": ("codebook", partial(share_codes, values=8)),
    "4 bits": ("uniform", partial(share_uniform, bits=4)),
    "2 bits": ("uniform", partial(share_uniform, bits=2)),
    "ternary": ("uniform", partial(signs, threshold=0.7)),
    "binary": ("codebook", partial(signs, threshold=0.0)),
    "vectors of 4": ("vector4", partial(share_vectors, width=4)),
    "10 % left": ("sparse", partial(pruned, kept=0.1)),
    "16 values, Huffman": ("huffman", partial(share_codes, values=16)),
    "10 % left, Huffman": ("huffman", partial(pruned, kept=0.1)),
}
"""What the weights become: the encoding, and how codes that it fits are made."""
SHOWN = ("int8", "16 values", "4 bits", "2 bits", "vectors of 4", "10 % left", "16 values, Huffman")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer in one form on one target.

    Attributes:
        work: Multiply-accumulates, or output elements where there are none.
        estimate: The cost model's instructions, where the kernel has one.
        code_bytes: Of the C files that the layer needs; layers share them.
        cmsis_nn: CMSIS-NN's instructions per unit of work for this case, where known.
    """

    case: str
    group: str
    weights: str
    target: str
    kernel: str
    work: int
    instructions: int
    instructions_per_work: float
    cycles: int | None
    cycles_per_work: float | None
    by_class: Mapping[str, int]
    estimate: int | None
    code_bytes: int
    weight_bytes: int
    table_bytes: int
    scratch_bytes: int
    stack_bytes: int
    cmsis_nn: float | None
    cmsis_nn_cycles: float | None


def int8_graphs(
    cases: tuple[Case, ...], forms: tuple[str, ...]
) -> dict[str, tuple[Graph, dict[str, str]]]:
    """Form -> (int8 Graph of all cases, layer -> encoding for those that have it)."""
    graph = fuse(validate(lower(model_of(cases), name=PREFIX), "lower"))
    generator = np.random.default_rng(1)
    samples = [
        {p.name: generator.standard_normal(p.shape).astype(np.float32) for p in graph.inputs}
        for _ in range(SAMPLES)
    ]
    ranges = calibrate(graph, samples, method="min-max")
    int8 = quantize(graph, ranges)
    moments = observe_inputs(graph, samples)
    graphs = {}
    for form in forms:
        if form == WIDE:
            graphs[form] = quantize(graph, ranges, can_widen(graph)), {}
            continue
        encoding, change = FORMS[form]
        changed = int8 if change is None else change(int8, moments)
        forced = {}
        for op in changed.ops:
            if isinstance(op, Conv2D):
                weights = changed.tensors[op.inputs[1]]
                codes = np.asarray(weights.values, np.int8)
                other = change is None or not np.array_equal(codes, int8.tensors[weights.name].data)
                names = {found.name for found in fitting_encodings(codes)}
                if other and encoding in names:
                    forced[op.name] = encoding
        graphs[form] = changed, forced
    return graphs


def features_of(target: Target) -> IsaFeatures:
    """What kernels may use."""
    return IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)


def layers_of(graph: Graph, index: int, cases: tuple[Case, ...]) -> list[Op]:
    """The operators between the inputs of a case and its output."""
    wanted = {graph.outputs[index].tensor}
    found = []
    for op in reversed(graph.ops):
        if wanted & set(op.outputs):
            found.append(op)
            wanted |= set(op.inputs)
    return found


def runnable(graph: Graph, forced: Mapping[str, str], features: IsaFeatures) -> dict[str, str]:
    """The layers that have a kernel for their encoding."""
    found = {}
    for op in graph.ops:
        if op.name in forced:
            target = CTarget(features=features, encodings={op.name: forced[op.name]})
            try:
                family_of(op).layer_code(op, graph, target)
            except OptionError:
                continue
            found[op.name] = forced[op.name]
    return found


def measure(
    graph: Graph, forced: Mapping[str, str], name: str
) -> tuple[CSources, dict[str, LayerCount], dict[str, int]]:
    """Build, compare and count: the C, what each layer executed, bytes of each kernel's file."""
    target = load_target(name)
    features = features_of(target)
    sources = write_c(graph, CTarget(features=features, encodings=forced), prefix=PREFIX)
    generator = np.random.default_rng(2)
    inputs = [generator.standard_normal((1, *p.shape)).astype(np.float32) for p in graph.inputs]
    codes = encode_inputs(graph, [array.reshape(1, *p.sample_shape) for array, p in
                                  zip(inputs, graph.inputs, strict=True)])  # fmt: skip
    rows = input_rows(graph, codes)
    with tempfile.TemporaryDirectory() as place:
        write_sources(Path(place), sources, target)
        with EmulatedRunner(Path(place) / C_FOLDER, target) as runner:
            order = [tensor.name for tensor in graph.activations]
            found = compare_codes(run_samples(graph, codes), runner.run(rows), order)
            if found.differing_elements:
                raise click.ClickException(f"{name}: {found.first}")
            flash = flash_use(runner.firmware(), sources.symbols)
            counts = count_layers(runner, rows)
    return sources, counts, {entry.source: entry.size_bytes for entry in flash.sources}


def rows_of(
    cases: tuple[Case, ...], graph: Graph, forced: Mapping[str, str], form: str, target: str
) -> list[Row]:
    """One row for each case that has the form."""
    forced = runnable(graph, forced, features_of(load_target(target)))
    sources, counts, files = measure(graph, forced, target)
    figures = tomllib.loads(FIGURES.read_text())["cases"] if target == "cortex-m4" else {}
    rows = []
    for index, case in enumerate(cases):
        ops = [op for op in layers_of(graph, index, cases) if sources.code[op.name].calls]
        if form == WIDE:
            ops = [op for op in ops if not isinstance(op, Requantize)] or ops[:1]
        weighted = [op for op in ops if isinstance(op, Conv2D)]
        coded = form not in ("int8", WIDE)
        if coded and (not weighted or any(op.name not in forced for op in weighted)):
            continue
        codes = [sources.code[op.name] for op in ops]
        total = [counts[op.name] for op in ops]
        work = sum(multiply_accumulates(op, graph) for op in ops)
        work = work or sum(graph.tensors[op.outputs[0]].elements for op in ops[:1])
        instructions = sum(count.instructions for count in total)
        cycles = [count.cycles for count in total if count.cycles is not None]
        estimates = [code.alternatives[0].instructions for code in codes if code.alternatives]
        names = {name for code in codes for name in code.sources}
        figure = figures.get(case.name, {}) if form in ("int8", WIDE) else {}
        rows.append(
            Row(
                case=case.name,
                group=case.group,
                weights=form if weighted else "",
                target=target,
                kernel=", ".join(call.function for code in codes for call in code.calls),
                work=work,
                instructions=instructions,
                instructions_per_work=instructions / work,
                cycles=sum(cycles) if cycles else None,
                cycles_per_work=sum(cycles) / work if cycles else None,
                by_class={
                    name: sum(count.by_class[name] for count in total) for name in total[0].by_class
                },
                estimate=sum(estimates) if estimates else None,
                code_bytes=sum(files.get(name, 0) for name in names),
                weight_bytes=sum(code.weight_bytes for code in codes),
                table_bytes=sum(tables(code) for code in codes),
                scratch_bytes=max(code.scratch_bytes for code in codes),
                stack_bytes=max(count.stack_bytes for count in total),
                cmsis_nn=figure.get("instructions"),
                cmsis_nn_cycles=figure.get("cycles"),
            )
        )
    return rows


def tables(code: LayerCode) -> int:
    """Bytes of a layer's constants that are no weights."""
    return sum(array.data.nbytes for array in code.arrays if array.section == "tables")


def show(rows: list[Row], target: str) -> None:
    """Print the table of one target."""
    table = Table(
        title=f"{target}: per multiply-accumulate, or per output element; sizes in bytes",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for heading in ("layer", "weights", "kernel"):
        table.add_column(heading, no_wrap=True)
    for heading in ("instr.", "cycles", "CMSIS-NN", "load", "store", "mult.", "branch", "other",
                    "est.", "code", "weights", "tables", "scratch", "stack"):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        known = f"{row.cmsis_nn:.2f} ({row.cmsis_nn_cycles:.2f})" if row.cmsis_nn else ""
        table.add_row(
            row.case,
            row.weights,
            row.kernel,
            f"{row.instructions_per_work:.2f}",
            "" if row.cycles_per_work is None else f"{row.cycles_per_work:.2f}",
            known,
            *(f"{100 * count / row.instructions:.0f} %" for count in row.by_class.values()),
            "" if row.estimate is None else f"{row.estimate / row.instructions:.2f}",
            *(f"{size:,}" for size in (row.code_bytes, row.weight_bytes, row.table_bytes)),
            *(f"{size:,}" for size in (row.scratch_bytes, row.stack_bytes)),
        )
    Console(width=210).print(table)


def show_estimates(rows: list[Row]) -> None:
    """How far the cost model's estimates are from the counts."""
    known = [row for row in rows if row.estimate is not None]
    errors = np.array([row.estimate / row.instructions - 1 for row in known if row.estimate])
    if not len(errors):
        return
    click.echo(
        f"cost model: {len(errors)} layers, mean error {100 * np.abs(errors).mean():.0f} %, "
        f"largest {100 * np.abs(errors).max():.0f} %, over 25 %: {(np.abs(errors) > 0.25).sum()}"
    )
    for row, error in zip(known, errors, strict=True):
        if abs(error) > 0.25:
            click.echo(
                f"  {row.target} {row.case}, {row.weights}, {row.kernel}: {100 * error:+.0f} %"
            )


@click.command()
@click.option("--target", "targets", multiple=True, default=TARGETS, show_default=True)
@click.option("--form", "forms", multiple=True, type=click.Choice(list(FORMS)), default=SHOWN)
@click.option("--case", "texts", multiple=True, help="Only cases with this in their name.")
@click.option("--json", "as_json", is_flag=True)
def main(
    targets: tuple[str, ...], forms: tuple[str, ...], texts: tuple[str, ...], **options: Any
) -> None:
    """Count kernels."""
    cases = tuple(case for case in CASES if not texts or any(text in case.name for text in texts))
    graphs = int8_graphs(cases, forms)
    rows = [
        row
        for target in targets
        for form, (graph, forced) in graphs.items()
        for row in rows_of(cases, graph, forced, form, target)
    ]
    if options["as_json"]:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    for target in targets:
        show([row for row in rows if row.target == target], target)
    show_estimates(rows)


if __name__ == "__main__":
    main()
