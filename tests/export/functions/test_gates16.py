"""LOGISTIC and TANH on int16: every code at many scales, against LiteRT and TFLM."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgefactor.export.functions import gates16
from edgefactor.runtime.litert_runner import LiteRtRunner
from edgefactor.runtime.tflm_runner import TflmRunner

CODES = np.arange(-(2**15), 2**15).astype(np.int16)
#: Powers of 2 have paths of their own in the runtimes.
SCALES = [
    *(2.0**-bits for bits in (15, 14, 13, 12, 11, 10, 9, 5)),
    *np.exp(np.random.default_rng(0).uniform(np.log(1e-5), np.log(2.6), 12)),
]


def one_builtin(code: int, scale: float) -> bytes:
    """A file of one operator from int16 ``x`` at a scale to int16 ``y`` at 2**-15."""
    graph = schema.SubGraphT()
    graph.tensors = []
    for name, step in (("x", scale), ("y", 2.0**-15)):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, np.array([1, CODES.size], np.int32)
        tensor.type = schema.TensorType.INT16
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array([step], np.float32)
        tensor.quantization.zeroPoint = np.array([0], np.int64)
        graph.tensors.append(tensor)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0], [1]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    entry = schema.OperatorCodeT()
    entry.builtinCode = entry.deprecatedBuiltinCode = code
    entry.version = 3
    model = schema.ModelT()
    model.version, model.operatorCodes = 3, [entry]
    model.subgraphs, model.buffers = [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("scale", SCALES)
def test_every_code(scale: float) -> None:
    scale = float(np.float32(scale))
    for code, function, is_tanh in (
        (schema.BuiltinOperator.LOGISTIC, gates16.logistic, False),
        (schema.BuiltinOperator.TANH, gates16.tanh, True),
    ):
        expected = function(CODES, gates16.input_scaling(scale, tanh=is_tanh))
        model = one_builtin(code, scale)
        for runner in (LiteRtRunner(model), TflmRunner(model)):
            found = runner.run({"x": CODES[None]}, ["y"])["y"]
            np.testing.assert_array_equal(found.reshape(-1), expected, runner.name)


def test_near_the_real_functions() -> None:
    real = CODES * 2.0**-12
    logistic = gates16.logistic(CODES, gates16.input_scaling(2.0**-12, tanh=False)) / 2**15
    assert np.abs(logistic - 1 / (1 + np.exp(-real))).max() < 4e-4
    tanh = gates16.tanh(CODES, gates16.input_scaling(2.0**-12, tanh=True)) / 2**15
    assert np.abs(tanh - np.tanh(real)).max() < 8e-4
