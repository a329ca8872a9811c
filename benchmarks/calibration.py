"""Which calibration method loses least: int8 accuracy of the shared networks, method by method.

    python benchmarks/calibration.py [--shared DIR] [--samples N] [--json]

The int8 network is run by its NumPy reference, which every runtime equals.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from shared_models import DEFAULT_FOLDER, NAMES, Network, load_network

from edgefactor.export.ir import Graph
from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_samples
from edgefactor.pipeline.calibrate import METHODS, calibrate
from edgefactor.pipeline.config import parse_shape
from edgefactor.pipeline.float_stages import float_stages, run_float
from edgefactor.pipeline.inputs.example import choose_inputs
from edgefactor.pipeline.load import load
from edgefactor.pipeline.quantize import quantize
from edgefactor.runtime.parity import accuracy, compare_reals


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network with one method."""

    network: str
    method: str
    samples: int
    float_accuracy: float | None
    int8_accuracy: float | None
    argmax_agreement: float | None
    sqnr_db: float


def measure(network: Network) -> list[Row]:
    """All methods on one network."""
    loaded = load(network.weights, factory=network.factory)
    shape = ",".join(map(str, (1, *network.inputs.shape[1:])))
    example = choose_inputs(loaded, (parse_shape(shape),))
    stages = float_stages(loaded, example, network.name, lambda _: None)
    graph = stages.graph
    name = graph.inputs[0].name
    samples = [{name: network.calibration[i : i + 1]} for i in range(len(network.calibration))]
    expected = run_float(stages.simplified.SerializeToString(), {name: network.inputs}, graph)
    rows = []
    for method in METHODS:
        int8 = quantize(graph, calibrate(graph, samples, method=method))
        rows.append(_row(network, method, expected, int8))
    return rows


def _row(network: Network, method: str, expected: list[NDArray[np.float32]], int8: Graph) -> Row:
    outputs = []
    for start in range(0, len(network.inputs), 100):
        codes = encode_inputs(int8, [network.inputs[start : start + 100]])
        outputs.append(decode_outputs(int8, run_samples(int8, codes))[0])
    found = np.concatenate(outputs)
    comparison = compare_reals(expected, [found])
    labels = network.labels
    return Row(
        network=network.name,
        method=method,
        samples=len(found),
        float_accuracy=None if labels is None else accuracy(expected[0], labels),
        int8_accuracy=None if labels is None else accuracy(found, labels),
        argmax_agreement=comparison.argmax_agreement,
        sqnr_db=comparison.sqnr_db,
    )


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), default=DEFAULT_FOLDER)
@click.option("--samples", default=1000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(shared: Path, samples: int, as_json: bool) -> None:
    """Compare the calibration methods."""
    rows = [row for name in NAMES for row in measure(load_network(name, shared, samples))]
    if as_json:
        fields = Row.__slots__
        click.echo(json.dumps([{f: getattr(row, f) for f in fields} for row in rows], indent=1))
        return
    table = Table(title="int8 by calibration method")
    for heading in ("network", "method", "samples", "float", "int8", "same class", "SQNR"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row.network,
            row.method,
            str(row.samples),
            _percent(row.float_accuracy),
            _percent(row.int8_accuracy),
            _percent(row.argmax_agreement),
            f"{row.sqnr_db:.2f} dB",
        )
    Console().print(table)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


if __name__ == "__main__":
    main()
