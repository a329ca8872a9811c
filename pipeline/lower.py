"""ONNX -> float Graph: static shapes, channels last, one operator family a node.

Layout is settled lazily. Every ONNX value is bound to a Graph tensor that holds its elements in
some order of the ONNX axes; an ONNX Transpose only changes that order, and an operator is emitted
only where one asks for another order than the one that is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgefactor.errors import ModelError, UnsupportedOperatorError
from edgefactor.export import ops
from edgefactor.export.ir import Array, Graph, Op, Port, Tensor, constant
from edgefactor.export.ops.family import Node
from edgefactor.export.ops.reshape import Reshape, Transpose
from edgefactor.pipeline.passes.decompose import DECOMPOSED
from edgefactor.pipeline.passes.fuse_norms import recognise_norms
from edgefactor.pipeline.passes.neighbours import live_ops

Shape = tuple[int, ...]
Perm = tuple[int, ...]

_CHANNELS_LAST: dict[int, Perm] = {2: (0, 1), 3: (0, 2, 1), 4: (0, 2, 3, 1)}
#: Operators through which "my consumer wants channels last" passes on to a network input.
_LAYOUT_AGNOSTIC = {
    "Add", "BatchNormalization", "Clip", "Concat", "Div", "HardSigmoid", "HardSwish", "LeakyRelu",
    "Max", "Min", "Mul", "Pad", "PRelu", "Relu", "Sigmoid", "Slice", "Split", "Sub", "Tanh",
    "Where",
}  # fmt: skip
_WANTS_CHANNELS_LAST = {
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace",
    "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Resize", "SpaceToDepth", "Upsample",
}  # fmt: skip


def _identity(rank: int) -> Perm:
    return tuple(range(rank))


def same_order(shape: Shape, first: Perm, second: Perm) -> bool:
    """Whether two permutations of ``shape`` give the same order of elements in memory."""
    long = [axis for axis in first if shape[axis] != 1]
    return long == [axis for axis in second if shape[axis] != 1]


def _attribute(proto: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode()
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


class _Lowering:
    """The state of one lowering; implements the families' Lowering protocol."""

    def __init__(self, model: onnx.ModelProto, source_of: Callable[[onnx.NodeProto], str]) -> None:
        self.graph = model.graph
        self.source_of = source_of
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.shapes = {name: array.shape for name, array in self.constants.items()}
        self.types = {t.name: t.data_type for t in model.graph.initializer}
        for info in (*model.graph.value_info, *model.graph.input, *model.graph.output):
            self.types[info.name] = info.type.tensor_type.elem_type
            if info.type.HasField("tensor_type"):
                self.shapes[info.name] = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.bound: dict[str, tuple[str, Perm]] = {}
        self.reordered: dict[tuple[str, Shape, Perm], str] = {}
        #: Views and what they are views of.
        self.viewed: dict[str, str] = {}
        self.node: Node | None = None

    # -- what families ask for ------------------------------------------------------------------

    def shape(self, value: str) -> Shape:
        shape = self.shapes.get(value)
        if shape is None or any(size < 1 for size in shape):
            raise ModelError(
                "The shape of a value is not known before the network runs.",
                where=f"value {value} at node {self.node.name if self.node else '?'}",
                found="no shape" if shape is None else f"shape {list(shape)}",
                expected="a fixed size for every axis",
                hint="avoid shapes that depend on the data; pass --input-shape with fixed sizes",
            )
        return shape

    def element_type(self, value: str) -> int:
        return int(self.types.get(value, onnx.TensorProto.FLOAT))

    def constant(self, value: str) -> NDArray[Any] | None:
        return self.constants.get(value)

    def is_read(self, value: str) -> bool:
        readers = (name for node in self.graph.node for name in node.input)
        return value in readers or any(value == output.name for output in self.graph.output)

    def stored(self, value: str) -> tuple[str, Perm]:
        if value in self.bound:
            return self.bound[value]
        data = self.constants.get(value)
        if data is None:
            raise ModelError("A node reads a value that nothing defines.", where=value)
        tensor = self.add_constant(np.asarray(data, np.float32), value)
        self.bound[value] = (tensor, _identity(data.ndim))
        return self.bound[value]

    def stored_like(self, value: str, perm: Perm) -> str:
        shape = self.shape(value)
        return self._arranged(value, perm, tuple(shape[axis] for axis in perm))

    def plain(self, value: str) -> str:
        return self.stored_like(value, _identity(len(self.shape(value))))

    def channels_last(self, value: str) -> str:
        shape = self.shape(value)
        if len(shape) not in _CHANNELS_LAST:
            self.unsupported(self._current(), f"a tensor of {len(shape)} axes", "use 2 to 4 axes")
        perm = _CHANNELS_LAST[len(shape)]
        stored = [shape[axis] for axis in perm]
        full = {2: (stored[0], 1, 1, stored[-1]), 3: (stored[0], 1, *stored[1:])}
        return self._arranged(value, perm, full.get(len(shape), tuple(stored)))

    def features_last(self, value: str) -> str:
        shape = self.shape(value)
        rows = int(np.prod(shape[:-1], dtype=np.int64))
        return self._arranged(value, _identity(len(shape)), (1, rows, 1, shape[-1]))

    def graph_shape(self, tensor: str) -> Shape:
        return self.tensors[tensor].shape

    def view(self, tensor: str, shape: Shape) -> str:
        while self.tensors[tensor].shape != shape and tensor in self.viewed:
            tensor = self.viewed[tensor]
        if self.tensors[tensor].shape == shape:
            return tensor
        key = (tensor, shape, ())
        if key not in self.reordered:
            data = self.tensors[tensor].data
            if data is not None:
                self.reordered[key] = self.add_constant(data.reshape(shape), f"{tensor}.view")
                return self.reordered[key]
            made = self.emit(Reshape, [tensor], shape, hint=f"{tensor}.view", new_shape=shape)
            self.reordered[key] = made
            self.viewed[made] = tensor
        return self.reordered[key]

    def add_constant(self, data: Array, hint: str) -> str:
        name = self._fresh(hint)
        self.tensors[name] = constant(name, np.asarray(data, np.float32))
        return name

    def emit(
        self,
        op_type: type[Op],
        inputs: Sequence[str],
        shape: Shape,
        *,
        hint: str = "",
        **fields: Any,
    ) -> str:
        node = self._current()
        name = self._fresh(hint or node.outputs[0])
        op = op_type(name=name, inputs=tuple(inputs), outputs=(name,), source=node.source, **fields)
        self.tensors[name] = Tensor(name=name, shape=tuple(int(size) for size in shape))
        self.ops.append(op)
        return name

    def bind(self, value: str, tensor: str, perm: Perm) -> None:
        self.bound[value] = (tensor, perm)

    def bind_plain(self, value: str, tensor: str) -> None:
        self.bind(value, tensor, _identity(len(self.shape(value))))

    def bind_channels_last(self, value: str, tensor: str) -> None:
        self.bind(value, tensor, _CHANNELS_LAST[len(self.shape(value))])

    def unsupported(self, node: Node, reason: str, hint: str) -> NoReturn:
        place = f"node {node.name} ({node.op_type})"
        raise UnsupportedOperatorError(
            f"{node.op_type} cannot be exported: {reason}.",
            where=f"{place}, from {node.source}" if node.source else place,
            found=", ".join(
                f"{name} {list(self.shapes.get(name, ()))}" for name in node.inputs if name
            ),
            expected="an operator with an int8 implementation in TFLite and C",
            hint=hint,
        )

    # -- inside ---------------------------------------------------------------------------------

    def _current(self) -> Node:
        if self.node is None:
            raise ValueError("operators are emitted while a node is lowered")
        return self.node

    def _fresh(self, hint: str) -> str:
        base = re.sub(r"[^0-9A-Za-z_./]+", "_", hint) or "value"
        name, count = base, 1
        while name in self.tensors:
            count += 1
            name = f"{base}.{count}"
        return name

    def _arranged(self, value: str, perm: Perm, shape: Shape) -> str:
        """The tensor of a value with its elements in the order ``perm``, seen as ``shape``."""
        tensor, stored = self.stored(value)
        onnx_shape = self.shape(value)
        if same_order(onnx_shape, stored, perm):
            return self.view(tensor, shape)
        key = (tensor, shape, perm)
        if key not in self.reordered:
            before = tuple(onnx_shape[axis] for axis in stored)
            source = self.view(tensor, before)
            move = tuple(stored.index(axis) for axis in perm)
            data = self.tensors[source].data
            if data is not None:
                moved = self.add_constant(np.transpose(data, move), f"{tensor}.t")
            else:
                moved = self.emit(
                    Transpose,
                    [source],
                    tuple(before[axis] for axis in move),
                    hint=f"{tensor}.t",
                    perm=move,
                )
            self.reordered[key] = self.view(moved, shape)
        return self.reordered[key]


