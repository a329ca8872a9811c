"""Whole networks on emulated Arm beside TensorFlow Lite Micro: instructions, flash, RAM.

    python benchmarks/networks.py [--shared DIR] [--target NAME ...] [--network NAME ...] [--json]

Networks measured with TFLM, and some of our own with random weights (own_networks.py), for which
TFLM's figures are estimates (tflm_estimate.py). Each as it is (int8), with every layer's weights
clustered to 16 values by plain k-means, and with weights shared at export: 4 or 2 bits evenly
spaced, and 256 vectors of 4; "ternary" makes them -a, 0 or a. "half of 16 values" has the smaller
half of the weights at 0: what ``--optimize size`` stores in Huffman codes.
Before anything is counted, every tensor is compared with the NumPy reference. All counts are exact.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from kernels import pruned, signs
from own_networks import SHAPES
from rich.console import Console
from rich.table import Table
from shared_models import DEFAULT_FOLDER, Network, load_network, random_network
from sklearn.cluster import KMeans
from tflm_estimate import baseline

from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import write_c
from edgefactor.export.ir import Graph
from edgefactor.export.ports import encode_inputs, input_rows
from edgefactor.export.reference import run_samples
from edgefactor.pipeline.bundle import C_FOLDER
from edgefactor.pipeline.calibrate import DEFAULT_METHOD, calibrate
from edgefactor.pipeline.config import parse_shape
from edgefactor.pipeline.float_stages import float_stages
from edgefactor.pipeline.inputs.example import choose_inputs
from edgefactor.pipeline.load import load
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.run import write_sources
from edgefactor.pipeline.sharing_at_export.share_codes import Moments, observe_inputs
from edgefactor.pipeline.sharing_at_export.uniform_codes import share_uniform
from edgefactor.pipeline.sharing_at_export.vector_codes import share_vectors
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.memory import flash_use, ram_use
from edgefactor.runtime.parity import compare_codes
from edgefactor.targets.catalogue import load_target

NETWORKS = ("resnet8", "ds_cnn", "autoencoder")
OWN = tuple(SHAPES)
"""Random weights; TFLM's figures for them are estimates (tflm_estimate.py)."""
VALUES = 16
Change = Callable[[Graph, Mapping[str, Moments]], Graph]
SAMPLES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network on one target; ratios are against TFLM with int8 weights.

    Attributes:
        baseline: Whether TFLM's figures were "measured" or are "estimated".
    """

    network: str
    weights: str
    target: str
    optimize: str
    baseline: str
    instructions: int
    instructions_ratio: float | None
    flash_bytes: int
    flash_ratio: float
    code_bytes: int
    weight_bytes: int
    table_bytes: int
    arena_bytes: int
    stack_bytes: int
    ram_ratio: float
    differing_elements: int


def clustered(network: Network, folder: Path) -> Path:
    """The state dict with every weight tensor clustered to 16 values, as a new file."""
    state = torch.load(network.weights, weights_only=True)
    for name, tensor in state.items():
        if name.endswith("weight") and tensor.ndim > 1:
            values = tensor.numpy().reshape(-1, 1)
            means = KMeans(VALUES, n_init=1, random_state=0, max_iter=60).fit(values)
            shared = means.cluster_centers_[means.labels_].astype(np.float32)
            state[name] = torch.from_numpy(shared.reshape(tensor.shape))
    path = folder / f"{network.name}.pt"
    torch.save(state, path)
    return path


def int8_graph(network: Network, weights: Path, change: Change | None = None) -> Graph:
    """The network's int8 Graph, with its weights changed as ``--share`` and others do."""
    loaded = load(weights, factory=network.factory)
    shape = ",".join(map(str, (1, *network.inputs.shape[1:])))
    stages = float_stages(
        loaded, choose_inputs(loaded, (parse_shape(shape),)), network.name, lambda _: None
    )
    name = stages.graph.inputs[0].name
    samples = [{name: network.calibration[i : i + 1]} for i in range(len(network.calibration))]
    ranges = calibrate(stages.graph, samples, method=DEFAULT_METHOD)
    graph = quantize(stages.graph, ranges)
    return change(graph, observe_inputs(stages.graph, samples)) if change else graph


FORMS: dict[str, Callable[[Network, Path], Graph]] = {
    "int8": lambda network, folder: int8_graph(network, network.weights),
    f"{VALUES} values": lambda network, folder: int8_graph(network, clustered(network, folder)),
    "4 bits": lambda network, folder: int8_graph(
        network, network.weights, partial(share_uniform, bits=4)
    ),
    "2 bits": lambda network, folder: int8_graph(
        network, network.weights, partial(share_uniform, bits=2)
    ),
    "ternary": lambda network, folder: int8_graph(
        network, network.weights, partial(signs, threshold=0.7)
    ),
    "vectors of 4": lambda network, folder: int8_graph(
        network, network.weights, partial(share_vectors, width=4)
    ),
    "half of 16 values": lambda network, folder: int8_graph(
        network, network.weights, partial(pruned, kept=0.5)
    ),
}


