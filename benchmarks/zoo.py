"""Every network of examples/zoo on emulated Arm: cost, accuracy, and whether all runtimes agree.

    python -m benchmarks.zoo                                   # all of them
    python -m benchmarks.zoo --jobs 2 --write                  # two at a time, into docs/zoo.md
    python -m benchmarks.zoo --network lenet5 --target cortex-m0plus --target cortex-m55

All run on cortex-m4, the small ones on cortex-m0plus and cortex-m55 as well. Networks with a
recipe in benchmarks/zoo_training.py are trained on real data (once, on one core, minutes of its
time each), those of benchmarks/shared_models.py come trained; accuracy is that of the float
model and of the generated C over the whole test set. Without the folder of that data, and for the
other networks, weights are random (examples/zoo/prepare.py) and the signal-to-noise ratio, of the
int8 outputs against PyTorch's, is all there is.

"Exact" counts what was compared without tolerance: NumPy reference, LiteRT's reference kernels,
TFLM, C on the host and C on the emulated core, every tensor; "differing" is how many elements of it
differ. The exit code is 1 where a rung failed, a trained network lost more than a point, or the
ratio of another is below 20 dB; the other rows are measured all the same. Rows that the same code
has measured before are taken from ``build/zoo/rows``, so an interrupted run goes on; ``--fresh``
measures them again.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.zoo_cache import keep, load, row_file
from benchmarks.zoo_cases import NAMES, SMALL, find_case
from benchmarks.zoo_rows import HEADINGS, LEFT, Failure, Row, cells, line, markdown, measure
from edgefactor.errors import EdgefactorError
from examples.zoo.prepare import NAMES as ZOO_NAMES

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "shared"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "zoo.md"
USUAL = ("cortex-m4", "cortex-m0plus", "cortex-m55")


def attempt(network: str, target: str, work: Callable[[], Row]) -> Row | Failure:
    """A row, or why there is none."""
    try:
        return work()
    except EdgefactorError as error:
        return Failure(network=network, target=target, message=str(error))
    except Exception as error:  # a bug, to be shown among the rows of the others
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        return Failure(network=network, target=target, message=message)


def show(rows: list[Row | Failure]) -> None:
    """Print the table."""
    table = Table(title="examples/zoo")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in LEFT else "right")
    for found in rows:
        good = isinstance(found, Row) and found.within
        table.add_row(*cells(found), style=None if good else "red")
    Console(width=200).print(table)


def duration(rows: list[Row | Failure]) -> str:
    """What the rows took, in words."""
    minutes = sum(found.cpu_seconds for found in rows if isinstance(found, Row)) / 60
    return f"{len(rows)} rows, {minutes:.0f} CPU minutes without the trainings."


def write_page(rows: list[Row | Failure], page: Path) -> None:
    """Put the table in place of the one at the end of the page."""
    text = page.read_text()
    above = text[: text.index("| network |")]
    page.write_text(f"{above}{markdown(rows)}\n\n{duration(rows)}\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What all networks of a table have in common."""

    targets: tuple[str, ...]
    samples: int
    evaluate: int
    shared: Path | None
    fresh: bool


def rows_of(network: str, run: Run) -> list[Row | Failure]:
    """The rows of a network, measured before or now."""
    chosen = run.targets or (USUAL if network in SMALL else USUAL[:1])
    rows: list[Row | Failure] = []
    with tempfile.TemporaryDirectory() as place:
        case = functools.cache(lambda: find_case(network, Path(place), run.shared, run.evaluate))
        for target in chosen:
            # Accuracy is equal on every target, so it is measured on one.
            accuracy = target == chosen[0]
            settings = (run.samples, run.evaluate, run.shared is not None, accuracy)
            file = row_file(network, target, settings)
            result: Row | Failure | None = None if run.fresh else load(file)
            if result is None:

                def work(target: str = target, accuracy: bool = accuracy) -> Row:
                    return measure(case(), target, run.samples, accuracy=accuracy)

                result = attempt(network, target, work)
                if isinstance(result, Row):
                    keep(result, file)
            rows.append(result)
            click.echo(line(result), err=True)
    return rows


def all_rows(networks: Sequence[str], run: Run, jobs: int) -> list[Row | Failure]:
    """The rows of all networks, in their order; some networks at a time."""
    if jobs == 1:
        return [found for network in networks for found in rows_of(network, run)]
    with ProcessPoolExecutor(jobs) as pool:
        results = pool.map(rows_of, networks, [run] * len(networks))
        return [found for rows in results for found in rows]


@click.command()
@click.option("--network", "networks", multiple=True, type=click.Choice(NAMES), default=NAMES)
@click.option("--target", "targets", multiple=True, help="In place of the usual ones.")
@click.option("--samples", default=10, show_default=True, help="Inputs on every rung.")
@click.option("--evaluate", default=100_000, help="Labelled inputs for accuracy, at most.")
@click.option("--random", "is_random", is_flag=True, help="Random weights for all.")
@click.option("--shared", type=click.Path(path_type=Path), default=DEFAULT_FOLDER)
@click.option("--fresh", is_flag=True, help="Measure again what was measured by the same code.")
@click.option("--jobs", default=1, show_default=True, help="Networks at a time.")
@click.option("--markdown", "as_markdown", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--write", "into_page", is_flag=True, help="The table into docs/zoo.md.")
def main(
    networks: tuple[str, ...],
    targets: tuple[str, ...],
    samples: int,
    evaluate: int,
    is_random: bool,
    shared: Path,
    fresh: bool,
    jobs: int,
    as_markdown: bool,
    as_json: bool,
    into_page: bool,
) -> None:
    """Export and check every network."""
    run = Run(
        targets=targets,
        samples=samples,
        evaluate=evaluate,
        shared=shared if shared.is_dir() and not is_random else None,
        fresh=fresh,
    )
    if run.shared is None:
        # The others' weights lie in that folder, and there is no file of theirs in the zoo.
        networks = tuple(network for network in networks if network in ZOO_NAMES)
    rows = all_rows(networks, run, jobs)
    click.echo(duration(rows), err=True)
    if into_page:
        write_page(rows, PAGE)
    if as_json:
        click.echo(json.dumps([asdict(item) for item in rows], indent=1))
    elif as_markdown:
        click.echo(markdown(rows))
    else:
        show(rows)
    if not all(isinstance(item, Row) and item.within for item in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
