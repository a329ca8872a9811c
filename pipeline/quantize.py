"""Float Graph + ranges -> int8 Graph. Every scale of the export is decided here, once.

Rules (TensorFlow Lite 8-bit quantization specification): activations int8 asymmetric per tensor,
weights int8 symmetric per output channel, biases int32 at the product of both scales. Operators
that only move or select values share one scale with what they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgefactor.export import numerics, ops
from edgefactor.export.ir import DType, Graph, Op, Quantization, Tensor
from edgefactor.export.ops.family import replace_inputs
from edgefactor.export.ops.requantize import Requantize

Range = tuple[float, float]


class _Groups:
    """Union-find over tensors that must share a scale."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        parent = self.parent.setdefault(name, name)
        while parent != self.parent[parent]:
            parent = self.parent[parent]
        self.parent[name] = parent
        return parent

    def join(self, first: str, second: str) -> None:
        self.parent[self.root(second)] = self.root(first)


class _Quantizer:
    """The tensors as they become integer; implements the families' Quantizer protocol."""

    def __init__(self, tensors: Mapping[str, Tensor], ranges: Mapping[str, Range]) -> None:
        self.tensors = dict(tensors)
        self.ranges = ranges

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]

    def put(self, tensor: Tensor) -> str:
        self.tensors[tensor.name] = tensor
        return tensor.name

    def range(self, name: str) -> Range:
        return self.ranges[name]


def _activation_inputs(graph: Graph, op: Op) -> list[str]:
    return [name for name in op.inputs if graph.tensors[name].data is None]


def _fixed_origin(graph: Graph, tensor: str) -> Quantization | None:
    """The quantization that the operator dictates which a tensor comes from, if any does."""
    producer = graph.producer(tensor)
    while producer is not None:
        rule = ops.family_of(producer).output_rule(producer)
        if isinstance(rule, Quantization):
            return rule
        sources = _activation_inputs(graph, producer)
        if rule != "same" or len(sources) != 1:
            return None
        producer = graph.producer(sources[0])
    return None


def separate_fixed_scales(
    graph: Graph, ranges: Mapping[str, Range]
) -> tuple[Graph, dict[str, Range]]:
    """Put a Requantize between a tensor of fixed scale and an operator that joins several.

    A concatenation has one scale for all its inputs; one that a sigmoid dictates (1/256) must not
    be forced on the others.
    """
    tensors, all_ranges = dict(graph.tensors), dict(ranges)
    new_ops: list[Op] = []
    for op in graph.ops:
        sources = _activation_inputs(graph, op)
        if ops.family_of(op).output_rule(op) == "same" and len(set(sources)) > 1:
            inputs = list(op.inputs)
            origins = {name: _fixed_origin(graph, name) for name in sources}
            if len(set(origins.values())) == 1:
                # All are at the same fixed scale, or at none.
                new_ops.append(op)
                continue
            for index, name in enumerate(inputs):
                if origins.get(name) is not None:
                    copy = f"{op.name}.in{index}"
                    tensors[copy] = Tensor(name=copy, shape=graph.tensors[name].shape)
                    all_ranges[copy] = all_ranges[name]
                    new_ops.append(
                        Requantize(name=copy, inputs=(name,), outputs=(copy,), source=op.source)
                    )
                    inputs[index] = copy
            op = replace_inputs(op, tuple(inputs))
        new_ops.append(op)
    return graph.edit(ops=tuple(new_ops), tensors=tensors), all_ranges


def quantize(graph: Graph, ranges: Mapping[str, Range]) -> Graph:
    """Make a float Graph integer.

    Args:
        graph: Float Graph, fused.
        ranges: Lowest and highest real value of every activation and probe
            (``pipeline/calibrate.py``).

    Returns:
        The int8 Graph: the same operators, all tensors int8 or int32 with scales.

    Raises:
        UnsupportedOperatorError: A sum of products could exceed 32 bits.
    """
    graph, ranges = separate_fixed_scales(graph, ranges)
    groups = _Groups()
    fixed: dict[str, Quantization] = {}
    for op in graph.ops:
        rule = ops.family_of(op).output_rule(op)
        if rule == "same":
            for name in _activation_inputs(graph, op):
                groups.join(name, op.outputs[0])
        elif isinstance(rule, Quantization):
            fixed[op.outputs[0]] = rule
    by_root = {groups.root(name): rule for name, rule in fixed.items()}
    spans: dict[str, Range] = {}
    for tensor in graph.activations:
        root = groups.root(tensor.name)
        low, high = ranges[tensor.name]
        before = spans.get(root, (low, high))
        spans[root] = min(before[0], low), max(before[1], high)
    quantizer = _Quantizer(graph.tensors, ranges)
    for tensor in graph.activations:
        root = groups.root(tensor.name)
        chosen = by_root.get(root) or numerics.choose_quantization(*spans[root])
        quantizer.put(replace(tensor, dtype=DType.INT8, quantization=chosen))
    new_ops = tuple(ops.family_of(op).quantize(op, quantizer) for op in graph.ops)
    return graph.edit(ops=new_ops, tensors=quantizer.tensors)
