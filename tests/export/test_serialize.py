"""The Graph as a file: equal after a round trip, and nothing else is read as one."""

import json
from typing import get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefactor.errors import ModelError
from edgefactor.export import ops
from edgefactor.export.ir import DType, Graph, Op, Port, Quantization, Tensor, constant
from edgefactor.export.serialize import from_json, to_json
from tests.export.graphs import everything

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def operators(op_type: type[Op]) -> st.SearchStrategy[Op]:
    """Operators of a type with any attributes that their annotations allow."""
    hints = get_type_hints(op_type)
    floats = {name: FINITE for name, hint in hints.items() if hint is float}
    floats |= {
        name: st.lists(FINITE, max_size=3).map(tuple)
        for name, hint in hints.items()
        if hint == tuple[float, ...]
    }
    fixed = {"name": st.just("op"), "inputs": st.just(("x", "w")), "outputs": st.just(("y",))}
    return st.builds(op_type, **fixed, **floats)


CHANGES = [
    ("version", 99),
    ("format", "other"),
    ("ops", [{"type": "NoSuchOperator"}]),
    ("ops", [7]),
    ("ops", [{"type": "Conv2D"}]),
    ("inputs", [[]]),
    ("outputs", {"a": 1}),
    ("tensors", [{"name": "x", "shape": [2], "dtype": "int8", "data": "AAAA"}]),
    ("tensors", [{"name": "x", "shape": [2], "dtype": "float16"}]),
    ("tensors", [{"name": "x", "shape": [3], "dtype": "int8", "data": "!"}]),
    ("tensors", []),
    ("tensors", None),
]


def assert_equal(found: Graph, expected: Graph) -> None:
    for name in ("name", "ops", "inputs", "outputs", "states", "metadata"):
        assert getattr(found, name) == getattr(expected, name)
    assert list(found.tensors) == list(expected.tensors)
    for name, tensor in expected.tensors.items():
        other = found.tensors[name]
        for part in ("name", "shape", "dtype", "quantization"):
            assert getattr(other, part) == getattr(tensor, part)
        assert (other.data is None) == (tensor.data is None)
        if tensor.data is not None:
            assert other.data is not None
            assert other.data.dtype == tensor.data.dtype
            np.testing.assert_array_equal(other.data, tensor.data)


def test_round_trip() -> None:
    graph = everything()
    text = to_json(graph)
    again = from_json(text, "graph.json")
    assert_equal(again, graph)
    assert to_json(again) == text


@pytest.mark.parametrize("op_type", ops.OP_TYPES.values(), ids=lambda op_type: op_type.__name__)
@given(data=st.data())
def test_round_trip_of_every_operator(op_type: type[Op], data: st.DataObject) -> None:
    op = data.draw(operators(op_type))
    assert from_json(to_json(alone(op)), "f").ops == (op,)


def alone(op: Op) -> Graph:
    tensors = {name: Tensor(name=name, shape=(1,)) for name in (*op.inputs, *op.outputs)}
    return Graph(name="net", tensors=tensors, ops=(op,), inputs=(), outputs=())


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.float32])
def test_constants_of_every_type(dtype: type) -> None:
    data = np.array([[1, -2, 3], [4, 5, 127]], dtype)
    how = Quantization(scales=(0.1, 1e-30), axis=0)
    port = Port(tensor="t", name="t", shape=(2, 3), perm=(0, 1))
    graph = Graph(
        name="n", tensors={"t": constant("t", data, how)}, ops=(), inputs=(), outputs=(port,)
    )
    assert_equal(from_json(to_json(graph), "f"), graph)


@given(st.floats(width=32, min_value=2.0**-99, max_value=2.0**99), st.text(max_size=5))
def test_scales_and_names_are_kept_exactly(scale: float, name: str) -> None:
    how = Quantization(scales=(scale,), zero_point=-3)
    tensor = Tensor(name=name, shape=(2,), dtype=DType.INT8, quantization=how)
    port = Port(tensor=name, name=name, shape=(2,), perm=(0,))
    graph = Graph(name=name, tensors={name: tensor}, ops=(), inputs=(port,), outputs=(port,))
    assert_equal(from_json(to_json(graph), "f"), graph)


@pytest.mark.parametrize("text", ["", "null", "[]", "3", "{}", "not json", "[" * 100_000, '{"a":'])
def test_garbage(text: str) -> None:
    with pytest.raises(ModelError) as caught:
        from_json(text, "net/graph.json")
    assert caught.value.where == "net/graph.json"


@pytest.mark.parametrize(("key", "value"), CHANGES)
def test_files_that_are_wrong(key: str, value: object) -> None:
    document = json.loads(to_json(everything()))
    document[key] = value
    with pytest.raises(ModelError):
        from_json(json.dumps(document), "f")


@pytest.mark.parametrize(
    "key", ["format", "version", "name", "metadata", "inputs", "outputs", "ops", "tensors"]
)
def test_files_that_lack_something(key: str) -> None:
    document = json.loads(to_json(everything()))
    del document[key]
    with pytest.raises(ModelError):
        from_json(json.dumps(document), "f")
