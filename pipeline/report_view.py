"""The report for people: what holds, what was not checked, and where flash, RAM and time go."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edgefactor.pipeline.report import Gate, Layer, Report, Rung

_BAR_WIDTH = 16


def render(report: Report, console: Console) -> None:
    """Print a report to a terminal."""
    console.print()
    console.print(f"[bold]{escape(report.model)}[/] on [bold]{escape(report.target)}[/]")
    console.print(_ladder(report))
    console.print(_layers(report))
    console.print(_footprint(report))
    accuracy = _accuracy(report)
    if accuracy is not None:
        console.print(accuracy)
    for gate in report.gates:
        console.print(_gate(gate))
    for note in report.notes:
        console.print(f"[yellow]note[/] {escape(note)}")
    for entry in report.not_verified:
        console.print(
            f"[yellow]not verified[/] {escape(entry.what)}: {escape(entry.reason)}", highlight=False
        )
    for rung in report.parity:
        if not rung.passed:
            console.print(_failure(rung))
    verdict = "[green]everything that ran is within its limits[/]"
    if not report.ok:
        verdict = "[red]not within its limits[/]"
    console.print(verdict)


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _ladder(report: Report) -> Table:
    table = Table(title="Ladder: each runtime against the one it is compared with", expand=False)
    for heading in ("", "rung", "compared with"):
        table.add_column(heading)
    for heading in ("samples", "elements", "differing", "largest", "SQNR", "same class"):
        table.add_column(heading, justify="right")
    for rung in report.parity:
        mark = Text("ok", "green") if rung.passed else Text("FAILED", "red")
        largest = f"{rung.max_difference:.3g}" if rung.unit == "real" else f"{rung.max_difference}"
        unit = "" if rung.unit == "real" else " codes"
        table.add_row(
            mark,
            Text(rung.rung + (" (exact)" if rung.exact_required else "")),
            Text(rung.compared_with),
            _count(rung.samples),
            _count(rung.elements),
            _count(rung.differing_elements),
            largest + unit,
            "equal" if rung.sqnr_db is None or math.isinf(rung.sqnr_db) else f"{rung.sqnr_db:.1f} dB",
            "-" if rung.argmax_agreement is None else f"{100 * rung.argmax_agreement:.1f} %",
        )
    return table


def _bar(share: float) -> str:
    return "█" * max(1 if share > 0 else 0, round(_BAR_WIDTH * share))


def _layers(report: Report) -> Table:
    table = Table(title="Layers on the device", expand=False)
    for heading in ("layer", "operator", "weights stored as"):
        table.add_column(heading, overflow="fold")
    for heading in ("weights, bytes", "tables, bytes", "MACs", "instructions"):
        table.add_column(heading, justify="right")
    table.add_column("share")
    total = sum(layer.instructions or 0 for layer in report.layers)
    for layer in report.layers:
        share = (layer.instructions or 0) / total if total else 0.0
        table.add_row(
            Text(layer.name),
            layer.operator,
            _encoding(layer),
            _count(layer.weight_bytes) if layer.encoding else "-",
            _count(layer.table_bytes),
            _count(layer.macs) if layer.macs else "-",
            _count(layer.instructions),
            _bar(share),
        )
    return table


def _encoding(layer: Layer) -> str:
    if not layer.encoding:
        return "-"
    return f"{layer.encoding}, {layer.bits} bit, {layer.distinct_values} values"


def _footprint(report: Report) -> Table:
    flash, ram = report.flash, report.ram
    table = Table(title="Footprint", expand=False)
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("planned", justify="right")
    rows: tuple[tuple[str, int | None, int | None], ...] = (
        ("flash, bytes", flash.total, None),
        ("  code", flash.code, None),
        ("  weights", flash.weights, flash.planned_weights),
        ("  tables", flash.tables, None),
        ("RAM, bytes", ram.total, None),
        ("  arena", ram.arena, ram.planned_arena),
        ("  stack", ram.stack, None),
        ("  static", ram.static, None),
        ("instructions per inference", report.instructions, None),
    )
    for name, measured, planned in rows:
        table.add_row(name, _count(measured), "" if planned is None else _count(planned))
    return table


def _accuracy(report: Report) -> str | None:
    found = report.accuracy
    if found.float_ is None or found.int8 is None:
        return None
    device = "not run" if found.device is None else f"{100 * found.device:.2f} %"
    return (
        f"accuracy on {found.samples:,} samples: float {100 * found.float_:.2f} %, "
        f"int8 {100 * found.int8:.2f} %, device {device}"
    )


def _gate(gate: Gate) -> str:
    found = "not measured" if gate.found is None else f"{gate.found:,.10g}"
    mark = "[green]within[/]" if gate.passed else "[red]over[/]"
    return f"{mark} {gate.name}: {found} of {gate.limit:,.10g} {gate.unit}"


def _failure(rung: Rung) -> Text:
    text = Text(f"{rung.rung} differs from {rung.compared_with}: ", "red")
    text.append(f"{rung.tolerance} was required")
    first = rung.first_mismatch
    if first is not None:
        text.append(
            f"; first at tensor {first['tensor']}, sample {first['sample']}, index "
            f"{list(first['index'])}: {first['found']} where {first['expected']} was expected "
            f"({first['differing_elements']} elements of that tensor differ)"
        )
    return text
