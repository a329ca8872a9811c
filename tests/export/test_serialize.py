"""The Graph as a file: equal after a round trip, and nothing else is read as one."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefactor.errors import ModelError
from edgefactor.export import ops
from edgefactor.export.ir import DType, Graph, Op, Port, Quantization, Tensor, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.recurrent_op import Recurrent
from edgefactor.export.ops.requantize import Requantize
from edgefactor.export.ops.reshape import Transpose
from edgefactor.export.ops.scan import Scan
from edgefactor.export.ops.shift import Shift
from edgefactor.export.ops.table import Table
from edgefactor.export.serialize import from_json, to_json
from tests.export.graphs import everything

#: Operators that the network with everything does not need.
OTHERS: tuple[Op, ...] = (
    Recurrent(
        name="r",
        inputs=("x", "w", "b", "u", "c"),
        outputs=("y",),
        cell="gru",
        reverse=True,
        gate_scale=0.0625,
        gate_zero_point=-3,
    ),
    Requantize(name="again", inputs=("x",), outputs=("y",)),
    Scan(name="scan", inputs=("x", "w"), outputs=("y",), reverse=True),
    Shift(name="move", inputs=("x",), outputs=("y",), moves=((0, 1), (-1, 0))),
    Table(name="curve", inputs=("x",), outputs=("y",), expression="x 2 mul exp"),
    Transpose(name="turn", inputs=("x",), outputs=("y",), perm=(0, 2, 1)),
    Conv2D(
        name="c",
        inputs=("x", "w", "b"),
        outputs=("y",),
        channel_scale=(0.1, 1e-30),
        source="a:3",
    ),
)
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


@pytest.mark.parametrize("op", OTHERS, ids=lambda op: type(op).__name__)
def test_round_trip_of_other_operators(op: Op) -> None:
    assert from_json(to_json(alone(op)), "f").ops == (op,)


def test_every_operator_is_tried() -> None:
    tried = {type(op).__name__ for op in (*everything().ops, *OTHERS)}
    assert tried == set(ops.OP_TYPES)


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
