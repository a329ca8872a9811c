"""Writes an int8 Graph as a TensorFlow Lite flatbuffer.

Scales, zero points and codes are copied from the Graph; nothing is derived here. Operator versions
are as low as the int8 form allows, so that tflite-runtime 2.14 reads the file as well. Schema:
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/schema/schema.fbs, through the
generated classes that ai-edge-litert carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgefactor.export import ops
from edgefactor.export.ir import Array, DType, Graph, Quantization, Tensor, constant

_TYPES = {
    dtype: getattr(schema.TensorType, dtype.name)
    for dtype in (DType.INT8, DType.INT16, DType.INT32, DType.INT64)
}
_SCHEMA_VERSION = 3
#: Alignment of constant data that the schema demands and that devices rely on, in bytes.
_DATA_ALIGNMENT = 16


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns byte vectors, which Python's object API leaves at any address."""

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802
        if x.dtype != np.uint8:
            return int(super().CreateNumpyVector(x))
        self.StartVector(1, x.size, _DATA_ALIGNMENT)
        start = self.Head() - x.size
        self.head = start
        self.Bytes[start : start + x.size] = x.tobytes()
        self.vectorNumElems = x.size
        return int(self.EndVector())


class _Writer:
    """Collects tensors, buffers and operators; implements the families' TfliteBuilder."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.buffers = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: dict[tuple[int, int], int] = {}
        self.index: dict[str, int] = {}

    def _add(self, tensor: Tensor) -> int:
        entry = schema.TensorT()
        entry.name = tensor.name
        entry.shape = np.array(tensor.shape, np.int32)
        entry.type = _TYPES[tensor.dtype]
        entry.buffer = 0
        if tensor.quantization is not None:
            entry.quantization = _quantization(tensor.quantization)
        if tensor.data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8)
            self.buffers.append(buffer)
            entry.buffer = len(self.buffers) - 1
        self.tensors.append(entry)
        return len(self.tensors) - 1

    def tensor(self, name: str) -> int:
        if name not in self.index:
            self.index[name] = self._add(self.graph.tensors[name])
        return self.index[name]

    def int32(self, data: Sequence[Any] | NDArray[Any], name: str) -> int:
        array = np.array(data, np.int32)
        return self._add(Tensor(name=name, shape=array.shape, dtype=DType.INT32, data=array))

    def int8(self, data: NDArray[np.int8], quantization: Quantization, name: str) -> int:
        return self.constant(data, quantization, name)

    def constant(self, data: Array, quantization: Quantization, name: str) -> int:
        return self._add(constant(name, data, quantization))

    def temporary(
        self,
        shape: tuple[int, ...],
        quantization: Quantization,
        name: str,
        dtype: DType = DType.INT8,
    ) -> int:
        return self._add(Tensor(name=name, shape=shape, dtype=dtype, quantization=quantization))

    def int32_temporary(self, shape: tuple[int, ...], name: str) -> int:
        return self._add(Tensor(name=name, shape=shape, dtype=DType.INT32))

    def op(
        self,
        code: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        *,
        version: int = 1,
        **fields: Any,
    ) -> None:
        builtin = getattr(schema.BuiltinOperator, code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.setdefault((builtin, version), len(self.codes))
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        if options:
            table = getattr(schema, options + "T")()
            for name, value in fields.items():
                setattr(table, name, _enum(name, value))
            operator.builtinOptions = table
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        self.operators.append(operator)


def _enum(field: str, value: Any) -> Any:
    """Names of the schema's enumerations -> their numbers."""
    if not isinstance(value, str):
        return value
    if field == "padding":
        return getattr(schema.Padding, value)
    if field in ("inDataType", "outDataType"):
        return getattr(schema.TensorType, value)
    return getattr(schema.ActivationFunctionType, value)


def _quantization(quantization: Quantization) -> Any:
    table = schema.QuantizationParametersT()
    count = len(quantization.scales)
    table.scale = np.array(quantization.scales, np.float32)
    table.zeroPoint = np.full(count, quantization.zero_point, np.int64)
    table.quantizedDimension = quantization.axis or 0
    return table


def _signature(graph: Graph, writer: _Writer) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.subgraphIndex = 0
    maps = []
    for ports in (graph.inputs, graph.outputs):
        entries = []
        for port in ports:
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = port.name, writer.tensor(port.tensor)
            entries.append(entry)
        maps.append(entries)
    signature.inputs, signature.outputs = maps
    return signature


def write_tflite(graph: Graph) -> bytes:
    """The bytes of a .tflite file; its tensors carry the names of the Graph's."""
    writer = _Writer(graph)
    inputs = [writer.tensor(port.tensor) for port in graph.inputs]
    for op in graph.ops:
        ops.family_of(op).write_tflite(op, graph, writer)
    subgraph = schema.SubGraphT()
    subgraph.name = graph.name
    subgraph.inputs = np.array(inputs, np.int32)
    subgraph.outputs = np.array([writer.tensor(port.tensor) for port in graph.outputs], np.int32)
    subgraph.operators = writer.operators
    model = schema.ModelT()
    model.version = _SCHEMA_VERSION
    model.description = "edgefactor"
    model.operatorCodes = []
    for builtin, version in writer.codes:
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = builtin, version
        # Readers of before 2020 look at this byte; larger codes show as the placeholder there.
        code.deprecatedBuiltinCode = min(
            builtin, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
        )
        model.operatorCodes.append(code)
    model.signatureDefs = [_signature(graph, writer)]
    subgraph.tensors = writer.tensors
    model.subgraphs = [subgraph]
    model.buffers = writer.buffers
    builder = _AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
