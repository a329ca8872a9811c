"""The float half of an export: PyTorch -> ONNX -> simplified -> float Graph -> int8 Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.validate import validate
from edgefactor.pipeline.calibrate import DEFAULT_METHOD, METHODS, Range, Sample, calibrate
from edgefactor.pipeline.checking import ladder
from edgefactor.pipeline.config import ExportOptions, Progress
from edgefactor.pipeline.inputs.carried import Kept
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.inputs.example import try_model
from edgefactor.pipeline.inputs.samples import CALIBRATION_SAMPLES
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.sharing_at_export.choice import sharing_of
from edgefactor.pipeline.sharing_at_export.share_codes import observe_inputs
from edgefactor.pipeline.sharing_at_export.shared_values import keep_shared_values
from edgefactor.pipeline.simplify import simplify
from edgefactor.pipeline.trace import to_onnx
from edgefactor.pipeline.widths.choice import choose_widths
from edgefactor.runtime.onnxruntime_runner import OnnxRuntimeRunner

#: Samples on which the widths of activations are chosen.
WIDTH_SAMPLES = 16
#: Samples that weigh the errors of shared weights.
SHARING_SAMPLES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatStages:
    """The float model in all the forms it went through.

    Attributes:
        traced: As PyTorch's exporter wrote it.
        simplified: In canonical form.
        graph: Lowered and fused.
        types: What PyTorch's form takes as inputs; the others take float32 throughout.
    """

    traced: onnx.ModelProto
    simplified: onnx.ModelProto
    graph: Graph
    types: tuple[torch.dtype, ...]


def float_stages(
    loaded: LoadedModel,
    example: Sequence[Any],
    name: str,
    progress: Progress,
    states: Sequence[Kept] = (),
) -> FloatStages:
    """PyTorch -> traced ONNX -> simplified ONNX -> fused float Graph.

    Args:
        loaded: The model.
        example: One tensor an input, batch first; what tracing runs on.
        name: Name of the network.
        progress: Called with the name of each stage.
        states: What the network keeps from run to run.

    Raises:
        EdgefactorError: The model cannot be traced, or an operator has no int8 implementation.
    """
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
    names = [port.name for port in graph.outputs]
    graph = replace(graph, states=tuple(kept.named(names) for kept in states))
    return FloatStages(
        traced=traced.model,
        simplified=simplified.model,
        graph=graph,
        types=tuple(tensor.dtype for tensor in example),
    )


def quantized(
    graph: Graph, calibration: Dataset, options: ExportOptions, progress: Progress
) -> Graph:
    """Calibrate a float Graph on at most ``CALIBRATION_SAMPLES`` samples and make it integer.

    Without calibration data nothing is known that could ask for 16-bit activations.

    Raises:
        DataError: The network's values on the data are not finite.
        UnsupportedOperatorError: A sum of products could exceed 32 bits.
    """
    samples = calibration_samples(graph, calibration)
    progress(f"calibrating on {len(samples)} samples")
    method = next((m for m in METHODS if m == options.calibration_method), DEFAULT_METHOD)
    ranges = calibrate(graph, samples, method=method)
    progress("quantizing")
    int8 = validate(_widened(graph, ranges, calibration, options), "quantize", quantized=True)
    form = sharing_of(options)
    if form is None:
        return int8
    progress(f"sharing weights: {form.text}")
    moments = observe_inputs(graph, samples[:SHARING_SAMPLES])
    return validate(form.apply(int8, moments), "share", quantized=True)


def calibration_samples(graph: Graph, calibration: Dataset) -> list[Sample]:
    """At most ``CALIBRATION_SAMPLES`` samples: input name -> array."""
    taken = calibration.take(CALIBRATION_SAMPLES)
    names = [port.name for port in graph.inputs]
    return [dict(zip(names, taken.sample(index), strict=True)) for index in range(taken.samples)]


def _widened(
    graph: Graph, ranges: Mapping[str, Range], calibration: Dataset, options: ExportOptions
) -> Graph:
    """The integer Graph, with 16-bit activations as the options ask for."""
    if options.activations == "int8" or (options.activations == "auto" and calibration.random):
        return quantize(graph, ranges)
    names = [port.name for port in graph.inputs]
    few = calibration.take(WIDTH_SAMPLES)
    feeds = dict(zip(names, few.inputs, strict=True))

    def extremes() -> Mapping[str, Range]:
        return calibrate(graph, calibration_samples(graph, calibration), method="min-max")

    everything = options.activations == "int16"
    return choose_widths(graph, ranges, extremes, feeds, everything=everything)[0]


def run_float(
    model: bytes, feeds: Mapping[str, NDArray[np.float32]], graph: Graph
) -> list[NDArray[np.float32]]:
    """Run a float ONNX model: one array ``[n, ...]`` an output of the Graph.

    Args:
        model: The ONNX file.
        feeds: Input name -> samples ``[n, ...]`` in PyTorch's layout.
        graph: What says the names and shapes of the outputs.
    """
    names = [port.name for port in graph.outputs]
    values = OnnxRuntimeRunner(model).run(feeds, names)
    count = len(next(iter(feeds.values())))
    return [
        np.asarray(values[port.name], np.float32).reshape(count, *port.sample_shape)
        for port in graph.outputs
    ]


def float_rungs(
    findings: ladder.Findings,
    loaded: LoadedModel,
    stages: FloatStages,
    data: Dataset,
    progress: Progress,
) -> list[NDArray[np.float32]]:
    """PyTorch -> traced ONNX -> simplified ONNX -> float Graph; returns the simplified outputs."""
    progress("pytorch")
    graph = stages.graph
    rows = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for single samples more threads only wait for one another
    try:
        for index in range(data.samples):
            arrays = zip(data.sample(index), stages.types, strict=True)
            sample = [torch.from_numpy(array).to(dtype) for array, dtype in arrays]
            rows.append([output.float().numpy() for output in try_model(loaded, sample)])
    finally:
        torch.set_num_threads(threads)
    before = [
        np.stack([row[i].reshape(port.sample_shape) for row in rows])
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
        found = run_float(model.SerializeToString(), feeds, graph)
        findings.rungs.append(ladder.real_rung(name, above, before, found))
        before, above = found, name
        if name == "onnxruntime simplified":
            simplified = found
    return simplified
