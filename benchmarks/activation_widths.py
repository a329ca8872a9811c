"""What 16-bit activations gain and cost: the same network with int8, chosen and all-int16.

    python -m benchmarks.activation_widths                      # examples/zoo/residual_stream
    python -m benchmarks.activation_widths --network unet --target cortex-m0plus

Instructions, flash and RAM are exact, from the emulator; the signal-to-noise ratio is that of the
outputs against PyTorch's, on inputs that the calibration has not seen. "Exact" counts the elements
that were compared without tolerance (NumPy reference, LiteRT's reference kernels, TFLM, C on the
host and on the emulated core), "differing" those that differ.
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
from edgefactor.pipeline.run import export
from examples.zoo.prepare import NAMES, prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network with one choice of widths on one target."""

    network: str
    target: str
    activations: str
    wide_tensors: int
    sqnr_db: float | None
    instructions: int | None
    flash_bytes: int | None
    ram_bytes: int | None
    exact_elements: int
    differing_elements: int


def measure(network: str, target: str, activations: str, samples: int) -> Row:
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
            activations=activations,
            output=folder / "out",
            samples=samples,
            emulated_samples=min(samples, 2),
        )
        report = export(options)
    exact = [rung for rung in report.parity if rung.exact_required]
    wide = report.activations["wide"] if report.activations else ()
    return Row(
        network=network,
        target=target,
        activations=activations,
        wide_tensors=len(wide),
        sqnr_db=next(r.sqnr_db for r in report.parity if r.rung == "numpy reference"),
        instructions=report.instructions,
        flash_bytes=report.flash.total,
        ram_bytes=report.ram.total,
        exact_elements=sum(rung.elements for rung in exact),
        differing_elements=sum(rung.differing_elements for rung in exact),
    )


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="Widths of activations")
    headings = ("network", "target", "activations")
    for heading in headings:
        table.add_column(heading)
    for heading in (
        "int16 tensors",
        "SNR dB",
        "instructions",
        "flash",
        "RAM",
        "exact",
        "differing",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        sizes = (row.instructions, row.flash_bytes, row.ram_bytes, row.exact_elements)
        table.add_row(
            row.network,
            row.target,
            row.activations,
            str(row.wide_tensors),
            "equal" if row.sqnr_db is None else f"{row.sqnr_db:.1f}",
            *("-" if size is None else f"{size:,}" for size in sizes),
            str(row.differing_elements),
        )
    Console(width=140).print(table)


@click.command()
@click.option(
    "--network", "networks", multiple=True, type=click.Choice(NAMES), default=("residual_stream",)
)
@click.option("--target", "targets", multiple=True, default=("cortex-m4", "cortex-m0plus"))
@click.option("--samples", default=10, show_default=True, help="Inputs on every rung.")
@click.option("--json", "as_json", is_flag=True)
def main(networks: tuple[str, ...], targets: tuple[str, ...], samples: int, as_json: bool) -> None:
    """Export and check every network in every way."""
    rows = []
    for network in networks:
        for target in targets:
            for activations in ("int8", "auto", "int16"):
                click.echo(f"{network} on {target}, {activations}", err=True)
                rows.append(measure(network, target, activations, samples))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
