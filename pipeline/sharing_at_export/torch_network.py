"""A float Graph as PyTorch operations, so that gradients reach its weights.

The Graph is written as ONNX, as for ONNX Runtime, and its nodes are run one after the other; every
network whose nodes are in ``OPERATORS`` can be run. A Graph's shapes have batch 1: samples are run
side by side by ``torch.func.vmap``, which keeps the shapes of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor

from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.conv import Conv2D

Attributes = Mapping[str, Any]
_OUTER = ("Identity", "Reshape", "Softmax", "Sigmoid", "Transpose", "Flatten")
"""What an output may have passed through since the values that tell most about it."""


def _padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """ONNX's pads (begins, then ends) around the last axes."""
    half = len(pads) // 2
    order = [p for axis in reversed(range(half)) for p in (pads[axis], pads[half + axis])]
    return F.pad(x, order, value=value) if any(order) else x


def _conv(inputs: Sequence[Tensor], a: Attributes) -> Tensor:
    x, weights, bias = inputs
    x = _padded(x, a.get("pads", ()))
    dilation, groups = tuple(a.get("dilations", (1, 1))), int(a.get("group", 1))
    return F.conv2d(x, weights, bias, tuple(a.get("strides", (1, 1))), 0, dilation, groups)


def _average_pool(inputs: Sequence[Tensor], a: Attributes) -> Tensor:
    pads, kernel = a.get("pads", ()), tuple(a["kernel_shape"])
    stride = tuple(a.get("strides", (1,) * len(kernel)))
    sums = F.avg_pool2d(_padded(inputs[0], pads), kernel, stride)
    if not any(pads):
        return sums
    # Padded positions take no part: divide by the share of the window that lies inside.
    inside = F.avg_pool2d(_padded(torch.ones_like(inputs[0]), pads), kernel, stride)
    return sums / inside


def _max_pool(inputs: Sequence[Tensor], a: Attributes) -> Tensor:
    kernel = tuple(a["kernel_shape"])
    x = _padded(inputs[0], a.get("pads", ()), float("-inf"))
    return F.max_pool2d(x, kernel, tuple(a.get("strides", (1,) * len(kernel))))


def _clip(inputs: Sequence[Tensor], a: Attributes) -> Tensor:
    low, high = (*inputs[1:], None, None)[:2]
    x = inputs[0] if low is None else torch.maximum(inputs[0], low)
    return x if high is None else torch.minimum(x, high)


def _reduce_mean(inputs: Sequence[Tensor], a: Attributes) -> Tensor:
    return inputs[0].mean(tuple(a["axes"]), keepdim=bool(a.get("keepdims", 1)))


def _reshape(inputs: Sequence[Tensor], a: Attributes) -> Tensor:
    return inputs[0].reshape([int(size) for size in inputs[1]])


def _pad(inputs: Sequence[Tensor], a: Attributes) -> Tensor:
    value = float(inputs[2]) if len(inputs) > 2 else 0.0
    return _padded(inputs[0], [int(size) for size in inputs[1]], value)


