"""Fusing: fewer operators, and the same values in every tensor that is left."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import real_name, write_onnx
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.validate import validate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.fuse import PASSES, fuse

MAP = "float[1,4,5,6] x"
CONV = "c = Conv <pads = [1,1,1,1]> (x, w, b)"
W, B, C = (3, 4, 3, 3), (3,), (1, 3, 1, 1)
Arrays = dict[str, tuple[int, ...]]
#: Name -> (inputs, nodes, shapes of constants, operators that are left).
CASES: dict[str, tuple[str, str, Arrays, list[str]]] = {
    "convolution, factor": (MAP, f"{CONV} y = Mul (c, k)", {"k": C}, ["Conv2D"]),
    "factor, convolution's output": (MAP, f"{CONV} y = Mul (k, c)", {"k": C}, ["Conv2D"]),
    "convolution, offset": (MAP, f"{CONV} y = Add (c, k)", {"k": C}, ["Conv2D"]),
    "convolution - offset": (MAP, f"{CONV} y = Sub (c, k)", {"k": C}, ["Conv2D"]),
    "offset - convolution": (MAP, f"{CONV} y = Sub (k, c)", {"k": C}, ["Conv2D"]),
    "one factor for all": (MAP, f"{CONV} y = Mul (c, k)", {"k": ()}, ["Conv2D"]),
    "batch norm and ReLU": (
        MAP,
        f"{CONV} n = BatchNormalization (c, s, o, m, v) y = Relu (n)",
        {"s": B, "o": B, "m": B, "v": B},
        ["Conv2D"],
    ),
    "batch norm twice": (
        MAP,
        f"{CONV} n = BatchNormalization (c, s, o, m, v) y = BatchNormalization (n, s, o, m, v)",
        {"s": B, "o": B, "m": B, "v": B},
        ["Conv2D"],
    ),
    "batch norm after ReLU": (
        MAP,
        f"{CONV} r = Relu (c) y = BatchNormalization (r, s, o, m, v)",
        {"s": B, "o": B, "m": B, "v": B},
        ["Conv2D", "Conv2D"],
    ),
    "offset per column": (MAP, f"{CONV} y = Add (c, k)", {"k": (6,)}, ["Conv2D", "Add"]),
    "offset per element": (MAP, f"{CONV} y = Add (c, k)", {"k": (3, 5, 6)}, ["Conv2D", "Add"]),
    "two readers": (
        MAP,
        f"{CONV} a = Mul (c, k) y = Add (a, c)",
        {"k": C},
        ["Conv2D", "Mul", "Add"],
    ),
    "twice itself": (MAP, f"{CONV} y = Add (c, c)", {}, ["Conv2D", "Add"]),
    "ReLU after a sum": (MAP, "s = Add (x, x) y = Relu (s)", {}, ["Add"]),
    "ReLU with two readers": (
        MAP,
        f"{CONV} r = Relu (c) y = Add (r, c)",
        {},
        ["Conv2D", "Lookup", "Add"],
    ),
    "x * sigmoid(x)": (MAP, "s = Sigmoid (x) y = Mul (x, s)", {}, ["Lookup"]),
    "sigmoid(x) * x": (MAP, "s = Sigmoid (x) y = Mul (s, x)", {}, ["Lookup"]),
    "sigmoid(x) * another": (
        MAP,
        "s = Sigmoid (x) r = Relu (x) y = Mul (s, r)",
        {},
        ["Lookup", "Lookup", "Mul"],
    ),
    "sigmoid(x) squared": (MAP, "s = Sigmoid (x) y = Mul (s, s)", {}, ["Lookup", "Mul"]),
    "x * hard_sigmoid(x)": (
        MAP,
        "s = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul (x, s)",
        {},
        ["Lookup"],
    ),
    "another hard sigmoid": (
        MAP,
        "s = HardSigmoid <alpha = 0.2, beta = 0.5> (x) y = Mul (x, s)",
        {},
        ["Lookup", "Mul"],
    ),
    "heads": (
        "float[1,5,2,3] x, float[1,6,2,3] z",
        "q = Transpose <perm = [0,2,1,3]> (x) k = Transpose <perm = [0,2,3,1]> (z) "
        "y = MatMul (q, k)",
        {},
        ["MatMul"],
    ),
    "heads put back": (
        "float[1,2,5,6] x, float[1,6,2,3] z",
        "v = Transpose <perm = [0,2,1,3]> (z) o = MatMul (x, v) "
        "t = Transpose <perm = [0,2,1,3]> (o) f = Flatten (t) r = Relu (f) y = Relu (r)",
        {},
        ["MatMul", "Reshape", "Lookup", "Lookup"],
    ),
    "scaled scores": (
        "float[1,5,3] x, float[1,6,3] z",
        "q = Mul (x, k) t = Transpose <perm = [0,2,1]> (z) u = Mul (t, k) s = MatMul (q, u) "
        "h = Mul (s, k) m = Add (h, c) y = Softmax (m)",
        {"k": (), "c": (5, 6)},
        ["MatMul", "Add", "Softmax"],
    ),
    "scaled scores of two readers": (
        "float[1,5,3] x, float[1,3,5] z",
        "s = MatMul (x, z) h = Mul (s, k) p = Softmax (h) y = Add (p, h)",
        {"k": ()},
        ["MatMul", "Mul", "Softmax", "Add"],
    ),
    "a negative factor": (
        "float[1,5,3] x, float[1,3,5] z",
        "s = MatMul (x, z) h = Mul (s, k) y = Softmax (h)",
        {"k": ()},
        ["MatMul", "Mul", "Softmax"],
    ),
    "flatten, dense": (
        MAP,
        f"{CONV} f = Flatten (c) y = Gemm <transB = 1> (f, g, h)",
        {"g": (2, 90), "h": (2,)},
        ["Conv2D", "Reshape", "Conv2D", "Reshape"],
    ),
    "flatten, two dense": (
        MAP,
        f"{CONV} f = Flatten (c) p = MatMul (f, g) q = MatMul (f, h) y = Add (p, q)",
        {"g": (90, 2), "h": (90, 2)},
        ["Conv2D", "Transpose", "Reshape", "Conv2D", "Conv2D", "Add", "Reshape"],
    ),
}


def model(inputs: str, body: str, shapes: Arrays) -> onnx.ModelProto:
    """A model from ONNX's text format with random constants and the output ``y``."""
    generator = np.random.default_rng(0)
    header = '<ir_version: 8, opset_import: ["" : 18]>'
    proto = onnx.parser.parse_model(f"{header} net ({inputs}) => (float y) {{ {body} }}")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    constants = {"w": W, "b": B} if "Conv " in body else {}
    for name, shape in {**constants, **shapes}.items():
        array = np.asarray(generator.uniform(0.2, 1.5, shape), np.float32)
        if name == "k" and not shape and "Softmax" in body:
            array *= np.float32(-1 if "h = Mul (s, k) y" in body else 1)
        elif name != "v":
            array = np.asarray(array * generator.choice([-1, 1], shape), np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True)


