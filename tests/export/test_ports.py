"""Between PyTorch's arrays and codes: every layout there and back."""

import numpy as np
import pytest

from edgefactor.export import numerics
from edgefactor.export.ir import DType, Graph, Port, Quantization, Tensor
from edgefactor.export.ports import decode_outputs, encode_inputs, input_rows, split_outputs

#: Shape in PyTorch, order of storage, shape in the Graph.
LAYOUTS = {
    "map": ((1, 3, 4, 5), (0, 2, 3, 1), (1, 4, 5, 3)),
    "line": ((1, 3, 7), (0, 2, 1), (1, 1, 7, 3)),
    "vector": ((1, 6), (0, 1), (1, 1, 1, 6)),
    "rows": ((1, 4, 6), (0, 1, 2), (1, 4, 1, 6)),
    "five axes": ((1, 2, 3, 2, 2), (0, 2, 3, 4, 1), (1, 3, 2, 2, 2)),
    "no batch": ((4, 6), (0, 1), (4, 6)),
}
HOW = Quantization(scales=(0.25,), zero_point=-3)


def graph_of(*names: str) -> Graph:
    ports = []
    tensors = {}
    for name in names:
        shape, perm, stored = LAYOUTS[name]
        ports.append(Port(tensor=f"{name}.t", name=name, shape=shape, perm=perm))
        tensors[f"{name}.t"] = Tensor(
            name=f"{name}.t", shape=stored, dtype=DType.INT8, quantization=HOW
        )
    return Graph(name="n", tensors=tensors, ops=(), inputs=tuple(ports), outputs=tuple(ports))


def values(name: str, count: int) -> np.ndarray:
    """Multiples of the scale, ``[n, ...]`` as PyTorch has them."""
    port = graph_of(name).inputs[0]
    generator = np.random.default_rng(0)
    steps = generator.integers(-100, 100, (count, *port.sample_shape))
    return (steps * 0.25).astype(np.float32)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "no batch"])
@pytest.mark.parametrize("count", [1, 3])
def test_there_and_back(name: str, count: int) -> None:
    graph = graph_of(name)
    real = values(name, count)
    codes = encode_inputs(graph, [real])[f"{name}.t"]
    shape, perm, stored = LAYOUTS[name]
    assert codes.shape == (count, *stored)
    for index in range(count):
        one = np.transpose(real[index].reshape(shape), perm).reshape(stored)
        np.testing.assert_array_equal(codes[index], numerics.quantize(one, HOW))
    (found,) = decode_outputs(graph, {f"{name}.t": codes})
    np.testing.assert_array_equal(found, real)


def test_an_output_without_a_batch_axis() -> None:
    graph = graph_of("no batch")
    real = values("no batch", 3)
    (found,) = decode_outputs(graph, {"no batch.t": numerics.quantize(real, HOW)})
    np.testing.assert_array_equal(found, real)


def test_rows_of_the_harness() -> None:
    graph = graph_of("map", "vector")
    reals = [values("map", 2), values("vector", 2)]
    codes = encode_inputs(graph, reals)
    rows = input_rows(graph, codes)
    assert rows.shape == (2, 66)
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows[1, 60:], codes["vector.t"][1].reshape(-1))
    for name, array in split_outputs(graph, rows).items():
        np.testing.assert_array_equal(array, codes[name])