def _wants_channels_last(graph: onnx.GraphProto, value: str) -> bool:
    """Whether a network input reaches a convolution or pool before anything fixes its order."""
    seen, pending = set[str](), [value]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in graph.node:
            if name in node.input:
                if node.op_type in _WANTS_CHANNELS_LAST:
                    return True
                if node.op_type in _LAYOUT_AGNOSTIC:
                    pending.extend(node.output)
    return False


def _input_port(lowering: _Lowering, value: str) -> Port:
    shape = lowering.shape(value)
    rank = len(shape)
    perm = _identity(rank)
    graph_shape = shape
    if rank in (3, 4) and _wants_channels_last(lowering.graph, value):
        perm = _CHANNELS_LAST[rank]
        graph_shape = tuple(shape[axis] for axis in perm)
        if rank == 3:
            graph_shape = (graph_shape[0], 1, *graph_shape[1:])
    name = lowering._fresh(value)
    lowering.tensors[name] = Tensor(name=name, shape=graph_shape)
    lowering.bind(value, name, perm)
    return Port(tensor=name, name=value, shape=shape, perm=perm)


def _output_port(lowering: _Lowering, value: str) -> Port:
    tensor, perm = lowering.stored(value)
    shape = lowering.shape(value)
    if shape and shape[0] == 1:
        # The batch axis has one element: wherever it is stored, it can be seen as the first.
        perm = (0, *(axis for axis in perm if axis != 0))
    stored = tuple(shape[axis] for axis in perm)
    # The files' signatures show the rank that the PyTorch model returns.
    tensor = lowering.view(tensor, stored)
    return Port(tensor=tensor, name=value, shape=shape, perm=perm)


