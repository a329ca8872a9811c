"""Random networks: NumPy, LiteRT, TFLM and sanitized C agree in every element of every tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export import numerics
from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.canonical import canonicalise
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, infer_shapes
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.widths.choice import can_widen
from edgefactor.runtime.litert_runner import LiteRtRunner
from edgefactor.runtime.tflm_runner import MOST_TENSORS, TflmRunner
from tests.export.ops.every_runtime import Codes, check_everywhere
from tests.zoo.networks.network import TOKENS, HypothesisDraw, SeededDraw
from tests.zoo.random_networks import random_network
from tests.zoo.side_by_side import all_codes, side_by_side

INT64 = onnx.TensorProto.INT64
#: Networks that one C program holds.
BATCH = 40
#: Batches of the long run: 2,000 networks.
BATCHES = 50
#: At least this many of a batch must be networks that the export takes.
LEAST_TAKEN = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An integer Graph, in which every other one has 16-bit activations, and inputs for it."""

    graph: Graph
    codes: dict[str, Codes]


def run_onnx(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # constants that nothing reads are no concern here
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run([info.name for info in model.graph.output], feeds)


def make_ready(model: onnx.ModelProto, seed: int) -> Ready | None:
    """Lower, compare with ONNX Runtime, quantize; None where the export refuses the model."""
    generator = np.random.default_rng(seed)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # the passes edit nodes in place
    edited = OnnxGraph(copy)
    canonicalise(edited)
    try:
        graph = validate(lower(infer_shapes(edited.to_model()), name="random"), "lower")
    except UnsupportedOperatorError:
        return None
    whole = {i.name for i in model.graph.input if i.type.tensor_type.elem_type == INT64}
    feeds = [
        {
            port.name: generator.integers(0, TOKENS, port.shape).astype(np.float32)
            if port.name in whole
            else generator.standard_normal(port.shape).astype(np.float32)
            for port in graph.inputs
        }
        for _ in range(2)
    ]
    fused = fuse(graph)
    given = {name: x.astype(np.int64) if name in whole else x for name, x in feeds[0].items()}
    expected = run_onnx(model, given)
    found = run_onnx(write_onnx(fused), feeds[0])
    for info, wanted, array in zip(model.graph.output, expected, found, strict=True):
        assert array.shape == wanted.shape, info.name
        reach = 1e-4 * float(np.abs(wanted).max(initial=1.0))
        np.testing.assert_allclose(array, wanted, rtol=1e-4, atol=reach, err_msg=info.name)
    wide = frozenset[str]()
    if seed % 4 > 1:
        able = sorted(can_widen(fused))
        wide = frozenset(name for name in able if generator.random() < 0.6)
    try:
        int8 = quantize(fused, calibrate(fused, feeds, method="min-max"), wide)
    except UnsupportedOperatorError:
        return None
    validate(int8, "quantize", quantized=True)
    codes = {}
    for port in int8.inputs:
        tensor = int8.tensors[port.tensor]
        stored = np.transpose(feeds[0][port.name], port.perm).reshape(tensor.shape)
        codes[tensor.name] = numerics.quantize(stored, tensor.quant, tensor.dtype)
        if seed % 2:
            # Far from what was calibrated, so that results saturate, and beyond all tables.
            low, high = tensor.dtype.code_range
            any_codes = generator.integers(low, high + 1, tensor.shape)
            codes[tensor.name] = any_codes.astype(str(tensor.dtype))
    return Ready(graph=int8, codes=codes)


def seeded(start: int, count: int) -> list[Ready]:
    """Networks with operators among those of ``count`` seeds."""
    found = []
    for seed in range(start, start + count):
        draw = SeededDraw(np.random.default_rng(seed))
        ready = make_ready(random_network(draw, seed), seed)
        if ready is not None:
            found.append(ready)
    assert len(found) >= LEAST_TAKEN * count
    return [ready for ready in found if ready.graph.ops]


def computed_tensors(graph: Graph) -> int:
    """Tensors of the TFLite file that TFLite Micro would have to keep."""
    model = schema.ModelT.InitFromPackedBuf(write_tflite(graph), 0)
    tensors = (tensor for subgraph in model.subgraphs for tensor in subgraph.tensors)
    return sum(model.buffers[tensor.buffer].data is None for tensor in tensors)


def check_together(networks: Sequence[Ready], folder: Path) -> None:
    """Compare networks in as few programs as hold them: TFLite Micro keeps so many tensors."""
    groups: list[list[Ready]] = []
    room = 0
    for ready in networks:
        size = computed_tensors(ready.graph)
        if not groups or size > room:
            groups.append([])
            room = MOST_TENSORS // 2  # the rest is for what kernels ask for as scratch
        groups[-1].append(ready)
        room -= size
    for number, group in enumerate(groups):
        graph = side_by_side([ready.graph for ready in group])
        codes = all_codes([ready.codes for ready in group])
        check_everywhere(graph, codes, folder / str(number))


@st.composite
def models(draw: Any) -> onnx.ModelProto:
    return random_network(HypothesisDraw(draw), draw(st.integers(0, 2**16)))


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(model=models())
def test_interpreters_agree(model: onnx.ModelProto) -> None:
    ready = make_ready(model, len(model.graph.node))
    if ready is None or not ready.graph.ops:
        return
    expected = run_reference(ready.graph, ready.codes)
    file = write_tflite(ready.graph)
    samples = {name: codes[None] for name, codes in ready.codes.items()}
    names = [op.outputs[0] for op in ready.graph.ops]
    for runner in (LiteRtRunner(file), TflmRunner(file)):
        found = runner.run(samples, names)
        for name in names:
            np.testing.assert_array_equal(
                found[name].reshape(expected[name].shape), expected[name], f"{runner.name}: {name}"
            )


def test_compiled_code_agrees(tmp_path: Path) -> None:
    check_together(seeded(0, BATCH), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(1, BATCHES + 1))
def test_compiled_code_agrees_for_thousands(batch: int, tmp_path: Path) -> None:
    check_together(seeded(batch * BATCH, BATCH), tmp_path)
