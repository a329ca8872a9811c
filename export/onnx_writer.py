"""Writes a Graph as ONNX: plain float before quantization, QDQ integers after it.

The files take and return the arrays that the PyTorch model takes and returns (float32, channels
first). In the int8 file every activation passes through QuantizeLinear and DequantizeLinear with
the Graph's own scale, and weights are int8 initializers with theirs, so no runtime re-derives a
number. Rank-4 tensors of the Graph (NHWC) appear as NCHW.

ONNX's own QuantizeLinear has int16 from operator set 21 on, which changes other operators; ONNX
Runtime's of the same name, in its domain ``com.microsoft``, has it with any. It is used for 16-bit
tensors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgefactor.export import ops
from edgefactor.export.ir import Array, DType, Graph, Port, Tensor

OPSET = 17
IR_VERSION = 8
#: Domain of ONNX Runtime's own operators, and their version.
RUNTIME_DOMAIN, RUNTIME_OPSET = "com.microsoft", 1
TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
_ELEMENT_TYPES = {DType.INT8: TensorProto.INT8, DType.INT16: TensorProto.INT16}


def onnx_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape under which a Graph tensor appears in ONNX."""
    if len(tensor.shape) != 4:
        return tensor.shape
    return tuple(tensor.shape[axis] for axis in TO_NCHW)


def real_name(tensor: str) -> str:
    """The ONNX value that holds an activation of the Graph as real numbers."""
    return f"{tensor}/real"


def quantized_name(tensor: str) -> str:
    """The ONNX value that holds the codes of an activation of the Graph."""
    return f"{tensor}/codes"


class _Writer:
    """Collects nodes and initializers; implements the families' OnnxBuilder."""

    def __init__(self, graph: Graph, *, wants_probes: bool = False) -> None:
        self.graph = graph
        self.wants_probes = wants_probes
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.values: dict[str, str] = {}
        self.probes: list[str] = []
        self.domains: set[str] = set()
        self.count = 0
        self.scope = ""

    def fresh(self, hint: str) -> str:
        self.count += 1
        return f"{self.scope}/{hint}_{self.count}"

    def initializer(self, data: Array, hint: str) -> str:
        name = self.fresh(hint)
        self.initializers.append(numpy_helper.from_array(np.asarray(data, order="C"), name))
        return name

    def literal(self, data: Array) -> str:
        return self.initializer(data, "literal")

    def node(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:
        output = self.fresh(op_type)
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], output, **attributes))
        return output

    def node_of(
        self, op_type: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        names = [self.fresh(op_type) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, names[0], **attributes))
        return names

    def named_node(self, op_type: str, inputs: Sequence[str], output: str, **fields: Any) -> str:
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], output, **fields))
        return output

    def read(self, tensor: str) -> str:
        if tensor in self.values:
            return self.values[tensor]
        rank = len(self.graph.tensors[tensor].shape)
        self.values[tensor] = self.read_weights(
            tensor, TO_NCHW if rank == 4 else tuple(range(rank))
        )
        return self.values[tensor]

    def read_weights(self, tensor: str, perm: tuple[int, ...]) -> str:
        source = self.graph.tensors[tensor]
        quantization = source.quantization
        if quantization is not None and source.dtype is DType.INT64:
            # No DequantizeLinear takes int64: the bias of a layer on 16-bit activations.
            return self.initializer(_dequantized(source, perm), "constant")
        codes = self.initializer(np.transpose(source.values, perm), "constant")
        if quantization is None:
            return codes
        if quantization.axis is None:
            scale = self.initializer(np.array(quantization.scale, np.float32), "scale")
            zero = self.initializer(np.array(quantization.zero_point, source.values.dtype), "zero")
            fields = self.domain_of(source)
            return self.node("DequantizeLinear", [codes, scale, zero], **fields)
        scale = self.initializer(np.array(quantization.scales, np.float32), "scales")
        axis = perm.index(quantization.axis)
        return self.node("DequantizeLinear", [codes, scale], axis=axis)

    def domain_of(self, tensor: Tensor) -> dict[str, str]:
        """Whose QuantizeLinear and DequantizeLinear take a tensor's type."""
        if tensor.dtype is not DType.INT16:
            return {}
        self.domains.add(RUNTIME_DOMAIN)
        return {"domain": RUNTIME_DOMAIN}

    def write(self, tensor: str, value: str) -> None:
        target = self.graph.tensors[tensor]
        quantization = target.quantization
        if quantization is None:
            self.values[tensor] = self.named_node("Identity", [value], real_name(tensor))
            return
        scale = self.initializer(np.array(quantization.scale, np.float32), "scale")
        zero = self.initializer(np.array(quantization.zero_point, str(target.dtype)), "zero")
        fields = self.domain_of(target)
        codes = self.named_node(
            "QuantizeLinear", [value, scale, zero], quantized_name(tensor), **fields
        )
        self.values[tensor] = self.named_node(
            "DequantizeLinear", [codes, scale, zero], real_name(tensor), **fields
        )

    def probe(self, name: str, value: str) -> None:
        self.probes.append(self.named_node("Identity", [value], real_name(name)))

    def reorder(self, value: str, shape: tuple[int, ...], perm: tuple[int, ...]) -> str:
        """Transpose ``value`` of ``shape`` unless only axes of size 1 would move."""
        moved = [axis for axis in perm if shape[axis] != 1]
        if moved != sorted(moved):
            return self.node("Transpose", [value], perm=list(perm))
        after = tuple(shape[axis] for axis in perm)
        return value if after == shape else self.reshape(value, after)

    def reshape(self, value: str, shape: tuple[int, ...]) -> str:
        return self.node("Reshape", [value, self.literal(np.array(shape, np.int64))])


