"""MobileNet-like networks by stripes of rows beside the plain plan: arena, instructions, exactness.

    python benchmarks/patches.py [--target NAME] [--network NAME ...] [--share RATIO ...] [--json]

Random weights, input 96x96x3. Each network is built as a whole, and for arenas of so many times the
plain one (0: the smallest that there is). The final output is compared with the network's as a
whole, every tensor on the emulated board with the NumPy reference: the two counts in the last
column. An arena with "input by rows" does not hold the input; the others do. All counts are exact.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from mobile_networks import INPUT_SHAPE, NETWORKS
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edgefactor.export.arena.stripe_search import fit_arena, recorded
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import write_c
from edgefactor.export.ir import Graph
from edgefactor.export.ports import input_rows
from edgefactor.export.reference import run_samples
from edgefactor.export.validate import validate
from edgefactor.pipeline.bundle import C_FOLDER
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.checking.footprint import measure_flash, measure_running
from edgefactor.pipeline.float_stages import float_stages
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.run import write_sources
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.parity import compare_codes
from edgefactor.targets.catalogue import load_target

SHARES = (0.5, 0.0)
CALIBRATION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network with one plan; ratios are against the network as a whole."""

    network: str
    target: str
    plan: str
    operators: int
    arena_bytes: int
    arena_ratio: float
    stack_bytes: int
    extra_macs_percent: float
    instructions: int
    instructions_ratio: float
    flash_bytes: int
    code_bytes: int
    weight_bytes: int
    table_bytes: int
    differing_outputs: int
    differing_elements: int


def int8_graph(name: str) -> Graph:
    """The network's int8 Graph, calibrated on noise."""
    loaded = LoadedModel(kind="module", program=NETWORKS[name](), source=name)
    prefix = name.replace(".", "_")
    graph = float_stages(loaded, [torch.zeros(INPUT_SHAPE)], prefix, lambda _: None).graph
    generator = np.random.default_rng(0)
    samples = [
        {graph.inputs[0].name: generator.standard_normal(INPUT_SHAPE).astype(np.float32)}
        for _ in range(CALIBRATION)
    ]
    return quantize(graph, calibrate(graph, samples, method="min-max"))


def measured(
    graph: Graph, expected: NDArray[np.int8], inputs: dict[str, NDArray[np.int8]], name: str
) -> dict[str, Any]:
    """Build, compare and count."""
    target = load_target(name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    sources = write_c(graph, CTarget(features=features), prefix=graph.name)
    values = run_samples(graph, inputs)
    rows = input_rows(graph, inputs)
    with tempfile.TemporaryDirectory() as place:
        write_sources(Path(place), sources, target)
        with EmulatedRunner(Path(place) / C_FOLDER, target) as runner:
            order = [tensor.name for tensor in graph.activations]
            found = compare_codes(values, runner.run(rows), order)
            figures = measure_running(runner, measure_flash(runner, sources), rows[:1], sources)
    if figures.ram is None or figures.instructions is None:
        raise RuntimeError("the emulator measured nothing")
    output = values[graph.outputs[0].tensor]
    return {
        "operators": len(graph.ops),
        "arena_bytes": figures.ram.arena_planned_bytes,
        "stack_bytes": figures.ram.stack_bytes,
        "instructions": figures.instructions.per_inference,
        "flash_bytes": figures.flash.total_bytes,
        "code_bytes": figures.flash.code_bytes,
        "weight_bytes": figures.flash.weights_bytes,
        "table_bytes": figures.flash.tables_bytes,
        "differing_outputs": int(np.count_nonzero(output != expected)),
        "differing_elements": found.differing_elements,
    }


def rows_of(network: str, target_name: str, shares: tuple[float, ...]) -> list[Row]:
    """The network as a whole and by stripes."""
    graph = int8_graph(network)
    tensor = graph.tensors[graph.inputs[0].tensor]
    codes = np.random.default_rng(1).integers(-128, 128, (2, *tensor.shape)).astype(np.int8)
    inputs = {tensor.name: codes}
    expected = run_samples(graph, inputs)[graph.outputs[0].tensor]
    target = load_target(target_name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    whole = measured(graph, expected, inputs, target_name)
    rows = []
    for share in (1.0, *shares):
        budget = int(share * whole["arena_bytes"])
        striped = fit_arena(graph, CTarget(features=features), budget)
        if striped is graph and share != 1.0:
            continue
        plan = recorded(striped) or {}
        validate(striped, "stripes", quantized=True)
        figures = whole if not plan else measured(striped, expected, inputs, target_name)
        words = "{stripes} stripes to {until}, {borders}".format(**plan) if plan else "whole"
        words += ", input by rows" if plan.get("input_by_rows") else ""
        rows.append(
            Row(
                network=network,
                target=target.name,
                plan=words,
                arena_ratio=figures["arena_bytes"] / whole["arena_bytes"],
                extra_macs_percent=float(str(plan.get("extra_macs_percent", 0.0))),
                instructions_ratio=figures["instructions"] / whole["instructions"],
                **figures,
            )
        )
    return rows


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="By stripes of rows; ratios against the network as a whole")
    table.add_column("network")
    table.add_column("plan")
    for heading in ("arena", "ratio", "stack", "more MACs", "instructions", "ratio"):
        table.add_column(heading, justify="right")
    for heading in ("flash", "code", "weights", "tables", "differing"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.network,
            row.plan,
            f"{row.arena_bytes:,}",
            f"{row.arena_ratio:.3f}",
            f"{row.stack_bytes:,}",
            f"{row.extra_macs_percent:.1f} %",
            f"{row.instructions:,}",
            f"{row.instructions_ratio:.3f}",
            f"{row.flash_bytes:,}",
            f"{row.code_bytes:,}",
            f"{row.weight_bytes:,}",
            f"{row.table_bytes:,}",
            f"{row.differing_outputs} + {row.differing_elements}",
        )
    Console(width=170).print(table)


@click.command()
@click.option("--target", default="cortex-m4", show_default=True)
@click.option("--network", "networks", multiple=True, default=tuple(NETWORKS), show_default=True)
@click.option("--share", "shares", multiple=True, type=float, default=SHARES, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(target: str, networks: tuple[str, ...], shares: tuple[float, ...], as_json: bool) -> None:
    """Count networks as a whole and by stripes."""
    rows = [row for name in networks for row in rows_of(name, target, shares)]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
