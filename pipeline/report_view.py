"""The report for people: what holds, what was not checked, and where flash, RAM and time go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgefactor.export.c_code.layer_code import STRIPE_MARK
from edgefactor.pipeline.checking.footprint import NO_KERNEL
from edgefactor.pipeline.report import Gate, Layer, Report, Rung

_BAR_WIDTH = 6


def render(report: Report, console: Console) -> None:
    """Print a report to a terminal."""
    console.print()
    console.print(Text(f"{report.model} on {report.target}", "bold"))
    console.print(_ladder(report))
    console.print(_layers(report))
    if report.activations and report.activations["wide"]:
        console.print(_activations(report.activations))
    elif report.activations:
        found = _decibels(report.activations["int8_sqnr_db"])
        text = f"the outputs are at {found} on the calibration data; 16-bit activations do not help"
        console.print(_marked("note", "yellow", text))
    console.print(_footprint(report))
    if report.flash.kernels:
        console.print(_kernels(report))
    accuracy = _accuracy(report)
    if accuracy is not None:
        console.print(accuracy)
    for gate in report.gates:
        console.print(_gate(gate))
    for note in report.notes:
        console.print(_marked("note", "yellow", note))
    for entry in report.not_verified:
        console.print(_marked("not verified", "yellow", f"{entry.what}: {entry.reason}"))
    for rung in report.parity:
        if not rung.passed:
            console.print(_failure(rung))
    verdict = Text("everything that ran is within its limits", "green")
    console.print(verdict if report.ok else Text("not within its limits", "red"))


def failures(report: Report) -> tuple[str, ...]:
    """One line for every rung and limit that does not hold."""
    return (
        *(_gate(gate).plain for gate in report.gates if not gate.passed),
        *(_failure(rung).plain for rung in report.parity if not rung.passed),
    )


def _marked(mark: str, style: str, text: str) -> Text:
    """Names come from strangers' files, so nothing is read as rich's markup."""
    return Text.assemble((mark, style), " ", text)


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _short(value: int) -> str:
    return f"{value:,}" if value < 10**6 else f"{value / 10**6:,.1f} M"


def _decibels(value: float | None) -> str:
    return "equal" if value is None or math.isinf(value) else f"{value:.0f} dB"


def _ladder(report: Report) -> Table:
    """Rungs by number, so that the comparison fits a narrow terminal."""
    table = Table(
        title="Ladder (=: every element must be equal; int8 differences in codes)",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("rung", no_wrap=True)
    for heading in ("vs", "inputs", "elements", "differ", "largest", "SQNR", "class"):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = {rung.rung: str(number) for number, rung in enumerate(report.parity, start=1)}
    for number, rung in enumerate(report.parity, start=1):
        real = rung.unit == "real"
        agreement = rung.argmax_agreement
        table.add_row(
            Text("ok", "green") if rung.passed else Text("NO", "red"),
            str(number),
            Text(rung.rung),
            Text(f"{'= ' if rung.exact_required else ''}{shown.get(rung.compared_with, 'torch')}"),
            _count(rung.samples),
            _short(rung.elements),
            _short(rung.differing_elements),
            f"{rung.max_difference:.2g}" if real else str(rung.max_difference),
            _decibels(rung.sqnr_db),
            "-" if agreement is None else f"{100 * agreement:.0f} %",
        )
    return table


def _bar(share: float) -> str:
    return "█" * max(1 if share > 0 else 0, round(_BAR_WIDTH * share))


def _whole_layers(layers: tuple[Layer, ...]) -> list[Layer]:
    """Layers that run anything; the stripes of one put together, in the place of the first."""
    merged: dict[tuple[str, str], Layer] = {}
    for layer in layers:
        if layer.kernel == NO_KERNEL:
            continue
        name = layer.name.split(STRIPE_MARK)[0]
        before = merged.setdefault((name, layer.operator), layer)
        if before is not layer:
            merged[name, layer.operator] = replace(
                before,
                name=name,
                weight_bytes=before.weight_bytes + layer.weight_bytes,
                macs=before.macs + layer.macs,
                instructions=(before.instructions or 0) + (layer.instructions or 0) or None,
            )
    return list(merged.values())


def _layers(report: Report) -> Table:
    table = Table(
        title="Layers on the device (weights and tables in bytes)",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("layer", overflow="fold", min_width=16)
    table.add_column("operator", no_wrap=True)
    table.add_column("bits", no_wrap=True)
    for heading in ("weights", "tables", "MACs", "instructions"):
        table.add_column(heading, justify="right")
    table.add_column("")
    total = sum(layer.instructions or 0 for layer in report.layers)
    for layer in _whole_layers(report.layers):
        share = (layer.instructions or 0) / total if total else 0.0
        table.add_row(
            Text(layer.name),
            layer.operator,
            _encoding(layer),
            _count(layer.weight_bytes) if layer.encoding else "",
            _count(layer.table_bytes) if layer.table_bytes else "",
            _count(layer.macs) if layer.macs else "",
            _count(layer.instructions),
            _bar(share),
        )
    return table


def _encoding(layer: Layer) -> str:
    if not layer.encoding:
        return ""
    return f"{layer.encoding} {layer.bits}"


def _activations(found: Mapping[str, Any]) -> Table:
    """The 16-bit activations and why."""
    table = Table(
        title=f"16-bit activations: the outputs are at {_decibels(found['sqnr_db'])} instead of "
        f"{_decibels(found['int8_sqnr_db'])}",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("tensor", overflow="fold", min_width=16)
    table.add_column("why")
    for entry in found["wide"]:
        table.add_row(Text(entry["tensor"]), Text(entry["reason"]))
    return table


def _footprint(report: Report) -> Table:
    flash, ram = report.flash, report.ram
    table = Table(title="Footprint", box=SIMPLE_HEAD, padding=0, pad_edge=False)
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
    if ram.weights:
        weights = ("  weights decoded at start-up", ram.weights, ram.weights)
        rows = (*rows[:6], weights, *rows[6:])
        rows = (*rows, ("instructions at start-up", report.start_up_instructions, None))
    for name, measured, planned in rows:
        table.add_row(name, _count(measured), "" if planned is None else _count(planned))
    return table


def _kernels(report: Report) -> Table:
    """Code by C file, and for how many layers it is there."""
    table = Table(title="Code of the kernels, bytes", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("file", no_wrap=True)
    table.add_column("bytes", justify="right")
    table.add_column("layers", justify="right")
    layers = _whole_layers(report.layers)
    for file, size in report.flash.kernels.items():
        users = sum(file in layer.kernel_files for layer in layers)
        table.add_row(file, _count(size), _count(users))
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


def _gate(gate: Gate) -> Text:
    found = "not measured" if gate.found is None else f"{gate.found:,.10g}"
    mark, style = ("within", "green") if gate.passed else ("over", "red")
    return _marked(mark, style, f"{gate.name}: {found} of {gate.limit:,.10g} {gate.unit}")


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