def count(
    network: Network, graph: Graph, weights: str, name: str, optimize: str, flags: str = ""
) -> Row:
    """Build, compare and count on one target, the kernels with other compiler flags if given."""
    target = load_target(name)
    if flags:
        target = replace(target, kernel_flags=(flags,))
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    sources = write_c(graph, CTarget(features=features, optimize=optimize), prefix=network.name)
    codes = encode_inputs(graph, [network.inputs[:SAMPLES]])
    rows = input_rows(graph, codes)
    with tempfile.TemporaryDirectory() as place:
        write_sources(Path(place), sources, target)
        with EmulatedRunner(Path(place) / C_FOLDER, target) as runner:
            order = [tensor.name for tensor in graph.activations]
            found = compare_codes(run_samples(graph, codes), runner.run(rows), order)
            flash = flash_use(runner.firmware(), sources.symbols)
            ram = ram_use(runner.firmware(), runner.memory(rows))
            counted = runner.instructions(rows)
    tflm = baseline(network.name, graph)
    instructions = counted.per_inference
    before = tflm.instructions.get(target.name)
    return Row(
        network=network.name,
        weights=weights,
        target=target.name,
        optimize=f"{optimize} {flags}".strip(),
        baseline=tflm.kind,
        instructions=instructions,
        instructions_ratio=instructions / before if before else None,
        flash_bytes=flash.total_bytes,
        flash_ratio=flash.total_bytes / tflm.flash_bytes,
        code_bytes=flash.code_bytes,
        weight_bytes=flash.weights_bytes,
        table_bytes=flash.tables_bytes,
        arena_bytes=ram.arena_planned_bytes,
        stack_bytes=ram.stack_bytes,
        ram_ratio=ram.total_bytes / (tflm.arena_bytes + tflm.stack_bytes),
        differing_elements=found.differing_elements,
    )


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="Ratios: against TFLM + CMSIS-NN with int8 weights")
    for heading in ("network", "weights", "target", "policy", "against"):
        table.add_column(heading)
    for heading in ("instructions", "ratio", "flash", "ratio", "code", "weights", "tables"):
        table.add_column(heading, justify="right")
    for heading in ("arena", "stack", "ratio", "differing"):
        table.add_column(heading, justify="right")
    for row in rows:
        ratio = "-" if row.instructions_ratio is None else f"{row.instructions_ratio:.3f}"
        table.add_row(
            row.network,
            row.weights,
            row.target,
            row.optimize,
            row.baseline,
            f"{row.instructions:,}",
            ratio,
            f"{row.flash_bytes:,}",
            f"{row.flash_ratio:.3f}",
            f"{row.code_bytes:,}",
            f"{row.weight_bytes:,}",
            f"{row.table_bytes:,}",
            f"{row.arena_bytes:,}",
            f"{row.stack_bytes:,}",
            f"{row.ram_ratio:.3f}",
            str(row.differing_elements),
        )
    Console(width=170).print(table)


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), default=DEFAULT_FOLDER)
@click.option("--target", "targets", multiple=True, default=("cortex-m4",), show_default=True)
@click.option("--network", "networks", multiple=True, default=(*NETWORKS, *OWN), show_default=True)
@click.option("--optimize", "policies", multiple=True, default=("balanced",), show_default=True)
@click.option(
    "--form", "forms", multiple=True, help=f"Weights: {', '.join(FORMS)}; all by default."
)
@click.option(
    "--kernel-flags", multiple=True, default=("",), help="For the kernels, not the target's: -Os."
)
@click.option("--json", "as_json", is_flag=True)
def main(shared: Path, as_json: bool, **chosen: Any) -> None:
    """Count whole networks."""
    rows = []
    for name in chosen["networks"]:
        with tempfile.TemporaryDirectory() as place:
            if name in OWN:
                network = random_network(name, Path(place), samples=SAMPLES)
            else:
                network = load_network(name, shared, samples=SAMPLES)
            forms = {
                name: form(network, Path(place))
                for name, form in FORMS.items()
                if name in (chosen["forms"] or FORMS)
            }
        for weights, graph in forms.items():
            for target in chosen["targets"]:
                for policy in chosen["policies"]:
                    for flags in chosen["kernel_flags"]:
                        rows.append(count(network, graph, weights, target, policy, flags))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
