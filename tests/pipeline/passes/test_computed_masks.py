"""Computed masks become choices of scores where, and only where, they hide them from a softmax."""

import numpy as np
import onnx
import pytest

from edgefactor.export.ops.select import Select
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.canonical import canonicalise
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.simplify import infer_shapes
from tests.export.ops.lowering import parse, run_float

INPUTS = "float[1,2,4,4] s, float[1,4] m"
#: ``p`` is where the mask hides; ``w`` is a mask of numbers.
HIDDEN = "z = Constant<value_float=0.0>()\np = Greater(m, z)\n"
NUMBERS = "lowest = Constant<value_float=-inf>()\n"
SEEN = "four = Constant<value_ints=[1,1,1,4]>()\n"
MASK = f"{HIDDEN}{NUMBERS}{SEEN}w = Where(p, lowest, z)\nv = Reshape(w, four)\n"
#: Body -> which operators are left beside views and what computes ``p``.
CASES = {
    "viewed and added": (f"{MASK}t = Add(s, v)\ny = Softmax(t)", "Where Softmax"),
    "expanded": (
        f"{MASK}full = Constant<value_ints=[1,2,4,4]>()\ne = Expand(v, full)\n"
        "t = Add(e, s)\ny = Softmax(t)",
        "Where Softmax",
    ),
    "made of heads": (
        f"{MASK}full = Constant<value_ints=[1,2,1,4]>()\ne = Expand(v, full)\n"
        "rows = Constant<value_ints=[2,1,4]>()\nr = Reshape(e, rows)\n"
        "back = Constant<value_ints=[2,4,4]>()\nx = Reshape(s, back)\n"
        "t = Add(x, r)\ny = Softmax(t)",
        "Where Softmax",
    ),
    "turned": (
        f"{MASK}u = Transpose<perm=[0,1,3,2]>(v)\nt = Add(s, u)\ny = Softmax<axis=2>(t)",
        "Where Softmax",
    ),
    "twice": (
        f"{MASK}k = Constant<value_float=-1e9>()\nn = Not(p)\nq = Reshape(n, four)\n"
        "t = Add(s, v)\nd = Where(q, t, k)\ny = Softmax(d)",
        "And Not Where Softmax",
    ),
    "scaled": (
        f"{MASK}k = Constant<value_float=0.25>()\nh = Mul(v, k)\nt = Add(s, h)\ny = Softmax(t)",
        "Where Softmax",
    ),
    "with a bias by position": (
        f"{MASK}b = Constant<value_floats=[0.0,-0.5,-1.0,-1.5]>()\nc = Add(v, b)\n"
        "t = Add(s, c)\ny = Softmax(t)",
        "Add Where Softmax",
    ),
    "padded": (
        f"{HIDDEN}{NUMBERS}b = Constant<value_ints=[0]>()\ne = Constant<value_ints=[3]>()\n"
        "a = Constant<value_ints=[1]>()\nc3 = Slice(p, b, e, a)\n"
        "w = Where(c3, lowest, z)\nends = Constant<value_ints=[0,0,0,1]>()\nu = Pad(w, ends)\n"
        "four = Constant<value_ints=[1,1,1,4]>()\nv = Reshape(u, four)\nt = Add(s, v)\n"
        "y = Softmax(t)",
        "Slice Pad Where Softmax",
    ),
    "less the largest": (
        f"{MASK}t = Add(s, v)\na = Constant<value_ints=[-1]>()\nx = ReduceMax(t, a)\n"
        "d = Sub(t, x)\ny = Softmax(d)",
        "Where Softmax",
    ),
    "for a gate": (
        f"{HIDDEN}{NUMBERS}{SEEN}q = Reshape(p, four)\nd = Where(q, lowest, s)\ny = Sigmoid(d)",
        "Sigmoid Where",
    ),
    "largest": (
        f"{HIDDEN}{NUMBERS}{SEEN}q = Reshape(p, four)\nd = Where(q, lowest, s)\n"
        "a = Constant<value_ints=[3]>()\ny = ReduceMax<keepdims=0>(d, a)",
        "Where ReduceMax",
    ),
    "whole numbers times a large one": (
        f"{HIDDEN}{SEEN}f = Cast<to=1>(p)\nk = Constant<value_float=-10000.0>()\n"
        "g = Mul(f, k)\nv = Reshape(g, four)\nt = Add(s, v)\ny = Softmax(t)",
        "Greater Where Softmax",
    ),
    "real numbers times a large one": (
        f"{SEEN}k = Constant<value_float=-10000.0>()\ng = Mul(m, k)\nv = Reshape(g, four)\n"
        "t = Add(s, v)\ny = Softmax(t)",
        "Mul Add Softmax",
    ),
    "scores times a large number": (
        "k = Constant<value_float=1000.0>()\nt = Mul(s, k)\ny = Softmax(t)",
        "Mul Softmax",
    ),
    "not for a softmax": (
        f"{HIDDEN}{SEEN}k = Constant<value_float=-2000.0>()\nq = Reshape(p, four)\n"
        "d = Where(q, k, s)\ny = Add(d, s)",
        "Where Add",
    ),
}
LEFT_OUT = ("Reshape", "Transpose", "Cast")


