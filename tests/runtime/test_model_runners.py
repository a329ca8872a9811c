"""ONNX Runtime, LiteRT and TFLM behind one interface."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgefactor.errors import DataError, MissingToolError, ToolError
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.runtime.litert_runner import LiteRtRunner
from edgefactor.runtime.onnxruntime_runner import OnnxRuntimeRunner
from edgefactor.runtime.sample_runner import Runner
from edgefactor.runtime.tflm_runner import MOST_TENSORS, TflmRunner
from tests.export.ops.every_runtime import activation, graph_of, last_only, quantization
from tests.runtime.tiny_tflite import SHAPES, tiny_tflite

IMAGES = np.random.default_rng(3).integers(-128, 128, (6, 4, 6, 3), dtype=np.int8)


def mean_of_windows(images: np.ndarray) -> np.ndarray:
    """2x2 average pool of codes, rounded half away from zero: TFLite's reference."""
    sums = images.astype(np.int32).reshape(len(images), 2, 2, 3, 2, 3).sum(axis=(2, 4))
    return np.where(sums >= 0, (sums + 2) // 4, -((2 - sums) // 4)).astype(np.int8)


@pytest.mark.parametrize("make", [LiteRtRunner, TflmRunner])
def test_every_tensor_of_tflite(make: type[LiteRtRunner | TflmRunner]) -> None:
    runner: Runner = make(tiny_tflite())
    found = runner.run({"image": IMAGES}, list(SHAPES))
    assert {name: array.shape for name, array in found.items()} == {
        name: (6, *shape[1:]) for name, shape in SHAPES.items()
    }
    np.testing.assert_array_equal(found["image"], IMAGES)
    np.testing.assert_array_equal(found["pooled"], mean_of_windows(IMAGES))
    np.testing.assert_array_equal(found["largest"][:, 0, 0], found["mixed"].max(axis=(1, 2)))
    np.testing.assert_array_equal(found["scores"], found["largest"][:, 0, 0])


def test_tflm_equals_litert_reference(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_tflite())
    expected = LiteRtRunner(path).run({"image": IMAGES}, list(SHAPES))
    found = TflmRunner(path).run({"image": IMAGES}, list(SHAPES))
    for name in SHAPES:
        np.testing.assert_array_equal(found[name], expected[name])


def test_tflm_gives_the_outputs_of_a_model_too_long_to_preserve() -> None:
    count = MOST_TENSORS + 100
    names = [f"t{index}" for index in range(count)]
    ops = [
        Lookup(name=after, inputs=(before,), outputs=(after,), function="neg")
        for before, after in pairwise(names)
    ]
    codes = np.arange(-100, 100, dtype=np.int8)[None]
    # Negated an odd number of times, at a scale and zero point at which nothing rounds.
    scale = quantization(0.5, 0)
    graph = last_only(graph_of([(op, scale) for op in ops], [activation("t0", (1, 200), scale)]))
    runner = TflmRunner(write_tflite(graph))
    assert not runner.keeps_tensors
    found = runner.run({"t0": codes[None]}, names)
    assert list(found) == [names[-1]]
    np.testing.assert_array_equal(found[names[-1]].reshape(codes.shape), -codes)


def test_litert_default_returns_what_it_keeps() -> None:
    runner = LiteRtRunner(tiny_tflite(), reference=False)
    found = runner.run({"image": IMAGES}, list(SHAPES))
    assert list(found) == ["image", "scores"]
    reference = LiteRtRunner(tiny_tflite()).run({"image": IMAGES})
    assert list(reference) == ["scores"]
    difference = found["scores"].astype(int) - reference["scores"]
    # XNNPACK requantizes in float: the nearest code may be the neighbour.
    assert np.abs(difference).max() <= 1


def test_names_carry_the_version() -> None:
    assert LiteRtRunner(tiny_tflite()).name.startswith("litert (ai-edge-litert ")
    assert TflmRunner(tiny_tflite()).name.startswith("tflm (tflite-micro ")


@pytest.mark.parametrize("make", [LiteRtRunner, TflmRunner])
def test_wrong_names_and_sizes(make: type[LiteRtRunner | TflmRunner]) -> None:
    runner = make(tiny_tflite())
    with pytest.raises(DataError) as caught:
        runner.run({"image": IMAGES}, ["scores", "no such"])
    assert caught.value.found == "no such"
    with pytest.raises(DataError, match="'image' does not fit"):
        runner.run({"image": IMAGES[:, :2]})
    with pytest.raises(DataError, match="'image' does not fit"):
        runner.run({})
    with pytest.raises(DataError, match="do not fit"):
        runner.run({"image": IMAGES, "other": IMAGES})


def test_refused_model() -> None:
    with pytest.raises(ToolError, match="refuses the model"):
        LiteRtRunner(b"\x1c\x00\x00\x00TFL3" + bytes(64))


@pytest.mark.parametrize(
    ("package", "make", "command"),
    [
        ("onnxruntime", lambda: OnnxRuntimeRunner(b""), "pip install onnxruntime"),
        ("ai_edge_litert", lambda: LiteRtRunner(b""), "pip install ai-edge-litert"),
        ("tflite_micro.python.tflite_micro", lambda: TflmRunner(b""), "tflite-micro"),
    ],
)
def test_missing_package(monkeypatch: pytest.MonkeyPatch, package: str, make, command: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingToolError) as caught:
        make()
    assert command in caught.value.hint


def onnx_model(batch: int | str) -> bytes:
    """y = relu(x @ w), z = y + x."""
    weights = np.array([[1, -1], [2, 0.5]], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node("Relu", ["product"], ["y"]),
            helper.make_node("Add", ["y", "x"], ["z"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, 2])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


@pytest.mark.parametrize("batch", [1, "batch"])
def test_onnxruntime(tmp_path: Path, batch: int | str) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(onnx_model(batch))
    x = np.random.default_rng(1).normal(size=(7, 2)).astype(np.float32)
    product = x @ np.array([[1, -1], [2, 0.5]], np.float32)
    runner = OnnxRuntimeRunner(path)
    outputs = runner.run({"x": x})
    everything = runner.run({"x": x}, ["product", "y", "z", "x"])
    assert list(outputs) == ["z"]
    np.testing.assert_allclose(outputs["z"], np.maximum(product, 0) + x, rtol=1e-6)
    np.testing.assert_allclose(everything["product"], product, rtol=1e-6)
    np.testing.assert_array_equal(everything["x"], x)
    with pytest.raises(DataError, match="no such tensors"):
        runner.run({"x": x}, ["nothing"])
