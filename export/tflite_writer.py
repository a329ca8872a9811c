"""Writes an int8 Graph as a TensorFlow Lite flatbuffer.

Scales, zero points and codes are copied from the Graph; nothing is derived here. Operator versions
are as low as the int8 form allows, so that tflite-runtime 2.14 reads the file as well. Schema:
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/schema/schema.fbs, through the
generated classes that ai-edge-litert carries.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgefactor.export import ops
from edgefactor.export.ir import Array, DType, Graph, Quantization, Tensor, constant
from edgefactor.export.ops.family import TfliteBuilder

_TYPES = {dtype: getattr(schema.TensorType, dtype.name) for dtype in DType}
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


class _File:
    """What the subgraphs of a file have in common."""

    def __init__(self) -> None:
        self.buffers = [schema.BufferT()]
        self.codes: dict[tuple[int, int], int] = {}
        self.subgraphs: list[Any] = []
        #: Constants of the Graph that have their buffer already.
        self.held: dict[str, int] = {}


class _Writer:
    """Collects tensors and operators of a subgraph; implements the families' TfliteBuilder."""

    def __init__(self, graph: Graph, file: _File, name: str) -> None:
        self.graph, self.file = graph, file
        self.subgraph = schema.SubGraphT()
        self.subgraph.name = name
        file.subgraphs.append(self.subgraph)
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.index: dict[str, int] = {}

    def close(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Write what was collected into the subgraph."""
        self.subgraph.tensors, self.subgraph.operators = self.tensors, self.operators
        self.subgraph.inputs = np.array(inputs, np.int32)
        self.subgraph.outputs = np.array(outputs, np.int32)

    def _add(self, tensor: Tensor, buffer: int | None = None) -> int:
        entry = schema.TensorT()
        entry.name = tensor.name
        entry.shape = np.array(tensor.shape, np.int32)
        entry.type = _TYPES[tensor.dtype]
        entry.buffer = 0
        if tensor.quantization is not None:
            entry.quantization = _quantization(tensor.quantization)
        if buffer is not None:
            entry.buffer = buffer
        elif tensor.data is not None:
            data = schema.BufferT()
            data.data = np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8)
            self.file.buffers.append(data)
            entry.buffer = len(self.file.buffers) - 1
        self.tensors.append(entry)
        return len(self.tensors) - 1

    def tensor(self, name: str) -> int:
        if name not in self.index:
            held = self.file.held.get(name)
            self.index[name] = self._add(self.graph.tensors[name], held)
            if self.graph.tensors[name].data is not None:
                self.file.held[name] = self.tensors[self.index[name]].buffer
        return self.index[name]

    def int32(self, data: Sequence[Any] | NDArray[Any], name: str) -> int:
        array = np.array(data, np.int32)
        return self._add(Tensor(name=name, shape=array.shape, dtype=DType.INT32, data=array))

    def int8(self, data: NDArray[np.int8], quantization: Quantization, name: str) -> int:
        return self.constant(data, quantization, name)

    def constant(self, data: Array, quantization: Quantization | None, name: str) -> int:
        return self._add(constant(name, data, quantization))

    def temporary(
        self,
        shape: tuple[int, ...],
        quantization: Quantization | None,
        name: str,
        dtype: DType = DType.INT8,
    ) -> int:
        return self._add(Tensor(name=name, shape=shape, dtype=dtype, quantization=quantization))

    def int32_temporary(self, shape: tuple[int, ...], name: str) -> int:
        return self._add(Tensor(name=name, shape=shape, dtype=DType.INT32))

    def bool_temporary(self, shape: tuple[int, ...], name: str) -> int:
        index = self.int32_temporary(shape, name)
        self.tensors[index].type = schema.TensorType.BOOL
        return index

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
        operator.opcodeIndex = self.file.codes.setdefault((builtin, version), len(self.file.codes))
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        if options:
            table = getattr(schema, options + "T")()
            for name, value in fields.items():
                setattr(table, name, _enum(name, value))
            operator.builtinOptions = table
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        self.operators.append(operator)

    def loop(
        self,
        name: str,
        steps: int,
        first: Sequence[int],
        results: Sequence[int | None],
        body: Callable[[TfliteBuilder, int, Sequence[int]], Sequence[int]],
    ) -> None:
        counter = self.int32([0], f"{name}/first")
        carried = [counter, *first]
        inside = _Writer(self.graph, self.file, f"{name}/body")
        inputs = [inside._like(self.tensors[index], "in") for index in carried]
        step = inside.int32_temporary((1,), f"{name}/next")
        one = inside.int32([1], f"{name}/one")
        none: dict[str, Any] = {"fusedActivationFunction": "NONE"}
        inside.op("ADD", [inputs[0], one], [step], "AddOptions", **none)
        inside.close(inputs, [step, *body(inside, inputs[0], inputs[1:])])
        test = _Writer(self.graph, self.file, f"{name}/test")
        seen = [test._like(self.tensors[index], "in") for index in carried]
        goes_on = test._add(Tensor(name=f"{name}/goes_on", shape=(1,), dtype=DType.INT8))
        test.tensors[goes_on].type = schema.TensorType.BOOL
        test.op("LESS", [seen[0], test.int32([steps], f"{name}/steps")], [goes_on], "LessOptions")
        test.close(seen, [goes_on])
        place = self.file.subgraphs.index
        ends = [
            self._like(self.tensors[index], "out") if result is None else result
            for index, result in zip(carried, [None, *results], strict=True)
        ]
        fields = {
            "condSubgraphIndex": place(test.subgraph),
            "bodySubgraphIndex": place(inside.subgraph),
        }
        self.op("WHILE", carried, ends, "WhileOptions", **fields)

    def _like(self, tensor: Any, role: str) -> int:
        """A new activation of the type, shape and scale of another subgraph's tensor."""
        entry = copy.copy(tensor)
        entry.name, entry.buffer = f"{tensor.name}/{role}{len(self.tensors)}", 0
        self.tensors.append(entry)
        return len(self.tensors) - 1


def _enum(field: str, value: Any) -> Any:
    """Names of the schema's enumerations -> their numbers."""
    if not isinstance(value, str):
        return value
    if field == "padding":
        return getattr(schema.Padding, value)
    if field in ("inDataType", "outDataType", "outputType"):
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
    file = _File()
    writer = _Writer(graph, file, graph.name)
    inputs = [writer.tensor(port.tensor) for port in graph.inputs]
    for op in graph.ops:
        ops.family_of(op).write_tflite(op, graph, writer)
    writer.close(inputs, [writer.tensor(port.tensor) for port in graph.outputs])
    model = schema.ModelT()
    model.version = _SCHEMA_VERSION
    model.description = "edgefactor"
    model.operatorCodes = []
    for builtin, version in file.codes:
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = builtin, version
        # Readers of before 2020 look at this byte; larger codes show as the placeholder there.
        code.deprecatedBuiltinCode = min(
            builtin, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
        )
        model.operatorCodes.append(code)
    model.signatureDefs = [_signature(graph, writer)]
    model.subgraphs = file.subgraphs
    model.buffers = file.buffers
    builder = _AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
