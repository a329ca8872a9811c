"""The stages of an export and of a check, in order. The only file that knows them all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from edgefactor.errors import BudgetError, MissingToolError
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import CSources, write_c
from edgefactor.export.cmake_writer import write_cmake
from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.platform_writer import write_platforms
from edgefactor.export.serialize import to_json
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.pipeline import bundle
from edgefactor.pipeline.bundle import C_FOLDER, FLOAT_ONNX, GRAPH, INT8_ONNX, REPORT, TFLITE
from edgefactor.pipeline.checking import ladder
from edgefactor.pipeline.checking.checks import Extent, Limits, Subject, finish
from edgefactor.pipeline.config import CheckOptions, ExportOptions, Progress
from edgefactor.pipeline.float_stages import (
    SHARING_SAMPLES,
    calibration_samples,
    float_rungs,
    float_stages,
    quantized,
    run_float,
)
from edgefactor.pipeline.inputs.carried import (
    check_states,
    find_states,
    of_data,
    shapes_with_states,
)
from edgefactor.pipeline.inputs.example import choose_inputs, index_limits, input_names, try_model
from edgefactor.pipeline.inputs.samples import (
    check_classes,
    no_data,
    read_data,
    settle_data,
    with_states,
)
from edgefactor.pipeline.load import load
from edgefactor.pipeline.memory_fit import arena_budget, fit_ram
from edgefactor.pipeline.opened import open_bundle
from edgefactor.pipeline.records import c_normalization, c_prefix, recorded, versions
from edgefactor.pipeline.report import NotVerified, Report
from edgefactor.pipeline.sharing_at_export.flash_budget import Linked, fit_flash
from edgefactor.pipeline.sharing_at_export.share_codes import observe_inputs
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.memory import flash_use
from edgefactor.runtime.support import support_files
from edgefactor.targets.catalogue import load_target
from edgefactor.targets.description import Target


def export(options: ExportOptions, progress: Progress = lambda _: None) -> Report:
    """Turn a PyTorch model into a checked bundle.

    Args:
        options: What to export, for which target, checked with which data.
        progress: Called with the name of each stage as it starts.

    Returns:
        The report; ``report.ok`` says whether every rung and every limit holds. The bundle is
        written either way, so that a failure can be looked at.

    Raises:
        EdgefactorError: Nothing was written: the model, data, target or output folder is wrong.
    """
    target = load_target(options.target)
    bundle.check_output(options.bundle)
    progress("loading the model")
    loaded = load(options.model, factory=options.factory, trust_pickle=options.trust_pickle)
    calibration, evaluation = read_data(options, loaded)
    known = calibration or evaluation
    names = input_names(loaded)
    states = find_states(options.stateful, names)
    known_shapes = known.shapes if known else None
    wanted = shapes_with_states(options.input_shapes, known_shapes, names, states)
    example = choose_inputs(loaded, wanted, known_shapes)
    outputs = try_model(loaded, example)
    shapes = tuple(tuple(int(size) for size in tensor.shape) for tensor in example)
    check_states(states, shapes, [tuple(output.shape) for output in outputs])
    data = settle_data(
        options,
        calibration,
        evaluation,
        of_data(shapes, states),
        of_data(index_limits(loaded, example), states),
    )
    if len(outputs) == 1:
        check_classes(data.evaluation, tuple(outputs[0].shape))
    prefix = c_prefix(options)
    if states:
        progress("running the sequence")
        data = with_states(data, loaded, states, shapes, options.samples)
    stages = float_stages(loaded, example, prefix, progress, states)
    int8 = quantized(stages.graph, data.calibration, options, progress)
    limits = Limits.of_export(options, target)
    c_target = _c_target(target, recorded(options, target))
    if options.share == "auto":
        samples = calibration_samples(stages.graph, data.calibration)
        int8 = fit_flash(
            stages.graph,
            int8,
            observe_inputs(stages.graph, samples[:SHARING_SAMPLES]),
            samples,
            c_target,
            lambda graph: _linked(graph, c_target, target),
            flash_bytes=limits.flash_bytes,
            keep=options.keep,
            # What made-up inputs lead to is no network to follow.
            tuned=options.tune and not data.calibration.random,
            progress=progress,
        )
    int8 = fit_ram(int8, c_target, progress)
    progress("writing ONNX, TFLite and C")
    sources = write_c(
        int8,
        c_target,
        prefix=prefix,
        normalization=c_normalization(options.normalization),
    )
    with bundle.writing(options.bundle) as folder:
        _write_files(folder, stages.simplified, int8, sources, target)
        findings = ladder.Findings(
            not_verified=list(data.not_verified), notes=(*loaded.notes, *data.notes)
        )
        checked = data.evaluation.take(options.samples)
        float_outputs = float_rungs(findings, loaded, stages, checked, progress)
        report = finish(
            Subject(folder=folder, graph=int8, sources=sources, target=target),
            data.evaluation,
            float_outputs,
            _extent(options, limits, options.huffman),
            findings,
            progress,
        )
        _write_report(folder, report)
        bundle.write_manifest(folder, versions=versions(), options=recorded(options, target))
    return report


def check(options: CheckOptions, progress: Progress = lambda _: None) -> Report:
    """Repeat the checks on a finished bundle; its files are read, never written.

    Raises:
        EdgefactorError: The folder is no bundle, was changed, or the data does not fit.
    """
    opened = open_bundle(options.bundle)
    facts, folder = opened.facts, opened.folder
    int8, target = opened.graph, opened.target
    findings = ladder.Findings()
    data = opened.data(options.data, options.samples, options.seed)
    if data.random:
        findings.not_verified.append(no_data("no --data was given"))
    findings.not_verified.append(
        NotVerified(
            what="ONNX against PyTorch",
            reason="a bundle does not hold the PyTorch model; the export compared them",
        )
    )
    sources = write_c(
        int8,
        _c_target(target, facts),
        prefix=str(facts["name"]),
        normalization=c_normalization(opened.normalization),
    )
    progress("onnxruntime float")
    checked = data.take(options.samples)
    feeds = {port.name: a for port, a in zip(int8.inputs, checked.inputs, strict=True)}
    outputs = run_float((folder / FLOAT_ONNX).read_bytes(), feeds, int8)
    drop = options.max_accuracy_drop
    limits = Limits(
        flash_bytes=int(facts["flash_bytes"]),
        ram_bytes=int(facts["ram_bytes"]),
        instructions=facts["instructions"],
        accuracy_drop=float(facts["max_accuracy_drop"]) if drop is None else drop,
    )
    return finish(
        Subject(folder=folder, graph=int8, sources=sources, target=target),
        data,
        outputs,
        _extent(options, limits, str(facts.get("huffman", "auto"))),
        findings,
        progress,
    )


def _extent(options: ExportOptions | CheckOptions, limits: Limits, huffman: str) -> Extent:
    emulated = options.emulated_samples if options.emulate else 0
    return Extent(
        samples=options.samples, emulated_samples=emulated, limits=limits, huffman=huffman
    )


def _c_target(target: Target, facts: Mapping[str, Any]) -> CTarget:
    """What the C is written for, from the options as a manifest keeps them."""
    return CTarget(
        features=IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned),
        optimize=str(facts["optimize"]),
        arena_bytes=arena_budget(int(facts["ram_bytes"])),
        # Bundles of earlier versions have neither.
        huffman=str(facts.get("huffman", "auto")),
        start_up_bytes=int(facts.get("start_up_bytes", 0)),
    )


def _linked(graph: Graph, c_target: CTarget, target: Target) -> Linked | None:
    """What the smallest image with a network takes; None if none can be linked.

    An image that is larger than the emulated board's flash counts as no image.
    """
    if target.board is None:
        return None
    sources = write_c(graph, c_target, prefix="net")
    with TemporaryDirectory(prefix="edgefactor-") as place:
        write_sources(Path(place), sources, target)
        with EmulatedRunner(Path(place) / C_FOLDER, target) as runner:
            try:
                use = flash_use(runner.firmware(), sources.symbols)
            except (MissingToolError, BudgetError):
                return None
    return Linked(
        total_bytes=use.total_bytes,
        weights_bytes=use.weights_bytes,
        sources={source.source: source.size_bytes for source in use.sources},
    )


def _write_files(
    folder: Path, simplified: onnx.ModelProto, int8: Graph, sources: CSources, target: Target
) -> None:
    (folder / FLOAT_ONNX).write_bytes(simplified.SerializeToString(deterministic=True))
    (folder / INT8_ONNX).write_bytes(write_onnx(int8).SerializeToString(deterministic=True))
    (folder / TFLITE).write_bytes(write_tflite(int8))
    (folder / GRAPH).write_text(to_json(int8), encoding="utf-8")
    write_sources(folder, sources, target)


def write_sources(folder: Path, sources: CSources, target: Target) -> None:
    """Write the C folder of a bundle: model, kernels, firmware, harness, build files."""
    texts = dict(sources.files)
    kernels = [Path(name).name for name in sources.files if re.fullmatch(r"kernels/.*\.c", name)]
    texts["CMakeLists.txt"] = write_cmake(sources.prefix, kernels, target)
    texts |= write_platforms(
        sources.prefix,
        kernels,
        inputs=sources.inputs,
        outputs=sources.outputs,
        by_rows=sources.by_rows,
        states=sources.states,
        prepared=sources.prepared_bytes > 0,
    )
    for name, path in support_files(target).items():
        texts[name] = path.read_text(encoding="utf-8")
    for name, text in texts.items():
        place = folder / C_FOLDER / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _write_report(folder: Path, report: Report) -> None:
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False)
    (folder / REPORT).write_text(text + "\n", encoding="utf-8")