def _read_input(writer: _Writer, port: Port) -> None:
    """PyTorch's layout -> the Graph's order -> NCHW if the Graph's tensor has rank 4."""
    graph_shape = writer.graph.tensors[port.tensor].shape
    stored = tuple(port.shape[axis] for axis in port.perm)
    if len(graph_shape) == 4 and stored == graph_shape:
        combined = tuple(port.perm[axis] for axis in TO_NCHW)
        writer.write(port.tensor, writer.reorder(port.name, port.shape, combined))
        return
    value = writer.reorder(port.name, port.shape, port.perm)
    if stored != graph_shape:
        value = writer.reshape(value, graph_shape)
    if len(graph_shape) == 4:
        value = writer.reorder(value, graph_shape, TO_NCHW)
    writer.write(port.tensor, value)


def _write_output(writer: _Writer, port: Port) -> None:
    graph_shape = writer.graph.tensors[port.tensor].shape
    stored = tuple(port.shape[axis] for axis in port.perm)
    inverse = tuple(int(axis) for axis in np.argsort(port.perm))
    value = writer.read(port.tensor)
    if len(graph_shape) == 4 and stored == graph_shape:
        combined = tuple(TO_NHWC[axis] for axis in inverse)
        value = writer.reorder(value, onnx_shape(writer.graph.tensors[port.tensor]), combined)
    else:
        if len(graph_shape) == 4:
            shape = onnx_shape(writer.graph.tensors[port.tensor])
            value = writer.reorder(value, shape, TO_NHWC)
        if stored != graph_shape:
            value = writer.reshape(value, stored)
        value = writer.reorder(value, stored, inverse)
    writer.named_node("Identity", [value], port.name)


def write_onnx(
    graph: Graph, *, extra_outputs: Sequence[str] = (), probes: bool = False
) -> onnx.ModelProto:
    """An ONNX model with the Graph's arithmetic on real values.

    Args:
        graph: A float or an integer Graph.
        extra_outputs: Graph tensors to add as outputs (NCHW if of rank 4): float values of a float
            Graph, codes of an integer Graph.
        probes: Whether to add the probes of all operators as outputs (of a float Graph).
    """
    writer = _Writer(graph, wants_probes=probes)
    for port in graph.inputs:
        writer.scope = port.name
        _read_input(writer, port)
    for op in graph.ops:
        writer.scope = op.name
        ops.family_of(op).write_onnx(op, graph, writer)
    for port in graph.outputs:
        writer.scope = port.name
        _write_output(writer, port)
    outputs = [_value_info(port.name, port.shape) for port in graph.outputs]
    for name in extra_outputs:
        tensor = graph.tensors[name]
        if tensor.quantization is None:
            outputs.append(_value_info(real_name(name), onnx_shape(tensor)))
        else:
            outputs.append(
                helper.make_tensor_value_info(
                    quantized_name(name), _ELEMENT_TYPES[tensor.dtype], onnx_shape(tensor)
                )
            )
    outputs += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in writer.probes
    ]
    model = helper.make_model(
        helper.make_graph(
            writer.nodes,
            graph.name,
            [_value_info(port.name, port.shape) for port in graph.inputs],
            outputs,
            writer.initializers,
        ),
        opset_imports=[
            helper.make_opsetid("", OPSET),
            *(helper.make_opsetid(name, RUNTIME_OPSET) for name in writer.domains),
        ],
        producer_name="edgefactor",
    )
    model.ir_version = IR_VERSION
    return model


def _value_info(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _dequantized(tensor: Tensor, perm: tuple[int, ...]) -> NDArray[np.float32]:
    """The real values of a constant quantized along its only axis."""
    real = tensor.values.astype(np.float64) * np.array(tensor.quant.scales)
    return np.transpose(real, perm).astype(np.float32)


def codes_to_graph(codes: Array, tensor: Tensor) -> Array:
    """Codes fetched from ONNX Runtime -> the Graph's layout."""
    if len(tensor.shape) != 4:
        return codes
    return np.transpose(codes, TO_NHWC)
