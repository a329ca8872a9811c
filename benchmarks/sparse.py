"""A pruned LeNet-300-100 in sparse form beside its dense int8 self, on emulated Arm.

    python benchmarks/sparse.py [--shared DIR] [--target NAME ...] [--keep PERCENT] [--json]

Trains on MNIST, removes the smallest weights of each layer, trains what is left, leaves 16 values a
layer at export (``--share 16``). Before anything is counted, every tensor is compared with the
NumPy reference. All counts are exact.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from networks import int8_graph
from rich.console import Console
from rich.table import Table
from shared_models import DEFAULT_FOLDER, Network
from torch import Tensor, nn

from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import write_c
from edgefactor.export.ir import Graph
from edgefactor.export.ports import decode_outputs, encode_inputs, input_rows
from edgefactor.export.reference import run_samples
from edgefactor.pipeline.bundle import C_FOLDER
from edgefactor.pipeline.checking.footprint import flash_use
from edgefactor.pipeline.run import write_sources
from edgefactor.pipeline.sharing_at_export.share_codes import share_codes
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.memory import ram_use
from edgefactor.runtime.parity import compare_codes
from edgefactor.targets.catalogue import load_target

FACTORY = f"{Path(__file__).with_name('compression') / 'networks.py'}:lenet_300_100"
BATCH = 128
EPOCHS = 2
VALUES = 16
COUNTED, EVALUATED, CALIBRATED = 2, 1000, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One form of the network on one target; ratios are against its dense int8 form."""

    weights: str
    target: str
    accuracy: float
    encodings: tuple[str, ...]
    instructions: int
    instructions_ratio: float
    flash_bytes: int
    flash_ratio: float
    weight_bytes: int
    code_bytes: int
    ram_bytes: int
    differing_elements: int


def train(model: nn.Module, masks: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> None:
    """Trains; weights outside the masks stay 0."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(data["x"])).split(BATCH):
            loss = nn.functional.cross_entropy(model(data["x"][rows]), data["y"][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    if name in masks:
                        weight.mul_(masks[name])


def largest(weight: Tensor, share: float) -> Tensor:
    """1 for the share of the weights with the largest magnitudes, 0 for the rest."""
    limit = weight.abs().flatten().kthvalue(int((1 - share) * weight.numel())).values
    return (weight.abs() > limit).to(weight.dtype)


def count(network: Network, graph: Graph, name: str) -> dict[str, Any]:
    """Build, compare and count on one target."""
    target = load_target(name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    sources = write_c(graph, CTarget(features=features), prefix=network.name)
    codes = encode_inputs(graph, [network.inputs])
    expected = run_samples(graph, codes)
    best = decode_outputs(graph, expected)[0].reshape(len(network.inputs), -1).argmax(axis=1)
    few = {key: value[:COUNTED] for key, value in codes.items()}
    rows = input_rows(graph, few)
    with tempfile.TemporaryDirectory() as place:
        write_sources(Path(place), sources, target)
        with EmulatedRunner(Path(place) / C_FOLDER, target) as runner:
            order = [tensor.name for tensor in graph.activations]
            wanted = {key: value[:COUNTED] for key, value in expected.items()}
            found = compare_codes(wanted, runner.run(rows), order)
            flash = flash_use(runner.firmware(), sources.symbols)
            ram = ram_use(runner.firmware(), runner.memory(rows))
            counted = runner.instructions(rows)
    return {
        "target": name,
        "accuracy": float(np.mean(best == network.labels)),
        "encodings": tuple(code.encoding for code in sources.code.values() if code.encoding),
        "instructions": counted.per_inference,
        "flash_bytes": flash.total_bytes,
        "weight_bytes": flash.weights_bytes,
        "code_bytes": flash.code_bytes,
        "ram_bytes": ram.total_bytes,
        "differing_elements": found.differing_elements,
    }


def make_networks(shared: Path, folder: Path, keep: float) -> dict[str, tuple[Network, Any]]:
    """The trained network and its pruned self, and how their codes are shared."""
    from compression.networks import lenet_300_100

    torch.manual_seed(0)
    torch.set_num_threads(1)
    with np.load(shared / "data" / "mnist.npz") as arrays:
        images = arrays["x_train"][:, None].astype(np.float32) / 255
        data = {"x": torch.from_numpy(images), "y": torch.from_numpy(arrays["y_train"]).long()}
        inputs = arrays["x_test"][:EVALUATED, None].astype(np.float32) / 255
        labels = arrays["y_test"][:EVALUATED].astype(np.int64)
    model = lenet_300_100()
    made: dict[str, tuple[Network, Any]] = {}
    for name, share in (("dense", None), ("pruned", partial(share_codes, values=VALUES))):
        weights = {key: value for key, value in model.named_parameters() if value.ndim > 1}
        pruned = {key: largest(value, keep) for key, value in weights.items()} if share else {}
        train(model, pruned, data)
        path = folder / f"{name}.pt"
        torch.save(model.state_dict(), path)
        network = Network(
            name=f"lenet_{name}",
            weights=path,
            factory=FACTORY,
            calibration=images[:CALIBRATED],
            inputs=inputs,
            labels=labels,
        )
        made[name] = network, share
    return made


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="LeNet-300-100; ratios against its dense int8 form")
    for heading in ("weights", "target", "encodings"):
        table.add_column(heading)
    for heading in ("accuracy", "instructions", "ratio", "flash", "ratio", "RAM", "differing"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.weights,
            row.target,
            ", ".join(row.encodings),
            f"{100 * row.accuracy:.2f} %",
            f"{row.instructions:,}",
            f"{row.instructions_ratio:.3f}",
            f"{row.flash_bytes:,}",
            f"{row.flash_ratio:.3f}",
            f"{row.ram_bytes:,}",
            str(row.differing_elements),
        )
    Console(width=150).print(table)


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), default=DEFAULT_FOLDER)
@click.option("--target", "targets", multiple=True, default=("cortex-m4",), show_default=True)
@click.option("--keep", type=float, default=10.0, show_default=True, help="Weights kept, percent.")
@click.option("--json", "as_json", is_flag=True)
def main(shared: Path, targets: tuple[str, ...], keep: float, as_json: bool) -> None:
    """Count a pruned network."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        made = make_networks(shared, Path(place), keep / 100)
        graphs = {
            name: int8_graph(network, network.weights, share)
            for name, (network, share) in made.items()
        }
    for target in targets:
        dense: dict[str, Any] = {}
        for name, graph in graphs.items():
            figures = count(made[name][0], graph, target)
            dense = dense or figures
            rows.append(
                Row(
                    weights="int8" if name == "dense" else f"{keep:g} % kept, {VALUES} values",
                    instructions_ratio=figures["instructions"] / dense["instructions"],
                    flash_ratio=figures["flash_bytes"] / dense["flash_bytes"],
                    **figures,
                )
            )
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
