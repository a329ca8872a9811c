"""What the cost model weighed for each layer, for people: estimates beside what was measured."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgefactor.export.c_code.layer_code import STRIPE_MARK
from edgefactor.pipeline.report import Layer, Report


def render_alternatives(report: Report, console: Console) -> None:
    """Print one table for each layer that had a choice; the first row is what it got.

    Stripes of one layer have the same choice: the first one stands for all.
    """
    shown: set[str] = set()
    for layer in report.layers:
        name = layer.name.split(STRIPE_MARK)[0]
        if not layer.alternatives or name in shown:
            continue
        shown.add(name)
        console.print()
        console.print(Text(_title(layer), "bold"))
        console.print(_choices(layer))
        for entry in layer.rejected:
            console.print(Text(f"not {entry['kernel']}, {entry['encoding']}: {entry['reason']}"))


def _title(layer: Layer) -> str:
    measured = layer.instructions
    if measured is None:
        return f"{layer.name}: not measured"
    estimate = layer.alternatives[0]["instructions"]
    off = 100 * (estimate - measured) / measured if measured else 0.0
    return f"{layer.name}: {measured:,} instructions measured, estimate {off:+.0f} %"


def _choices(layer: Layer) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("encoding", "kernel"):
        table.add_column(heading, no_wrap=True)
    decoded = any(option.get("weights_ram_bytes") for option in layer.alternatives)
    ram = ("RAM",) if decoded else ()
    for heading in ("flash", "scratch", *ram, "instructions"):
        table.add_column(heading, justify="right", no_wrap=True)
    for place, option in enumerate(layer.alternatives):
        table.add_row(
            "" if place else "*",
            f"{option['encoding']} {option['bits']}",
            option["kernel"],
            f"{option['flash_bytes']:,}",
            f"{option.get('scratch_bytes', 0):,}",
            *((f"{option.get('weights_ram_bytes', 0):,}",) if decoded else ()),
            f"{option['instructions']:,}",
        )
    return table
