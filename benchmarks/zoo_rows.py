"""Rows of the table of the zoo: what is measured of a network on a target, and how it is shown."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.zoo_cases import Case
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.report import Report
from edgefactor.pipeline.run import export

MAX_LOSS_POINTS = 1.0
MIN_SQNR_DB = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network on one target; sizes in bytes, accuracies as fractions.

    Attributes:
        cpu_seconds: What the export and all checks took, with the programs that they started.
        failed_rungs: Rungs outside their gate.
        not_run: What was not checked, for want of a tool.
    """

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
    cpu_seconds: float

    @property
    def within(self) -> bool:
        """Whether every rung passed and the network is still the same one."""
        if self.float_accuracy is not None and self.device_accuracy is not None:
            lost = 100 * (self.float_accuracy - self.device_accuracy)
            return not self.failed_rungs and lost <= MAX_LOSS_POINTS
        close = self.sqnr_db is None or self.sqnr_db >= MIN_SQNR_DB
        return not self.failed_rungs and close


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A network that could not be measured on a target."""

    network: str
    target: str
    message: str


def cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(case: Case, target: str, samples: int, *, accuracy: bool) -> Row:
    """Export one network and check it on every rung.

    Args:
        case: The network's files.
        target: Name of a target.
        samples: Inputs on every rung, the emulated one too.
        accuracy: Whether to evaluate the labelled inputs, where there are any.

    Raises:
        EdgefactorError: It cannot be exported.
    """
    start = cpu_seconds()
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
        report = export(options)
    return row(report, case, cpu_seconds() - start)


def row(report: Report, case: Case, seconds: float) -> Row:
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
        cpu_seconds=seconds,
    )


LEFT = ("network", "data", "target")
HEADINGS = (
    *LEFT,
    *("layers", "MACs", "weights", "instructions", "flash", "arena", "RAM"),
    *("float", "device", "of", "SNR dB", "exact", "differing"),
    "failed or not run",
)


def cells(found: Row | Failure) -> tuple[str, ...]:
    """A row as text, in the order of ``HEADINGS``."""
    if isinstance(found, Failure):
        dashes = ("-",) * (len(HEADINGS) - 4)
        return (found.network, "-", found.target, *dashes, " ".join(found.message.split()))
    sizes = (found.instructions, found.flash_bytes, found.arena_bytes, found.ram_bytes)
    shares = (found.float_accuracy, found.device_accuracy)
    return (
        found.network,
        found.data,
        found.target,
        str(found.layers),
        f"{found.macs:,}",
        f"{found.weight_bytes:,}",
        *("-" if size is None else f"{size:,}" for size in sizes),
        *("-" if share is None else f"{100 * share:.2f} %" for share in shares),
        f"{found.evaluated:,}" if found.evaluated else "-",
        "equal" if found.sqnr_db is None else f"{found.sqnr_db:.1f}",
        f"{found.exact_elements:,}",
        str(found.differing_elements),
        ", ".join((*found.failed_rungs, *found.not_run)),
    )


def line(found: Row | Failure) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells(found))} |"


def markdown(rows: list[Row | Failure]) -> str:
    """The table for a page of docs."""
    marks = ("---" if heading in LEFT else "---:" for heading in HEADINGS)
    head = (f"| {' | '.join(texts)} |" for texts in (HEADINGS, marks))
    return "\n".join((*head, *(line(found) for found in rows)))
