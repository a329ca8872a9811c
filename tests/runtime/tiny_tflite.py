"""A TFLite model of four operators, written by hand for the tests of the runners."""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

SHAPES = {
    "image": (1, 4, 6, 3),
    "pooled": (1, 2, 3, 3),
    "mixed": (1, 2, 3, 5),
    "largest": (1, 1, 1, 5),
    "scores": (1, 5),
}
WEIGHTS = np.random.default_rng(7).integers(-127, 128, (5, 1, 1, 3), dtype=np.int8)
BIAS = np.array([0, 100, -100, 1000, -1000], np.int32)


def _quantization(scales: Sequence[float], zero_points: Sequence[int]) -> Any:
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array(scales, np.float32)
    quantization.zeroPoint = np.array(zero_points, np.int64)
    return quantization


def tiny_tflite() -> bytes:
    """Average pool, 1x1 convolution, max pool and reshape, int8."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    model.operatorCodes = []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []

    def tensor(name: str, shape: Sequence[int], data: Any = None, quantization: Any = None) -> int:
        entry = schema.TensorT()
        entry.name, entry.shape = name, np.array(shape, np.int32)
        entry.type = schema.TensorType.INT8
        entry.quantization = quantization
        if data is not None:
            if data.dtype == np.int32:
                entry.type = schema.TensorType.INT32
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            model.buffers.append(buffer)
            entry.buffer = len(model.buffers) - 1
        graph.tensors.append(entry)
        return len(graph.tensors) - 1

    def operator(code: int, kind: int, options: Any, inputs: list[int], output: int) -> None:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = {schema.BuiltinOperator.CONV_2D: 3}.get(code, 2 if kind != 17 else 1)
        model.operatorCodes.append(entry)
        step = schema.OperatorT()
        step.opcodeIndex = len(model.operatorCodes) - 1
        step.builtinOptionsType, step.builtinOptions = kind, options
        step.inputs, step.outputs = inputs, [output]
        graph.operators.append(step)

    def pool(size: tuple[int, int]) -> Any:
        options = schema.Pool2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideH, options.strideW = size
        options.filterHeight, options.filterWidth = size
        return options

    small, wide = _quantization([0.02], [3]), _quantization([0.05], [-10])
    image = tensor("image", SHAPES["image"], quantization=small)
    pooled = tensor("pooled", SHAPES["pooled"], quantization=small)
    scales = np.linspace(0.001, 0.01, 5).astype(np.float32)
    weights = tensor("weights", WEIGHTS.shape, WEIGHTS, _quantization(scales.tolist(), [0] * 5))
    bias_scales = (scales * np.float32(0.02)).tolist()
    bias = tensor("bias", BIAS.shape, BIAS, _quantization(bias_scales, [0] * 5))
    mixed = tensor("mixed", SHAPES["mixed"], quantization=wide)
    largest = tensor("largest", SHAPES["largest"], quantization=wide)
    scores = tensor("scores", SHAPES["scores"], quantization=wide)
    shape = tensor("shape", (2,), np.array(SHAPES["scores"], np.int32))

    ops, options = schema.BuiltinOperator, schema.BuiltinOptions
    convolution = schema.Conv2DOptionsT()
    convolution.padding = schema.Padding.VALID
    convolution.strideH = convolution.strideW = 1
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = np.array(SHAPES["scores"], np.int32)
    operator(ops.AVERAGE_POOL_2D, options.Pool2DOptions, pool((2, 2)), [image], pooled)
    operator(ops.CONV_2D, options.Conv2DOptions, convolution, [pooled, weights, bias], mixed)
    operator(ops.MAX_POOL_2D, options.Pool2DOptions, pool((2, 3)), [mixed], largest)
    operator(ops.RESHAPE, options.ReshapeOptions, reshape, [largest, shape], scores)
    graph.inputs, graph.outputs = [image], [scores]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
