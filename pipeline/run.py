"""The stages of an export and of a check, in order. The only file that knows them all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import edgefactor
from edgefactor.errors import DataError, MissingToolError, OptionError
from edgefactor.export import c_text
from edgefactor.export.c_writer import CSources, Normalization, write_c
from edgefactor.export.ir import Graph
from edgefactor.export.layer_code import CTarget, IsaFeatures
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ports import input_rows
from edgefactor.export.serialize import from_json, to_json
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.pipeline import bundle, footprint, ladder
from edgefactor.pipeline.bundle import C_FOLDER, FLOAT_ONNX, GRAPH, INT8_ONNX, REPORT, TFLITE
from edgefactor.pipeline.calibrate import DEFAULT_METHOD, calibrate
from edgefactor.pipeline.config import CheckOptions, ExportOptions, Progress
from edgefactor.pipeline.data import Dataset, check_labels, check_shapes, random_data, read
from edgefactor.pipeline.evaluate import NO_ACCURACY, measure_accuracy
from edgefactor.pipeline.example import choose_inputs, input_names, try_model
from edgefactor.pipeline.fuse import fuse
from edgefactor.pipeline.load import LoadedModel, load
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.report import Accuracy, Gate, NotVerified, Report
from edgefactor.pipeline.shared_values import keep_shared_values
from edgefactor.pipeline.simplify import simplify
from edgefactor.pipeline.trace import to_onnx
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.onnxruntime_runner import OnnxRuntimeRunner
from edgefactor.runtime.support import support_files
from edgefactor.targets.catalogue import load_target
from edgefactor.targets.description import Target

#: Samples that ranges are taken from; more change little and cost time.
CALIBRATION_SAMPLES = 512
#: In percentage points, where the user sets no limit: more than that is not the same network.
DEFAULT_ACCURACY_DROP = 5.0
#: Fewer labelled samples say too little about accuracy to fail an export.
MIN_LABELLED = 100
_PACKAGES = (
    "ai-edge-litert", "flatbuffers", "numpy", "onnx", "onnxruntime", "onnxsim", "tflite-micro",
    "torch",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Data:
    """Calibration and evaluation data, and what to say of them."""

    calibration: Dataset
    evaluation: Dataset
    notes: tuple[str, ...]
    not_verified: tuple[NotVerified, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _FloatStages:
    """The float model in all the forms it went through."""

    traced: onnx.ModelProto
    simplified: onnx.ModelProto
    graph: Graph


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
    raw = _read_data(options, loaded)
    example = choose_inputs(
        loaded, options.input_shapes, raw[0].shapes if raw and raw[0] is not None else None
    )
    try_model(loaded, example)
    shapes = tuple(tuple(int(size) for size in tensor.shape) for tensor in example)
    data = _settle_data(options, raw, shapes)
    prefix = options.name or c_text.identifier(options.model.stem).lower()
    stages = _float_stages(loaded, example, prefix, progress)
    int8 = _quantized(stages.graph, data.calibration, options, progress)
    progress("writing ONNX, TFLite and C")
    sources = write_c(
        int8,
        _c_target(target, options.optimize),
        prefix=prefix,
        normalization=_c_normalization(options),
    )
    with bundle.writing(options.bundle) as folder:
        _write_files(folder, stages.simplified, int8, sources, target)
        findings = ladder.Findings(not_verified=list(data.not_verified))
        checked = data.evaluation.take(options.samples)
        outputs = _float_rungs(findings, loaded, stages, checked, progress)
        report = _finish(
            findings,
            folder,
            int8,
            sources,
            target,
            data.evaluation,
            outputs,
            _Limits.of_export(options, target),
            options.emulated_samples if options.emulate else 0,
            options.samples,
            (*loaded.notes, *data.notes),
            progress,
        )
        _write_report(folder, report)
        bundle.write_manifest(folder, versions=_versions(), options=_recorded(options, target))
    return report


def check(options: CheckOptions, progress: Progress = lambda _: None) -> Report:
    """Repeat the checks on a finished bundle; its files are read, never written.

    Raises:
        EdgefactorError: The folder is no bundle, was changed, or the data does not fit.
    """
    manifest = bundle.read_manifest(options.bundle)
    recorded: Mapping[str, Any] = manifest["options"]
    folder = options.bundle
    int8 = from_json((folder / GRAPH).read_text(encoding="utf-8"), str(folder / GRAPH))
    target = load_target(str(recorded["target"]))
    normalization = recorded["normalization"]
    shapes = tuple(port.shape for port in int8.inputs)
    names = tuple(port.name for port in int8.inputs)
    findings = ladder.Findings()
    if options.data is None:
        data = random_data(shapes, options.samples, options.seed)
        findings.not_verified.append(_no_data("no --data was given"))
    else:
        data = read(
            options.data,
            names=names,
            shapes=shapes,
            normalization=_normalization(normalization),
        )
        _check_classes(data, int8.outputs[0].shape)
    findings.not_verified.append(
        NotVerified(
            what="ONNX against PyTorch",
            reason="a bundle does not hold the PyTorch model; the export compared them",
        )
    )
    sources = write_c(
        int8,
        _c_target(target, str(recorded["optimize"])),
        prefix=str(recorded["name"]),
        normalization=_c_normalization_of(normalization),
    )
    progress("onnxruntime float")
    checked = data.take(options.samples)
    feeds = dict(zip(names, checked.inputs, strict=True))
    outputs = _run_float((folder / FLOAT_ONNX).read_bytes(), feeds, int8)
    drop = options.max_accuracy_drop
    limits = _Limits(
        flash_bytes=int(recorded["flash_bytes"]),
        ram_bytes=int(recorded["ram_bytes"]),
        instructions=recorded["instructions"],
        accuracy_drop=float(recorded["max_accuracy_drop"]) if drop is None else drop,
    )
    return _finish(
        findings,
        folder,
        int8,
        sources,
        target,
        data,
        outputs,
        limits,
        options.emulated_samples if options.emulate else 0,
        options.samples,
        (),
        progress,
    )


# -- data -----------------------------------------------------------------------------------------


def _read_data(
    options: ExportOptions, loaded: LoadedModel
) -> tuple[Dataset | None, Dataset | None] | None:
    """Calibration and evaluation data as the user named them, before shapes are known."""
    if options.calibration is None and options.data is None:
        return None
    names = input_names(loaded)
    sets: list[Dataset | None] = []
    for option, place in (("--calibration", options.calibration), ("--data", options.data)):
        if place is None:
            sets.append(None)
            continue
        sets.append(
            read(place, option=option, names=names, normalization=options.normalization)
        )
    if sets[0] is None:
        return sets[1], sets[1]
    return sets[0], sets[1]


def _settle_data(
    options: ExportOptions,
    raw: tuple[Dataset | None, Dataset | None] | None,
    shapes: Sequence[tuple[int, ...]],
) -> _Data:
    if raw is None or raw[0] is None:
        noise = random_data(shapes, options.samples, options.seed)
        return _Data(
            calibration=noise,
            evaluation=noise,
            notes=("calibrated on random inputs: the scales do not fit real data",),
            not_verified=(_no_data("no --calibration and no --data was given"),),
        )
    calibration, evaluation = raw
    check_shapes(calibration, shapes, option="--calibration" if options.calibration else "--data")
    if options.calibration is None:
        return _Data(
            calibration=calibration,
            evaluation=calibration,
            notes=("calibrated on the evaluation data: no --calibration was given",),
            not_verified=(),
        )
    if evaluation is None:
        return _Data(
            calibration=calibration,
            evaluation=calibration,
            notes=("evaluated on the calibration data: no --data was given",),
            not_verified=(),
        )
    check_shapes(evaluation, shapes, option="--data")
    return _Data(calibration=calibration, evaluation=evaluation, notes=(), not_verified=())


def _no_data(reason: str) -> NotVerified:
    return NotVerified(
        what="accuracy", reason=f"{reason}: random inputs were used, which show nothing of it"
    )


def _check_classes(data: Dataset, shape: tuple[int, ...]) -> None:
    if len(shape) == 2:
        check_labels(data, shape[1])


# -- stages ---------------------------------------------------------------------------------------


def _float_stages(
    loaded: LoadedModel, example: Sequence[Any], name: str, progress: Progress
) -> _FloatStages:
    progress("tracing to ONNX")
    traced = to_onnx(loaded, example)
    progress("simplifying")
    simplified = simplify(traced)
    progress("lowering")
    graph = lower(simplified.model, name=name, source_of=simplified.source_of)
    graph = fuse(validate(graph, "lower"))
    state = {
        key: np.asarray(value.detach().cpu().numpy(), np.float32)
        for key, value in loaded.module.state_dict().items()
        if value.is_floating_point()
    }
    graph = keep_shared_values(graph, state)
    return _FloatStages(traced=traced.model, simplified=simplified.model, graph=graph)


def _quantized(
    graph: Graph, calibration: Dataset, options: ExportOptions, progress: Progress
) -> Graph:
    taken = calibration.take(CALIBRATION_SAMPLES)
    progress(f"calibrating on {taken.samples} samples")
    names = [port.name for port in graph.inputs]
    samples = [
        dict(zip(names, taken.sample(index), strict=True)) for index in range(taken.samples)
    ]
    method = next(
        (m for m in ("min-max", "percentile", "entropy", "mse") if m == options.calibration_method),
        DEFAULT_METHOD,
    )
    ranges = calibrate(graph, samples, method=method)
    progress("quantizing")
    return validate(quantize(graph, ranges), "quantize", quantized=True)


def _c_target(target: Target, optimize: str) -> CTarget:
    policy = "speed" if optimize == "speed" else "size" if optimize == "size" else "balanced"
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    return CTarget(features=features, optimize=policy)


def _write_files(
    folder: Path, simplified: onnx.ModelProto, int8: Graph, sources: CSources, target: Target
) -> None:
    (folder / FLOAT_ONNX).write_bytes(simplified.SerializeToString(deterministic=True))
    (folder / INT8_ONNX).write_bytes(write_onnx(int8).SerializeToString(deterministic=True))
    (folder / TFLITE).write_bytes(write_tflite(int8))
    (folder / GRAPH).write_text(to_json(int8), encoding="utf-8")
    texts = dict(sources.files)
    for name, path in support_files(target).items():
        texts[name] = path.read_text(encoding="utf-8")
    for name, text in texts.items():
        place = folder / C_FOLDER / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _write_report(folder: Path, report: Report) -> None:
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False)
    (folder / REPORT).write_text(text + "\n", encoding="utf-8")


# -- checking -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """What the result must stay within; 0 or None is no limit."""

    flash_bytes: int
    ram_bytes: int
    instructions: int | None
    accuracy_drop: float

    @classmethod
    def of_export(cls, options: ExportOptions, target: Target) -> _Limits:
        drop = options.max_accuracy_drop
        return cls(
            flash_bytes=options.flash_bytes or target.flash_bytes,
            ram_bytes=options.ram_bytes or target.ram_bytes,
            instructions=options.instructions,
            accuracy_drop=DEFAULT_ACCURACY_DROP if drop is None else drop,
        )


def _run_float(
    model: bytes, feeds: Mapping[str, NDArray[np.float32]], graph: Graph
) -> list[NDArray[np.float32]]:
    names = [port.name for port in graph.outputs]
    values = OnnxRuntimeRunner(model).run(feeds, names)
    count = len(next(iter(feeds.values())))
    return [
        np.asarray(values[port.name], np.float32).reshape(count, *port.shape[1:])
        for port in graph.outputs
    ]


def _float_rungs(
    findings: ladder.Findings,
    loaded: LoadedModel,
    stages: _FloatStages,
    data: Dataset,
    progress: Progress,
) -> list[NDArray[np.float32]]:
    """PyTorch -> traced ONNX -> simplified ONNX -> float Graph; returns the simplified outputs."""
    import torch

    progress("pytorch")
    graph = stages.graph
    rows = []
    for index in range(data.samples):
        sample = [torch.from_numpy(array) for array in data.sample(index)]
        rows.append([output.numpy() for output in try_model(loaded, sample)])
    before = [
        np.concatenate([row[i] for row in rows]).reshape(data.samples, *port.shape[1:])
        for i, port in enumerate(graph.outputs)
    ]
    above = "pytorch"
    feeds = dict(zip([port.name for port in graph.inputs], data.inputs, strict=True))
    simplified: list[NDArray[np.float32]] = []
    for name, model in (
        ("onnxruntime traced", stages.traced),
        ("onnxruntime simplified", stages.simplified),
        ("onnxruntime lowered", write_onnx(graph)),
    ):
        progress(name)
        found = _run_float(model.SerializeToString(), feeds, graph)
        findings.rungs.append(ladder.real_rung(name, above, before, found))
        before, above = found, name
        if name == "onnxruntime simplified":
            simplified = found
    return simplified


def _finish(
    findings: ladder.Findings,
    folder: Path,
    int8: Graph,
    sources: CSources,
    target: Target,
    data: Dataset,
    float_outputs: Sequence[NDArray[np.float32]],
    limits: _Limits,
    emulated_samples: int,
    samples: int,
    notes: tuple[str, ...],
    progress: Progress,
) -> Report:
    """The rungs below the float model, accuracy, footprint and limits."""
    checked = data.take(samples)
    steps = ladder.Int8Ladder(int8, folder, target, checked, progress)
    findings.rungs.append(steps.quantization(float_outputs, "onnxruntime simplified"))
    ladder.attempt(findings, "ONNX Runtime int8", steps.onnxruntime)
    ladder.attempt(findings, "LiteRT reference", lambda: steps.litert(reference=True))
    ladder.attempt(findings, "LiteRT default", lambda: steps.litert(reference=False))
    ladder.attempt(findings, "TFLM", steps.tflm)
    accuracy = _host_rungs(findings, steps, data, progress)
    measured = _emulated_rungs(findings, steps, sources, emulated_samples, progress)
    gates = _gates(sources, measured, accuracy, limits)
    return Report(
        model=int8.name,
        target=target.name,
        parity=tuple(findings.rungs),
        accuracy=accuracy,
        layers=footprint.layers(int8, sources, measured),
        flash=footprint.flash(sources, measured),
        ram=footprint.ram(sources, measured),
        instructions=measured.instructions.per_inference if measured else None,
        gates=gates,
        verified=_verified(findings, accuracy, data),
        not_verified=tuple(findings.not_verified),
        notes=notes,
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
        findings.not_verified.append(NotVerified(what="accuracy", reason=why))
    return accuracy


def _emulated_rungs(
    findings: ladder.Findings,
    steps: ladder.Int8Ladder,
    sources: CSources,
    samples: int,
    progress: Progress,
) -> footprint.Measured | None:
    what = "C on emulated Arm, flash, RAM and instructions"
    if steps.target.board is None:
        findings.not_verified.append(
            NotVerified(what=what, reason=f"target {steps.target.name} has no emulated board")
        )
        return None
    if samples == 0:
        findings.not_verified.append(NotVerified(what=what, reason="--no-emulate was given"))
        return None
    try:
        with EmulatedRunner(steps.folder / C_FOLDER, steps.target) as runner:
            name = f"c emulated {steps.target.name}"
            findings.rungs.append(steps.c_code(runner, name, samples))
            progress("measuring flash, RAM and instructions")
            rows = input_rows(steps.graph, steps.codes)[: min(samples, 2)]
            return footprint.measure(runner, sources, rows)
    except MissingToolError as error:
        findings.skip(what, error)
        return None


def _gates(
    sources: CSources,
    measured: footprint.Measured | None,
    accuracy: Accuracy,
    limits: _Limits,
) -> tuple[Gate, ...]:
    gates = []
    ram_found = measured.ram.total_bytes if measured else sources.plan.arena_bytes
    flash_found = (
        measured.flash.total_bytes
        if measured
        else sum(layer.weight_bytes for layer in sources.code.values())
    )
    for name, limit, found, unit in (
        ("flash", limits.flash_bytes, flash_found, "bytes"),
        ("ram", limits.ram_bytes, ram_found, "bytes"),
        (
            "instructions",
            limits.instructions,
            measured.instructions.per_inference if measured else None,
            "instructions",
        ),
    ):
        if limit:
            passed = found is not None and found <= limit
            gates.append(Gate(name=name, limit=limit, found=found, unit=unit, passed=passed))
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


def _verified(
    findings: ladder.Findings, accuracy: Accuracy, data: Dataset
) -> tuple[str, ...]:
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


# -- records --------------------------------------------------------------------------------------


def _versions() -> dict[str, str]:
    versions = {"edgefactor": edgefactor.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _recorded(options: ExportOptions, target: Target) -> dict[str, Any]:
    limits = _Limits.of_export(options, target)
    normalization = options.normalization
    return {
        "model": options.model.name,
        "name": options.name or c_text.identifier(options.model.stem).lower(),
        "target": options.target if Path(options.target).suffix else target.name,
        "calibration": Path(options.calibration).name if options.calibration else None,
        "data": Path(options.data).name if options.data else None,
        "calibration_method": options.calibration_method or DEFAULT_METHOD,
        "normalization": {
            "scale": normalization.scale,
            "mean": list(normalization.mean),
            "std": list(normalization.std),
        },
        "optimize": options.optimize,
        "samples": options.samples,
        "emulated_samples": options.emulated_samples if options.emulate else 0,
        "seed": options.seed,
        "flash_bytes": limits.flash_bytes,
        "ram_bytes": limits.ram_bytes,
        "instructions": limits.instructions,
        "max_accuracy_drop": limits.accuracy_drop,
    }


def _normalization(recorded: Mapping[str, Any]) -> Any:
    from edgefactor.pipeline.config import Normalization as Stored

    return Stored(
        scale=recorded["scale"], mean=tuple(recorded["mean"]), std=tuple(recorded["std"])
    )


def _c_normalization(options: ExportOptions) -> Normalization | None:
    how = options.normalization
    if how.is_identity:
        return None
    return Normalization(scale=how.scale, mean=how.mean or (0.0,), std=how.std or (1.0,))


def _c_normalization_of(recorded: Mapping[str, Any]) -> Normalization | None:
    how = _normalization(recorded)
    if how.is_identity:
        return None
    return Normalization(scale=how.scale, mean=how.mean or (0.0,), std=how.std or (1.0,))