def values(graph: Graph) -> dict[str, NDArray[np.float32]]:
    """Every activation, by ONNX Runtime."""
    names = [tensor.name for tensor in graph.activations]
    session = onnxruntime.InferenceSession(
        write_onnx(graph, extra_outputs=names).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    generator = np.random.default_rng(1)
    feeds = {p.name: generator.uniform(-4, 4, p.shape).astype(np.float32) for p in graph.inputs}
    found = session.run([real_name(name) for name in names], feeds)
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_values_stay(name: str) -> None:
    inputs, body, shapes, left = CASES[name]
    before = validate(lower(model(inputs, body, shapes), name="net"), "lower")
    after = fuse(before)
    assert [type(op).__name__ for op in after.ops] == left
    expected, found = values(before), values(after)
    # Values in another order have another name; nothing else is new.
    assert {
        n for n in found.keys() - expected.keys() if not n.endswith((".stored", ".unscaled"))
    } == set()
    assert [p.tensor for p in after.outputs] == [p.tensor for p in before.outputs]
    for tensor in found.keys() & expected.keys():
        np.testing.assert_allclose(
            found[tensor], expected[tensor], rtol=1e-4, atol=1e-5, err_msg=tensor
        )


@pytest.mark.parametrize("step", [step for _, step in PASSES], ids=[name for name, _ in PASSES])
@pytest.mark.parametrize("name", CASES)
def test_each_pass_keeps_values(name: str, step) -> None:
    inputs, body, shapes, _ = CASES[name]
    before = lower(model(inputs, body, shapes), name="net")
    after = validate(step(before), "step")
    if after is before:
        return
    expected, found = values(before), values(after)
    for tensor in found.keys() & expected.keys():
        np.testing.assert_allclose(
            found[tensor], expected[tensor], rtol=1e-4, atol=1e-5, err_msg=tensor
        )


@pytest.mark.parametrize(
    ("clip", "activation"), [("Relu (c)", "relu"), ("Clip (c, low, high)", "relu6")]
)
def test_activations_that_fuse(clip: str, activation: str) -> None:
    proto = model(MAP, f"{CONV} y = {clip}", {})
    for name, value in (("low", 0.0), ("high", 6.0)):
        proto.graph.initializer.append(
            onnx.numpy_helper.from_array(np.array(value, np.float32), name)
        )
    (op,) = fuse(lower(proto, name="net")).ops
    assert isinstance(op, Conv2D)
    assert op.activation == activation


def test_an_output_keeps_its_operator() -> None:
    proto = model(MAP, f"{CONV} y = Relu (c)", {})
    proto.graph.output.append(onnx.helper.make_tensor_value_info("c", 1, (1, 3, 5, 6)))
    graph = fuse(lower(proto, name="net"))
    assert [type(op).__name__ for op in graph.ops] == ["Conv2D", "Lookup"]
