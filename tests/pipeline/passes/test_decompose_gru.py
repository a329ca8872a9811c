"""A GRU that resets before the product: equal to ONNX Runtime's, and exported like any network."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.ops.scan import Scan
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.decompose import decompose
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, infer_shapes
from tests.export.graphs import to_int8
from tests.export.ops.every_runtime import check_everywhere

UNITS, INPUTS = 4, 3


def model_of(steps: int, batch: int, outputs: list[str], **attributes: object) -> onnx.ModelProto:
    """A GRU with random weights; attributes may name its direction."""
    generator = np.random.default_rng(3)
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    shapes = {
        "w": (count, 3 * UNITS, INPUTS),
        "r": (count, 3 * UNITS, UNITS),
        "b": (count, 6 * UNITS),
        "h": (count, batch, UNITS),
    }
    kept = [
        numpy_helper.from_array(generator.uniform(-1, 1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    given = ["x", "w", "r", "b", "", "h" if attributes.pop("state", True) else ""]
    node = helper.make_node("GRU", given, outputs, hidden_size=UNITS, name="gru", **attributes)
    ends = {
        "y": [steps, count, batch, UNITS],
        "last": [count, batch, UNITS],
        "x": [steps, batch, INPUTS],
    }
    infos = {name: helper.make_tensor_value_info(name, 1, shape) for name, shape in ends.items()}
    graph = helper.make_graph(
        [node], "net", [infos["x"]], [infos[name] for name in outputs if name], kept
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run_float(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def unrolled(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = OnnxGraph(model)
    decompose(graph)
    return infer_shapes(graph.to_model())


@pytest.mark.parametrize(
    ("steps", "batch", "outputs", "attributes"),
    [
        (5, 1, ["y", "last"], {}),
        (5, 2, ["y", "last"], {"direction": "bidirectional"}),
        (4, 1, ["", "last"], {"direction": "reverse", "state": False}),
        (1, 3, ["y"], {"state": False, "direction": "bidirectional"}),
    ],
)
def test_same_values(steps: int, batch: int, outputs: list[str], attributes: dict) -> None:
    model = model_of(steps, batch, outputs, **attributes)
    x = np.random.default_rng(4).standard_normal((steps, batch, INPUTS)).astype(np.float32)
    expected = run_float(model, {"x": x})
    result = unrolled(model)
    assert all(node.op_type != "GRU" for node in result.graph.node)
    for found, wanted in zip(run_float(result, {"x": x}), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_exact_in_every_runtime(tmp_path: Path) -> None:
    graph = fuse(lower(unrolled(model_of(4, 1, ["y", "last"])), name="net"))
    assert not any(isinstance(op, Scan) for op in graph.ops)
    integer = to_int8(graph)
    shape = integer.tensors[integer.inputs[0].tensor].shape
    codes = np.random.default_rng(5).integers(-128, 128, shape).astype(np.int8)
    check_everywhere(integer, {integer.inputs[0].tensor: codes}, tmp_path)


def test_a_long_sequence_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="unrolled"):
        unrolled(model_of(65, 1, ["y"]))


def test_the_other_form_stays() -> None:
    result = unrolled(model_of(3, 1, ["y"], linear_before_reset=1))
    assert [node.op_type for node in result.graph.node] == ["GRU"]