OPERATORS: Mapping[str, Callable[[Sequence[Tensor], Attributes], Tensor]] = {
    "Conv": _conv,
    "AveragePool": _average_pool,
    "MaxPool": _max_pool,
    "Clip": _clip,
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Pad": _pad,
    "Add": lambda i, a: i[0] + i[1],
    "Sub": lambda i, a: i[0] - i[1],
    "Mul": lambda i, a: i[0] * i[1],
    "Div": lambda i, a: i[0] / i[1],
    "MatMul": lambda i, a: i[0] @ i[1],
    "Concat": lambda i, a: torch.cat(tuple(i), int(a["axis"])),
    "Transpose": lambda i, a: i[0].permute(tuple(a["perm"])),
    "Softmax": lambda i, a: i[0].softmax(int(a.get("axis", -1))),
    "Identity": lambda i, a: i[0],
    "Relu": lambda i, a: i[0].relu(),
    "Sigmoid": lambda i, a: i[0].sigmoid(),
    "Tanh": lambda i, a: i[0].tanh(),
    "Erf": lambda i, a: i[0].erf(),
    "Exp": lambda i, a: i[0].exp(),
    "Sqrt": lambda i, a: i[0].sqrt(),
    "HardSigmoid": lambda i, a: (i[0] * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda i, a: F.hardswish(i[0]),
    "PRelu": lambda i, a: torch.where(i[0] >= 0, i[0], i[0] * i[1]),
    "LeakyRelu": lambda i, a: F.leaky_relu(i[0], a.get("alpha", 0.01)),
}
"""ONNX operator -> its result, as ``write_onnx`` uses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchNetwork:
    """A float network that can be run with other weights.

    Attributes:
        nodes: In order.
        constants: By name.
        inputs: Names of the inputs, with the shapes of one sample.
        outputs: Names of the values that are compared: the outputs, before a softmax or sigmoid.
        layers: Convolution's name -> names of its weights, its bias and its sums of products.
    """

    nodes: tuple[_Node, ...]
    constants: Mapping[str, Tensor]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    layers: Mapping[str, tuple[str, str, str]]

    def run(
        self, samples: Mapping[str, Tensor], wanted: Sequence[str], weights: Mapping[str, Tensor]
    ) -> tuple[Tensor, ...]:
        """Values of a batch of samples.

        Args:
            samples: Input name -> ``[n, 1, ...]``.
            wanted: Names of values.
            weights: What to take in place of constants, by name.

        Returns:
            ``[n, ...]`` for each of the wanted values.
        """
        names = tuple(self.inputs)

        def one(*arrays: Tensor) -> tuple[Tensor, ...]:
            values = {**self.constants, **weights, **dict(zip(names, arrays, strict=True))}
            run_nodes(self.nodes, values)
            return tuple(values[name] for name in wanted)

        found: tuple[Tensor, ...] = torch.func.vmap(one)(*(samples[name] for name in names))
        return found


def run_nodes(nodes: Iterable[_Node], values: dict[str, Tensor]) -> None:
    """Run nodes in order; what they make is added to the values."""
    for node in nodes:
        inputs = [values[name] for name in node.inputs if name]
        values[node.output] = OPERATORS[node.kind](inputs, node.attributes)


def torch_network(graph: Graph) -> TorchNetwork | None:
    """A float Graph in PyTorch; None if it has an operator that is not among ``OPERATORS``."""
    model = write_onnx(graph).graph
    nodes = tuple(_node(node) for node in model.node)
    if not all(_is_known(node) for node in nodes):
        return None
    convs = {node.output.rpartition("/")[0]: node for node in nodes if node.kind == "Conv"}
    layers = {
        op.name: (convs[op.name].inputs[1], convs[op.name].inputs[2], convs[op.name].output)
        for op in graph.ops
        if isinstance(op, Conv2D) and op.name in convs
    }
    made = {node.output: node for node in nodes}
    return TorchNetwork(
        nodes=nodes,
        constants={
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
            for tensor in model.initializer
        },
        inputs={port.name: port.shape for port in graph.inputs},
        outputs=tuple(_telling(made, port.name) for port in graph.outputs),
        layers=layers,
    )


def _node(node: onnx.NodeProto) -> _Node:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return _Node(
        kind=node.op_type,
        inputs=tuple(node.input),
        output=node.output[0],
        attributes=attributes,
    )


def _is_known(node: _Node) -> bool:
    mode = node.attributes.get("mode", b"constant")
    return node.kind in OPERATORS and (node.kind != "Pad" or mode == b"constant")


def _telling(made: Mapping[str, _Node], name: str) -> str:
    """The value that an output is a softmax, a sigmoid or another form of."""
    while name in made and made[name].kind in _OUTER:
        name = made[name].inputs[0]
    return name
