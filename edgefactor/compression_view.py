"""What a compression looks like on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgefactor.terminal import console, printable

if TYPE_CHECKING:
    from edgefactor.pipeline.compress.run import CompressReport


def print_compression(report: CompressReport) -> None:
    """Steps, layers and totals."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    outcome, storage = report.outcome, report.outcome.storage
    steps = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("step", "accuracy", "rate", "seconds"):
        steps.add_column(column, justify="left" if column == "step" else "right")
    for step in outcome.steps:
        steps.add_row(
            step.method, _percent(step.accuracy), f"{step.rate:.1f}x", f"{step.seconds:.0f}"
        )
    out.print(steps)
    layers = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("layer", "stored as", "weights", "kept", "values", "bytes", "on the device"):
        layers.add_column(column, justify="left" if column in ("layer", "stored as") else "right")
    for layer in storage.layers:
        bits = layer.huffman_bits if storage.entropy_coded else layer.fixed_bits
        layers.add_row(
            Text(printable(layer.name)),
            layer.kind,
            f"{layer.weights:,}",
            f"{layer.kept:.1%}",
            str(layer.values or ""),
            f"{-(-bits // 8):,}",
            f"{layer.device_bytes:,}",
        )
    out.print(layers)
    for step in outcome.steps:
        for note in step.result.notes:
            out.print(f"note: {printable(note)}")
    for note in report.notes:
        out.print(f"note: {printable(note)}")
    out.print(
        f"accuracy: {_percent(outcome.accuracy_before)} -> {_percent(outcome.accuracy_after)}"
    )
    out.print(
        f"rate: {storage.rate:.1f}x as papers count it; weights on the device: "
        f"{storage.device_weight_bytes:,} B"
    )
    out.print(f"written: {printable(report.output)}")


def print_entries(entries: list[dict[str, Any]]) -> None:
    """A list of recipes or methods: name, then what it is."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for entry in entries:
        table.add_row(entry["name"], entry.get("title") or entry.get("summary", ""))
    console().print(table)


def _percent(fraction: float | None) -> str:
    return "not measured" if fraction is None else f"{fraction:.2%}"
