"""What a flash budget costs in accuracy: ``--share auto --flash SIZE`` beside one form for all.

    python benchmarks/flash_budget.py [--shared DIR] [--network resnet8] [--samples N] [ROW ...]

Each row is an export: calibrated on training images, flash of the linked image for a Cortex-M4,
accuracy of the C on this computer. Prints a Markdown table.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from shared_models import DEFAULT_FOLDER, load_network

from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.run import export

KIB = 1024
ROWS: dict[str, dict[str, Any]] = {
    "--share auto --flash 64k": {"share": "auto", "flash_bytes": 64 * KIB},
    "--share-vectors 2": {"share_vectors": 2},
    "--share 16": {"share": 16},
    "--bits 4": {"bits": 4},
    "--share auto --flash 48k": {"share": "auto", "flash_bytes": 48 * KIB},
    "--share-vectors 4": {"share_vectors": 4},
    "--share 8": {"share": 8},
    "--share auto --flash 40k": {"share": "auto", "flash_bytes": 40 * KIB},
    "--share auto --flash 34k": {"share": "auto", "flash_bytes": 34 * KIB},
    "--share auto --flash 28k": {"share": "auto", "flash_bytes": 28 * KIB},
    "--flash 34k --no-tune": {"share": "auto", "flash_bytes": 34 * KIB, "tune": False},
    "--flash 28k --no-tune": {"share": "auto", "flash_bytes": 28 * KIB, "tune": False},
}


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), default=DEFAULT_FOLDER)
@click.option("--network", default="resnet8", show_default=True)
@click.option("--samples", type=click.IntRange(min=1), default=1000, show_default=True)
@click.argument("wanted", nargs=-1)
def main(shared: Path, network: str, samples: int, wanted: tuple[str, ...]) -> None:
    """Export once for each row; only for those that hold one of some texts, if any are given."""
    found = load_network(network, shared, samples=samples)
    if found.labels is None:
        raise click.ClickException(f"{network} has no labels")
    click.echo("| | flash, bytes | accuracy |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        calibration, data = Path(place) / "calibration.npz", Path(place) / "data.npz"
        np.savez(calibration, x=found.calibration)
        np.savez(data, x=found.inputs, y=found.labels)
        for number, (title, fields) in enumerate(ROWS.items()):
            if wanted and not any(text in title for text in wanted):
                continue
            report = export(
                ExportOptions(
                    model=found.weights,
                    factory=found.factory,
                    calibration=str(calibration),
                    data=str(data),
                    output=Path(place) / f"out{number}",
                    samples=2,
                    emulate=False,
                    **fields,
                )
            )
            # What the float model says is another matter: the last rows are far from it.
            if not all(rung.passed for rung in report.parity if rung.exact_required):
                raise click.ClickException(f"{title}: the runtimes do not agree")
            accuracy = report.accuracy.device
            click.echo(f"| `{title}` | {report.flash.total:,} | {accuracy:.1%} |")
            float_accuracy = report.accuracy.float_
        click.echo(f"\nFloat: {float_accuracy:.1%}")


if __name__ == "__main__":
    main()
