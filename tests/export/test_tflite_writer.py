"""The TFLite file: what old runtimes and devices ask of it."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgefactor.export.ir import Graph
from edgefactor.export.tflite_writer import write_tflite
from tests.export.graphs import everything

#: Highest version that tflite-runtime 2.14 registers for int8.
MOST = {"CONV_2D": 6, "DEPTHWISE_CONV_2D": 6, "ADD": 4, "SUB": 5, "MUL": 6, "CONCATENATION": 3}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return everything()


@pytest.fixture(scope="module")
def file(graph: Graph) -> bytes:
    return write_tflite(graph)


def test_constants_lie_at_multiples_of_16(graph: Graph, file: bytes) -> None:
    for name, tensor in graph.tensors.items():
        if tensor.data is not None and tensor.bytes >= 32:
            raw = np.ascontiguousarray(tensor.data).tobytes()
            places = [i for i in range(len(file)) if file.startswith(raw, i)]
            if places:  # depthwise weights are stored in another order
                assert any(place % 16 == 0 for place in places), name


def test_scales_and_zero_points_are_copied(graph: Graph, file: bytes) -> None:
    model = schema.ModelT.InitFromPackedBuf(file, 0)
    seen = {t.name.decode(): t for t in model.subgraphs[0].tensors}
    for tensor in graph.activations:
        found = seen[tensor.name].quantization
        assert np.float32(tensor.quant.scale) == found.scale[0]
        assert list(found.zeroPoint) == [tensor.quant.zero_point]
        assert tuple(seen[tensor.name].shape) == tensor.shape


def test_versions_are_low(file: bytes) -> None:
    model = schema.ModelT.InitFromPackedBuf(file, 0)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    for code in model.operatorCodes:
        assert code.version <= MOST.get(names[code.builtinCode], 3), names[code.builtinCode]


def test_the_signature_names_the_ports_of_pytorch(graph: Graph, file: bytes) -> None:
    (signature,) = schema.ModelT.InitFromPackedBuf(file, 0).signatureDefs
    assert [entry.name.decode() for entry in signature.inputs] == [p.name for p in graph.inputs]
    assert [entry.name.decode() for entry in signature.outputs] == [p.name for p in graph.outputs]


def test_the_same_bytes_twice(graph: Graph, file: bytes) -> None:
    assert write_tflite(graph) == file