def canonical(model: onnx.ModelProto) -> OnnxGraph:
    graph = OnnxGraph(infer_shapes(model))
    canonicalise(graph)
    return graph


def feeds() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    mask = np.array([[0, 1, 0, 1]], np.float32)
    return {"s": generator.standard_normal((1, 2, 4, 4)).astype(np.float32), "m": mask}


@pytest.mark.parametrize("name", CASES)
def test_what_is_left_and_its_values(name: str) -> None:
    body, kinds = CASES[name]
    model = parse(INPUTS, body)
    graph = canonical(model)
    result = infer_shapes(graph.to_model())
    found = [node.op_type for node in result.graph.node if node.op_type not in LEFT_OUT]
    used = {name for node in result.graph.node for name in node.input}
    if "p" in used:
        found.remove("Greater")
    if "n" in used:
        found.remove("Not")
    assert sorted(found) == sorted([*kinds.split()])
    given = {port.name: feeds()[port.name] for port in model.graph.input}
    np.testing.assert_allclose(
        run_float(result, given), run_float(model, given), rtol=1e-5, atol=1e-6
    )


def ranges_of(model: onnx.ModelProto, samples: list[dict[str, np.ndarray]]) -> tuple[object, ...]:
    graph = fuse(lower(infer_shapes(canonical(model).to_model()), name="net"))
    integer = quantize(graph, calibrate(graph, samples, method="min-max"))
    return graph, integer


def test_mask_of_real_numbers_that_is_given() -> None:
    """An input of 0 and -1e9: its codes say what is hidden, and no score shares its scale."""
    model = parse("float[1,2,4,4] s, float[1,1,1,4] m", "t = Add(s, m)\ny = Softmax(t)")
    mask = np.array([0, -1e9, 0, -1e9], np.float32).reshape(1, 1, 1, 4)
    _, integer = ranges_of(model, [{"s": feeds()["s"], "m": mask}])
    (chosen,) = [op for op in integer.ops if isinstance(op, Select)]
    assert integer.tensors[chosen.outputs[0]].quant.scale < 0.1


def test_number_within_the_range_of_the_data_stays_what_it_is() -> None:
    body = "z = Constant<value_float=0.0>()\nk = Constant<value_float=-2000.0>()\n"
    body += "p = Greater(m, z)\nd = Where(p, k, s)\na = Constant<value_ints=[3]>()\n"
    body += "y = ReduceMax<keepdims=0>(d, a)"
    model = parse("float[1,2,4,4] s, float[1,1,1,4] m", body)
    s = np.linspace(-5000, 5000, 32, dtype=np.float32).reshape(1, 2, 4, 4)
    m = np.array([1, 1, 1, 1], np.float32).reshape(1, 1, 1, 4)
    _, integer = ranges_of(model, [{"s": s, "m": m}, {"s": s, "m": 0 * m}])
    (chosen,) = [op for op in integer.ops if isinstance(op, Select)]
    held = next(t for n in chosen.inputs[1:] if (t := integer.tensors[n]).data is not None)
    real = (np.asarray(held.data, np.float32) - held.quant.zero_point) * held.quant.scale
    assert abs(float(real.reshape(())) + 2000) < 40
