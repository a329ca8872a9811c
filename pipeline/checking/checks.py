"""The int8 half of every check: rungs, accuracy, footprint and limits, put into one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import BudgetError, MissingToolError
from edgefactor.export.arena.stripe_search import recorded
from edgefactor.export.c_writer import CSources
from edgefactor.export.ir import Graph
from edgefactor.export.ports import input_rows
from edgefactor.pipeline.bundle import C_FOLDER
from edgefactor.pipeline.checking import footprint, ladder
from edgefactor.pipeline.checking.evaluate import NO_ACCURACY, measure_accuracy
from edgefactor.pipeline.checking.ties import tie_excuse, tie_notes
from edgefactor.pipeline.config import ExportOptions, Progress
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.memory_fit import start_up_notes, stripe_notes
from edgefactor.pipeline.report import Accuracy, Gate, Report
from edgefactor.pipeline.sharing_at_export.flash_budget import flash_notes
from edgefactor.pipeline.widths.choice import recorded_widths
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.targets.description import Target

#: In percentage points, where the user sets no limit: more than that is not the same network.
DEFAULT_ACCURACY_DROP = 5.0
#: Fewer labelled samples say too little about accuracy to fail an export.
MIN_LABELLED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the result must stay within; 0 or None is no limit."""

    flash_bytes: int
    ram_bytes: int
    instructions: int | None
    accuracy_drop: float

    @classmethod
    def of_export(cls, options: ExportOptions, target: Target) -> Limits:
        """What the user set, and the target's own sizes where nothing was set."""
        drop = options.max_accuracy_drop
        return cls(
            flash_bytes=options.flash_bytes or target.flash_bytes,
            ram_bytes=options.ram_bytes or target.ram_bytes,
            instructions=options.instructions,
            accuracy_drop=DEFAULT_ACCURACY_DROP if drop is None else drop,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is checked: the files of a bundle and what they were written from."""

    folder: Path
    graph: Graph
    sources: CSources
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How far to check.

    Attributes:
        samples: Inputs compared on each rung that runs on this computer.
        emulated_samples: Inputs compared in the emulator; 0 to leave it out.
        limits: What the result must stay within.
        huffman: How Huffman codes were asked for, for a note where there are none.
    """

    samples: int
    emulated_samples: int
    limits: Limits
    huffman: str = "auto"


def finish(
    subject: Subject,
    data: Dataset,
    float_outputs: Sequence[NDArray[np.float32]],
    extent: Extent,
    findings: ladder.Findings,
    progress: Progress,
) -> Report:
    """The rungs below the float model, accuracy, footprint and limits.

    Args:
        subject: The bundle.
        data: Evaluation data; its first samples climb the ladder, all of them give the accuracy.
        float_outputs: Outputs of the simplified float model for the samples of the ladder.
        extent: Samples and limits.
        findings: What the rungs above have found; more is added.
        progress: Called with the name of each step.
    """
    int8, sources, target = subject.graph, subject.sources, subject.target
    steps = ladder.Int8Ladder(int8, subject.folder, target, data.take(extent.samples), progress)
    findings.rungs.append(steps.quantization(float_outputs, "onnxruntime simplified"))
    excuse = tie_excuse(int8)
    ladder.attempt(findings, "ONNX Runtime int8", steps.onnxruntime, excuse)
    if steps.fatal:
        findings.leave_out("LiteRT reference, TFLM", steps.fatal)
    else:
        ladder.attempt(findings, "LiteRT reference", lambda: steps.litert(reference=True))
        ladder.attempt(findings, "TFLM", steps.tflm)
    ladder.attempt(findings, "LiteRT default", lambda: steps.litert(reference=False), excuse)
    accuracy = _host_rungs(findings, steps, data, progress)
    measured = _emulated_rungs(findings, steps, sources, extent.emulated_samples, progress)
    count = measured.instructions if measured else None
    start_up = measured.start_up if measured else None
    gates = _gates(findings, sources, measured, accuracy, extent.limits)
    return Report(
        model=int8.name,
        target=target.name,
        parity=tuple(findings.rungs),
        accuracy=accuracy,
        layers=footprint.layers(int8, sources, measured),
        flash=footprint.flash(sources, measured),
        ram=footprint.ram(sources, measured),
        instructions=count.per_inference if count else None,
        gates=gates,
        verified=_verified(findings, accuracy, data),
        not_verified=tuple(findings.not_verified),
        notes=(
            *findings.notes,
            *tie_notes(int8),
            *flash_notes(int8),
            *stripe_notes(int8),
            *start_up_notes(sources.code.values(), sources.prepared_bytes, extent.huffman),
        ),
        stripes=recorded(int8),
        activations=recorded_widths(int8),
        start_up_instructions=start_up.instructions if start_up else None,
    )


def _host_rungs(
    findings: ladder.Findings, steps: ladder.Int8Ladder, data: Dataset, progress: Progress
) -> Accuracy:
    with ladder.host_runner(steps) as runner:
        count = len(findings.rungs)
        ladder.attempt(
            findings, "C on the host", lambda: steps.c_code(runner, "c host", len(steps.inputs[0]))
        )
        usable = runner if len(findings.rungs) > count else None
        progress("measuring accuracy")
        accuracy = measure_accuracy(steps.graph, steps.folder, data, usable)
    if accuracy is NO_ACCURACY and not data.random:
        why = "the data has no labels" if data.labels is None else "the output is no class scores"
        findings.leave_out("accuracy", why)
    return accuracy


def _emulated_rungs(
    findings: ladder.Findings,
    steps: ladder.Int8Ladder,
    sources: CSources,
    samples: int,
    progress: Progress,
) -> footprint.Measured | None:
    running = "C on emulated Arm, RAM and instructions"
    if steps.target.board is None:
        reason = f"target {steps.target.name} has no emulated board"
        findings.leave_out(f"{running}, flash", reason)
        return None
    with EmulatedRunner(steps.folder / C_FOLDER, steps.target) as runner:
        progress("measuring flash")
        try:
            measured = footprint.measure_flash(runner, sources)
        except MissingToolError as error:
            findings.skip(f"{running}, flash", error)
            return None
        except BudgetError as error:
            findings.leave_out(f"{running}, flash", f"{error.message}: {error.found}")
            return None
        if samples == 0:
            findings.leave_out(running, "--no-emulate was given")
            return measured
        try:
            name = f"c emulated {steps.target.name}"
            findings.rungs.append(steps.c_code(runner, name, samples))
            progress("measuring RAM and instructions")
            rows = input_rows(steps.graph, steps.codes)[: min(samples, 2)]
            return footprint.measure_running(runner, measured, rows, sources)
        except MissingToolError as error:
            findings.skip(running, error)
            return measured
        except BudgetError as error:
            findings.leave_out(running, f"{error.message}: {error.found}")
            return measured


def _gates(
    findings: ladder.Findings,
    sources: CSources,
    measured: footprint.Measured | None,
    accuracy: Accuracy,
    limits: Limits,
) -> tuple[Gate, ...]:
    """The limits. What was not measured can miss a limit by what is known of it, never meet it."""
    gates = []
    weights = sum(layer.weight_bytes for layer in sources.code.values())
    flash = measured.flash.total_bytes if measured else None
    ram = measured.ram.total_bytes if measured and measured.ram else None
    count = measured.instructions.per_inference if measured and measured.instructions else None
    least_ram = sources.plan.arena_bytes + sources.prepared_bytes
    for name, limit, found, least, unit in (
        ("flash", limits.flash_bytes, flash, weights, "bytes"),
        ("ram", limits.ram_bytes, ram, least_ram, "bytes"),
        ("instructions", limits.instructions, count, 0, "instructions"),
    ):
        if not limit:
            continue
        if found is None and least <= limit:
            reason = f"not measured; at least {least:,}" if least else "not measured"
            findings.leave_out(f"{name} within {limit:,} {unit}", reason)
            continue
        known = least if found is None else found
        gates.append(Gate(name=name, limit=limit, found=known, unit=unit, passed=known <= limit))
    drop = accuracy.drop_points
    if drop is not None and accuracy.samples >= MIN_LABELLED:
        gates.append(
            Gate(
                name="accuracy drop",
                limit=limits.accuracy_drop,
                found=drop,
                unit="percentage points",
                passed=drop <= limits.accuracy_drop,
            )
        )
    return tuple(gates)


def _verified(findings: ladder.Findings, accuracy: Accuracy, data: Dataset) -> tuple[str, ...]:
    kind = "random inputs" if data.random else "real inputs"
    lines = [
        f"{rung.rung}: {rung.elements:,} elements of {rung.tensors} tensors equal to "
        f"{rung.compared_with} over {rung.samples} {kind}"
        if rung.exact_required
        else f"{rung.rung}: {rung.tolerance}, against {rung.compared_with} over "
        f"{rung.samples} {kind}"
        for rung in findings.rungs
        if rung.passed
    ]
    if accuracy.device is not None:
        lines.append(f"accuracy on {accuracy.samples:,} labelled samples")
    return tuple(lines)
