"""Every network of examples/zoo on emulated Arm: cost, and whether all runtimes agree.

    python -m benchmarks.zoo                                   # all of them on cortex-m4
    python -m benchmarks.zoo --network lenet5 --target cortex-m0plus --target cortex-m55

Weights are random (examples/zoo/prepare.py), so there is no accuracy; the signal-to-noise ratio is
that of the int8 outputs against PyTorch's. "Exact" counts what was compared without tolerance:
NumPy reference, LiteRT's reference kernels, TFLM, C on the host and C on the emulated core, every
tensor; "differing" is how many elements of it differ.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.report import Report
from edgefactor.pipeline.run import export
from examples.zoo.prepare import NAMES, prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network on one target."""

    network: str
    target: str
    layers: int
    macs: int
    weight_bytes: int
    instructions: int | None
    flash_bytes: int | None
    arena_bytes: int | None
    ram_bytes: int | None
    sqnr_db: float | None
    exact_elements: int
    differing_elements: int
    failed_rungs: tuple[str, ...]
    not_run: tuple[str, ...]


def row(report: Report, network: str) -> Row:
    """What the table shows of a report."""
    exact = [rung for rung in report.parity if rung.exact_required]
    quantization = next(rung for rung in report.parity if rung.rung == "numpy reference")
    return Row(
        network=network,
        target=report.target,
        layers=len(report.layers),
        macs=sum(layer.macs for layer in report.layers),
        weight_bytes=sum(layer.weight_bytes for layer in report.layers),
        instructions=report.instructions,
        flash_bytes=report.flash.total,
        arena_bytes=report.ram.arena,
        ram_bytes=report.ram.total,
        sqnr_db=quantization.sqnr_db,
        exact_elements=sum(rung.elements for rung in exact),
        differing_elements=sum(rung.differing_elements for rung in exact),
        failed_rungs=tuple(rung.rung for rung in report.parity if not rung.passed),
        not_run=tuple(item.what for item in report.not_verified if item.what != "accuracy"),
    )


def measure(network: str, target: str, samples: int) -> Row:
    """Export one network and check it on every rung."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepared = prepare(network, folder)
        options = ExportOptions(
            model=prepared.model,
            factory=prepared.factory,
            target=target,
            calibration=str(prepared.calibration),
            data=str(prepared.inputs),
            output=folder / "out",
            samples=samples,
            emulated_samples=samples,
        )
        return row(export(options), network)


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="examples/zoo")
    for heading in ("network", "target"):
        table.add_column(heading)
    for heading in ("layers", "MACs", "weights", "instructions", "flash", "arena", "RAM"):
        table.add_column(heading, justify="right")
    for heading in ("SNR dB", "exact", "differing"):
        table.add_column(heading, justify="right")
    table.add_column("failed or not run")
    for row_ in rows:
        sizes = (row_.instructions, row_.flash_bytes, row_.arena_bytes, row_.ram_bytes)
        table.add_row(
            row_.network,
            row_.target,
            str(row_.layers),
            f"{row_.macs:,}",
            f"{row_.weight_bytes:,}",
            *("-" if size is None else f"{size:,}" for size in sizes),
            "equal" if row_.sqnr_db is None else f"{row_.sqnr_db:.1f}",
            f"{row_.exact_elements:,}",
            str(row_.differing_elements),
            ", ".join((*row_.failed_rungs, *row_.not_run)),
        )
    Console(width=160).print(table)


@click.command()
@click.option("--network", "networks", multiple=True, type=click.Choice(NAMES), default=NAMES)
@click.option("--target", "targets", multiple=True, default=("cortex-m4",), show_default=True)
@click.option("--samples", default=10, show_default=True, help="Inputs on every rung.")
@click.option("--json", "as_json", is_flag=True)
def main(networks: tuple[str, ...], targets: tuple[str, ...], samples: int, as_json: bool) -> None:
    """Export and check every network."""
    rows = []
    for network in networks:
        for target in targets:
            click.echo(f"{network} on {target}", err=True)
            rows.append(measure(network, target, samples))
    if as_json:
        click.echo(json.dumps([asdict(item) for item in rows], indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