def lower(
    model: onnx.ModelProto, *, name: str, source_of: Callable[[onnx.NodeProto], str] = lambda _: ""
) -> Graph:
    """Lower a simplified ONNX model with static shapes to a float Graph.

    Args:
        model: opset 13 or later, every value with a static shape, constants as initializers.
        name: Name of the network.
        source_of: Where a node comes from in the PyTorch source; empty if unknown.

    Raises:
        UnsupportedOperatorError: A node has no implementation; all such operators are named.
        ModelError: A shape is not static.
    """
    model = recognise_norms(model)
    lowering = _Lowering(model, source_of)
    nodes = [
        Node(
            op_type=proto.op_type,
            name=proto.name or proto.output[0],
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes={a.name: _attribute(a) for a in proto.attribute},
            source=source_of(proto),
        )
        for proto in model.graph.node
    ]
    missing = sorted({node.op_type for node in nodes if node.op_type not in ops.BY_ONNX})
    if missing:
        first = next(node for node in nodes if node.op_type == missing[0])
        lowering.unsupported(
            first,
            f"operators without an int8 implementation here: {', '.join(missing)}",
            f"replace it; supported are {', '.join(sorted({*ops.BY_ONNX, *DECOMPOSED}))}",
        )
    initial = set(lowering.constants)
    inputs = tuple(
        _input_port(lowering, info.name) for info in model.graph.input if info.name not in initial
    )
    for node in nodes:
        lowering.node = node
        ops.BY_ONNX[node.op_type].lower(node, lowering)
    outputs = tuple(_output_port(lowering, info.name) for info in model.graph.output)
    for port in outputs:
        if lowering.tensors[port.tensor].data is not None:
            raise ModelError(
                "An output of the model is the same for every input",
                where=f"output {port.name}",
                expected="outputs that are computed from the inputs",
                hint="Leave constants out of what forward returns.",
            )
    whole = Graph(
        name=name,
        tensors=lowering.tensors,
        ops=tuple(lowering.ops),
        inputs=inputs,
        outputs=outputs,
    )
    return whole.edit(ops=live_ops(whole))
