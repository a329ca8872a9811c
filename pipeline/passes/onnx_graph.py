"""An ONNX graph for passes to edit: nodes in order, constants as arrays, static shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgefactor.errors import ModelError

Shape = tuple[int, ...]
_RECURRENT = ("GRU", "LSTM", "RNN")


class OnnxGraph:
    """The one graph of a model, for editing.

    Attributes:
        nodes: In an order in which each comes after what it reads.
        constants: Initializers by name.
        shapes: Static shape of every value, as far as known.
        types: ONNX element type of the values that are not float.
        opset: Version of ONNX's own operator set.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        graph = model.graph
        self.nodes: list[onnx.NodeProto] = list(graph.node)
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        self.shapes = static_shapes(model)
        self.types = {
            value.name: value.type.tensor_type.elem_type
            for value in (*graph.input, *graph.output, *graph.value_info)
        }
        self.opset = max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1
        )
        self.outputs = tuple(value.name for value in graph.output)
        self.inputs = tuple(v.name for v in graph.input if v.name not in self.constants)

    def consumers(self, value: str) -> list[onnx.NodeProto]:
        """The nodes that read `value`."""
        return [node for node in self.nodes if value in node.input]

    def producer(self, value: str) -> onnx.NodeProto | None:
        """The node that computes `value`; None for inputs and constants."""
        return next((node for node in self.nodes if value in node.output), None)

    def only_consumer(self, value: str) -> onnx.NodeProto | None:
        """The one node that reads `value`, if there is one and the value is no output."""
        readers = self.consumers(value)
        alone = len(readers) == 1 and list(readers[0].input).count(value) == 1
        return readers[0] if alone and value not in self.outputs else None

    def add_constant(self, name: str, array: NDArray[Any]) -> str:
        """Stores an array under `name`, or under a name like it where that one is taken."""
        fresh, count = name, 1
        while fresh in self.constants or fresh in self.shapes:
            count += 1
            fresh = f"{name}_{count}"
        self.constants[fresh] = array
        return fresh

    def fresh_value(self, name: str, shape: Shape) -> str:
        """A name for a new value."""
        fresh, count = name, 1
        while fresh in self.constants or fresh in self.shapes:
            count += 1
            fresh = f"{name}_{count}"
        self.shapes[fresh] = shape
        return fresh

    def replace(self, old: Sequence[onnx.NodeProto], new: Sequence[onnx.NodeProto]) -> None:
        """Puts `new` in the place of the last of `old`."""
        gone = [id(node) for node in old]
        position = max(index for index, node in enumerate(self.nodes) if id(node) in gone)
        before = [node for node in self.nodes[:position] if id(node) not in gone]
        self.nodes = [*before, *new, *self.nodes[position + 1 :]]

    def rename_input(self, old: str, new: str) -> None:
        """Makes every node that reads `old` read `new`."""
        for node in self.nodes:
            for position, name in enumerate(node.input):
                if name == old:
                    node.input[position] = new

    def to_model(self) -> onnx.ModelProto:
        """The model, with live nodes and constants only and a unique name for every node."""
        nodes = self._live_nodes()
        used = Counter(name for node in nodes for name in node.input if name)
        for index, node in enumerate(nodes):
            node.name = node.name or f"{node.op_type}_{index}"
        repeated = Counter(node.name for node in nodes)
        for index, node in enumerate(nodes):
            if repeated[node.name] > 1:
                node.name = f"{node.name}_{index}"
        # In the order of first use, which does not depend on any dictionary of a library.
        order = dict.fromkeys(name for node in nodes for name in node.input if name)
        kept = [name for name in order if name in self.constants]
        kept += [name for name in self.outputs if name in self.constants and not used[name]]
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(nodes)
        graph.initializer.extend(numpy_helper.from_array(self.constants[n], n) for n in kept)
        listed = {value.name for value in (*graph.input, *graph.output)}
        for value in (name for node in nodes for name in node.output if name):
            if value not in listed and value in self.shapes:
                kind = self.types.get(value, onnx.TensorProto.FLOAT)
                graph.value_info.append(
                    helper.make_tensor_value_info(value, kind, self.shapes[value])
                )
        return model

    def _live_nodes(self) -> list[onnx.NodeProto]:
        needed = set(self.outputs)
        live: list[onnx.NodeProto] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                live.append(node)
        return live[::-1]


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of an attribute, or `default` where the node does not have it."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def static_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes of all values of which every size is a number."""
    shapes: dict[str, Shape] = {}
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        if kind.HasField("shape") and None not in sizes:
            shapes[value.name] = tuple(size for size in sizes if size is not None)
    for tensor in graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
    return shapes


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a shape for every value that ONNX can infer.

    PyTorch's exporter notes wrong shapes for results of a recurrent layer that nothing reads; what
    it says of those is left out.

    Raises:
        ModelError: If the shapes contradict each other.
    """
    layers = (node for node in model.graph.node if node.op_type in _RECURRENT)
    inferred = {name for node in layers for name in node.output}
    noted = [value for value in model.graph.value_info if value.name not in inferred]
    if len(noted) < len(model.graph.value_info):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        del copy.graph.value_info[:]
        copy.graph.value_info.extend(noted)
        model = copy
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:
        raise ModelError(
            "The shapes in the ONNX model contradict each other",
            found=str(error).strip().splitlines()[0],
        ) from error


def value_names(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """The names of all values that nodes compute."""
    for node in nodes:
        yield from (name for name in node.output if name)


def is_all(array: NDArray[Any], value: float) -> bool:
    """Whether every element equals `value`."""
    return bool(np.all(array == value))
