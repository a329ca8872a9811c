"""Every network of examples/zoo on emulated Arm: cost, accuracy, and whether all runtimes agree.

    python -m benchmarks.zoo                                   # all of them
    python -m benchmarks.zoo --network lenet5 --target cortex-m0plus --target cortex-m55

All run on cortex-m4, the small ones on cortex-m0plus and cortex-m55 as well. Networks with a
recipe in benchmarks/zoo_training.py are trained on real data (once, on one core, about a minute of
its time each), those of benchmarks/shared_models.py come trained; accuracy is that of the float
model and of the generated C over the whole test set. Without the folder of that data, and for the
other networks, weights are random (examples/zoo/prepare.py) and the signal-to-noise ratio, of the
int8 outputs against PyTorch's, is all there is.

"Exact" counts what was compared without tolerance: NumPy reference, LiteRT's reference kernels,
TFLM, C on the host and C on the emulated core, every tensor; "differing" is how many elements of it
differ. The exit code is 1 where a rung failed, a trained network lost more than a point, or the
ratio of another is below 20 dB.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.zoo_cases import NAMES, SMALL, Case, find_case
from edgefactor.errors import EdgefactorError
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.report import Report
from edgefactor.pipeline.run import export

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "shared"
MAX_LOSS_POINTS = 1.0
MIN_SQNR_DB = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network on one target."""

    network: str
    data: str
    target: str
    layers: int
    macs: int
    weight_bytes: int
    instructions: int | None
    flash_bytes: int | None
    arena_bytes: int | None
    ram_bytes: int | None
    evaluated: int
    float_accuracy: float | None
    device_accuracy: float | None
    sqnr_db: float | None
    exact_elements: int
    differing_elements: int
    failed_rungs: tuple[str, ...]
    not_run: tuple[str, ...]

    @property
    def within(self) -> bool:
        """Whether every rung passed and the network is still the same one."""
        if self.float_accuracy is not None and self.device_accuracy is not None:
            lost = 100 * (self.float_accuracy - self.device_accuracy)
            return not self.failed_rungs and lost <= MAX_LOSS_POINTS
        close = self.sqnr_db is None or self.sqnr_db >= MIN_SQNR_DB
        return not self.failed_rungs and close


def row(report: Report, case: Case) -> Row:
    """What the table shows of a report."""
    exact = [rung for rung in report.parity if rung.exact_required]
    quantization = next(rung for rung in report.parity if rung.rung == "numpy reference")
    return Row(
        network=case.name,
        data=case.data,
        target=report.target,
        layers=len(report.layers),
        macs=sum(layer.macs for layer in report.layers),
        weight_bytes=sum(layer.weight_bytes for layer in report.layers),
        instructions=report.instructions,
        flash_bytes=report.flash.total,
        arena_bytes=report.ram.arena,
        ram_bytes=report.ram.total,
        evaluated=report.accuracy.samples,
        float_accuracy=report.accuracy.float_,
        device_accuracy=report.accuracy.device,
        sqnr_db=quantization.sqnr_db,
        exact_elements=sum(rung.elements for rung in exact),
        differing_elements=sum(rung.differing_elements for rung in exact),
        failed_rungs=tuple(rung.rung for rung in report.parity if not rung.passed),
        not_run=tuple(item.what for item in report.not_verified if item.what != "accuracy"),
    )


def measure(case: Case, target: str, samples: int, *, accuracy: bool) -> Row:
    """Export one network and check it on every rung."""
    with tempfile.TemporaryDirectory() as place:
        options = ExportOptions(
            model=case.model,
            factory=case.factory,
            target=target,
            calibration=str(case.calibration),
            data=str(case.labelled if accuracy and case.labelled else case.inputs),
            name=case.name,
            output=Path(place) / "out",
            samples=samples,
            emulated_samples=samples,
            max_accuracy_drop=100.0,
        )
        return row(export(options), case)


LEFT = ("network", "data", "target")
HEADINGS = (
    *LEFT,
    *("layers", "MACs", "weights", "instructions", "flash", "arena", "RAM"),
    *("float", "device", "of", "SNR dB", "exact", "differing"),
    "failed or not run",
)


def cells(row_: Row) -> tuple[str, ...]:
    """A row as text, in the order of ``HEADINGS``."""
    sizes = (row_.instructions, row_.flash_bytes, row_.arena_bytes, row_.ram_bytes)
    shares = (row_.float_accuracy, row_.device_accuracy)
    return (
        row_.network,
        row_.data,
        row_.target,
        str(row_.layers),
        f"{row_.macs:,}",
        f"{row_.weight_bytes:,}",
        *("-" if size is None else f"{size:,}" for size in sizes),
        *("-" if share is None else f"{100 * share:.2f} %" for share in shares),
        f"{row_.evaluated:,}" if row_.evaluated else "-",
        "equal" if row_.sqnr_db is None else f"{row_.sqnr_db:.1f}",
        f"{row_.exact_elements:,}",
        str(row_.differing_elements),
        ", ".join((*row_.failed_rungs, *row_.not_run)),
    )


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="examples/zoo")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in LEFT else "right")
    for row_ in rows:
        table.add_row(*cells(row_), style=None if row_.within else "red")
    Console(width=200).print(table)


def markdown(rows: list[Row]) -> str:
    """The table for a page of docs."""
    marks = ("---" if heading in LEFT else "---:" for heading in HEADINGS)
    lines = (HEADINGS, marks, *(cells(row_) for row_ in rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@click.command()
@click.option("--network", "networks", multiple=True, type=click.Choice(NAMES), default=NAMES)
@click.option("--target", "targets", multiple=True, help="In place of the usual ones.")
@click.option("--samples", default=10, show_default=True, help="Inputs on every rung.")
@click.option("--evaluate", default=100_000, help="Labelled inputs for accuracy, at most.")
@click.option("--random", "is_random", is_flag=True, help="Random weights for all.")
@click.option("--shared", type=click.Path(path_type=Path), default=DEFAULT_FOLDER)
@click.option("--markdown", "as_markdown", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    networks: tuple[str, ...],
    targets: tuple[str, ...],
    samples: int,
    evaluate: int,
    is_random: bool,
    shared: Path,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Export and check every network."""
    data = shared if shared.is_dir() and not is_random else None
    rows: list[Row] = []
    broken = 0
    with tempfile.TemporaryDirectory() as place:
        for network in networks:
            click.echo(f"{network}: weights and data", err=True)
            case = find_case(network, Path(place), data, evaluate)
            usual = ("cortex-m4", "cortex-m0plus", "cortex-m55")
            chosen = targets or (usual if network in SMALL else usual[:1])
            for target in chosen:
                # Accuracy is equal on every target, so it is measured on one.
                first = target == chosen[0]
                try:
                    rows.append(measure(case, target, samples, accuracy=first))
                except EdgefactorError as error:
                    broken += 1
                    click.echo(f"{network} on {target}: {error}", err=True)
                    continue
                click.echo(f"| {' | '.join(cells(rows[-1]))} |", err=True)
    if as_json:
        click.echo(json.dumps([asdict(item) for item in rows], indent=1))
    elif as_markdown:
        click.echo(markdown(rows))
    else:
        show(rows)
    if broken or not all(item.within for item in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
