"""What the commands write to the terminal: errors, progress and tables, or JSON instead.

rich is imported when something is to be drawn, so that ``--help`` does not wait for it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgefactor import signals
from edgefactor.errors import EdgefactorError

if TYPE_CHECKING:
    from rich.console import Console

    from edgefactor.pipeline.compress.context import TrainingProgress
    from edgefactor.pipeline.compress.micronet import MicroNet
    from edgefactor.pipeline.config import Progress
    from edgefactor.pipeline.inspect import Inspection
    from edgefactor.targets.description import Target

INTERRUPTED = 130


def console(*, stderr: bool = False) -> Console:
    """A console that takes text as it is: no markup, no highlighting."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)


#: Where JSON goes while everything else that is printed goes to stderr.
_json_stream: TextIO | None = None


@contextmanager
def only_json(as_json: bool) -> Iterator[None]:
    """Keeps stdout for JSON: what the user's own model or data code prints goes to stderr."""
    global _json_stream
    if not as_json:
        yield
        return
    _json_stream = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _json_stream = None


def print_json(data: Any) -> None:
    """Writes one JSON document to stdout."""
    stream = _json_stream or sys.stdout
    stream.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def print_error(error: EdgefactorError, *, as_json: bool) -> None:
    """Says what went wrong: on stderr for people, on stdout for scripts."""
    if as_json:
        print_json(error.to_dict())
        return
    from rich.text import Text

    out = console(stderr=True)
    out.print(Text.assemble(("error: ", "bold red"), printable(error.message)), soft_wrap=True)
    for label, text in (
        ("where", error.where),
        ("found", error.found),
        ("expected", error.expected),
        ("try", error.hint),
    ):
        if text:
            out.print(Text.assemble((f"  {label}: ", "bold"), printable(text)), soft_wrap=True)


def print_line(text: str) -> None:
    """Writes one line to stderr."""
    console(stderr=True).print(printable(text), soft_wrap=True)


def print_internal_error(error: Exception, *, as_json: bool, debug: bool) -> None:
    """Says that edgefactor itself failed, and how to see where."""
    if debug:
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    print_error(_InternalError(error, place), as_json=as_json)


class _InternalError(EdgefactorError):
    """An exception that nobody meant to raise."""

    kind = "internal"

    def __init__(self, error: Exception, place: str) -> None:
        super().__init__(
            "edgefactor failed unexpectedly; this is a defect of edgefactor",
            where=place,
            found=f"{type(error).__name__}: {error}",
            hint="Run it again with --debug (or EDGEFACTOR_DEBUG=1) and report the traceback.",
        )


def debug_wanted() -> bool:
    """Whether the environment asks for tracebacks."""
    return os.environ.get("EDGEFACTOR_DEBUG", "") not in ("", "0")


def printable(text: str) -> str:
    """`text` without control characters, which names in a file could use to write elsewhere."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Shows the running stage on a terminal; prints nothing where stderr is a file.

    Between two stages is also where a Ctrl-C that a library swallowed takes effect.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda stage: signals.check()
        return
    out = console(stderr=True)
    with out.status("starting") as status:

        def show(stage: str) -> None:
            signals.check()
            status.update(printable(stage))

        yield show


def training_lines(progress: Progress) -> Callable[[TrainingProgress], None]:
    """Turns training's progress into lines: where stderr is no terminal, one an epoch."""
    interactive = sys.stderr.isatty()
    last = -1.0

    def show(line: TrainingProgress) -> None:
        nonlocal last
        accuracy = "" if line.accuracy is None else f", accuracy {line.accuracy:.2%}"
        text = (
            f"{line.step}: epoch {line.epoch:.1f} of {line.epochs:g}, loss {line.loss:.4f}"
            f"{accuracy}, learning rate {line.learning_rate:.2g}, "
            f"{line.samples_per_second:,.0f} samples/s, {line.seconds_left:.0f} s left"
        )
        if interactive:
            progress(text)
        elif line.epoch == int(line.epoch) and line.epoch != last:
            print(printable(text), file=sys.stderr, flush=True)
        last = line.epoch

    return show


def print_targets(targets: list[tuple[str, str, Target]]) -> None:
    """A table of (name, alias of or "", description)."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("target", "processor", "a part", "flash", "RAM", "emulated on"):
        right = column in ("flash", "RAM")
        table.add_column(column, justify="right" if right else "left", no_wrap=column == "target")
    for name, alias_of, target in targets:
        board = target.board.machine if target.board else "this computer"
        sizes = (size(target.flash_bytes), size(target.ram_bytes))
        title = f"the same as {alias_of}" if alias_of else target.title
        table.add_row(name, title, target.part, *sizes, board)
    console().print(table)


def print_inspection(inspection: Inspection) -> None:
    """The layers of a model and the totals."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    right = ("parameters", "MACs", "output bytes", "live bytes")
    for column in ("layer", "operator", "output shape", *right):
        table.add_column(column, justify="right" if column in right else "left")
    for layer in inspection.layers:
        table.add_row(
            Text(printable(layer.name)),
            Text(layer.operator),
            " x ".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            f"{layer.output_bytes:,}",
            f"{layer.live_bytes:,}",
        )
    out.print(table)
    for name, shape in inspection.inputs:
        out.print(f"input {printable(name)}: {' x '.join(map(str, shape))}")
    out.print(f"{printable(inspection.source)}: {inspection.kind}")
    out.print(
        f"parameters: {inspection.parameters:,}; weights in int8: {inspection.weight_bytes:,} B"
    )
    out.print(f"multiply-accumulates: {inspection.macs:,}")
    out.print(f"activation peak: {inspection.peak_bytes:,} B at {printable(inspection.peak_layer)}")
    for note in inspection.notes:
        out.print(f"note: {printable(note)}")


def print_micronet(scores: MicroNet) -> None:
    """Both parts of each score, and how they were counted."""
    from rich.table import Table

    out = console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("rules")
    for column in ("parameters", "multiplications", "additions", "storage", "operations", "score"):
        table.add_column(column, justify="right")
    for score in scores.scores:
        numbers = (score.parameters, score.multiplies, score.additions)
        parts = (score.storage_score, score.operations_score, score.score)
        table.add_row(
            score.rules, *(f"{number:,.0f}" for number in numbers), *(f"{p:.4f}" for p in parts)
        )
    out.print(table)
    needed = f"{scores.accuracy_needed:.0%}"
    out.print(f"{scores.task}: an entry needs an accuracy of {needed}, which is not measured here")
    for note in (*(n for s in scores.scores for n in s.notes), *scores.notes):
        out.print(f"note: {note}")


def size(size_bytes: int) -> str:
    """A memory size for people: ``256 KiB``; ``no limit`` for 0."""
    if size_bytes == 0:
        return "no limit"
    if size_bytes % (1024 * 1024) == 0:
        return f"{size_bytes // (1024 * 1024)} MiB"
    return f"{size_bytes // 1024} KiB" if size_bytes % 1024 == 0 else f"{size_bytes} B"
