"""Float Graph + ranges -> integer Graph. Every scale of the export is decided here, once.

Rules (TensorFlow Lite 8-bit quantization specification): activations int8 asymmetric per tensor,
weights int8 symmetric per output channel, biases int32 at the product of both scales. Operators
that only move or select values share one scale with what they read. Operators that are said to need
it run on int16 activations: symmetric, scales that are powers of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from edgefactor.export import numerics, ops
from edgefactor.export.ir import DType, Graph, Op, Quantization, Tensor
from edgefactor.export.ops.family import replace_inputs
from edgefactor.export.ops.requantize import Requantize
from edgefactor.pipeline.passes.settle_masks import settle_masks
from edgefactor.pipeline.widths.borders import place_borders
from edgefactor.pipeline.widths.states import carries_states, widen_states

Range = tuple[float, float]
#: How often scales are moved until all runtimes agree; one move settles 19 of 20.
_MOST_MOVES = 20


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


def _sharing(graph: Graph, op: Op) -> list[str]:
    """The activations around an operator that have one scale."""
    return [n for n in ops.family_of(op).one_scale(op) if graph.tensors[n].data is None]


def _fixed_origins(graph: Graph) -> dict[str, Quantization]:
    """The scales that operators dictate, of their results and of what is moved from there."""
    origins: dict[str, Quantization] = {}
    for op in graph.ops:
        rule = ops.family_of(op).output_rule(op)
        found = rule if isinstance(rule, Quantization) else None
        if rule == "same":
            shared = set(_sharing(graph, op)) - set(op.outputs)
            sources = {origins.get(name) for name in shared}
            found = sources.pop() if len(sources) == 1 else None
        if found is not None:
            origins[op.outputs[0]] = found
    return origins


class _Borders:
    """Puts a Requantize where a tensor is read at another scale than its own."""

    def __init__(self, graph: Graph, ranges: Mapping[str, Range]) -> None:
        self.graph = graph
        self.ranges = dict(ranges)
        self.tensors = dict(graph.tensors)
        self.ops: list[Op] = []
        self.origins = _fixed_origins(graph)
        #: What operators demand of the tensors that they read.
        self.demanded: dict[str, Quantization] = {}

    def copy(self, op: Op, index: int) -> str:
        """A copy of an input at a scale of its own."""
        source = op.inputs[index]
        name = f"{op.name}.in{index}"
        self.tensors[name] = Tensor(name=name, shape=self.graph.tensors[source].shape)
        self.ranges[name] = self.ranges[source]
        self.ops.append(Requantize(name=name, inputs=(source,), outputs=(name,), source=op.source))
        return name

    def demand(self, op: Op, index: int, rule: Quantization) -> str:
        """The tensor to read in the place of an input that must have a scale."""
        name = op.inputs[index]
        own = self.demanded.get(name, self.origins.get(name))
        if own is not None and own != rule:
            name = self.copy(op, index)
        self.demanded[name] = rule
        return name


def separate_fixed_scales(
    graph: Graph, ranges: Mapping[str, Range]
) -> tuple[Graph, dict[str, Range], dict[str, Quantization]]:
    """Put a Requantize between a tensor of fixed scale and an operator that wants another.

    A concatenation has one scale for all its inputs; one that a sigmoid dictates (1/256) must not
    be forced on the others. A condition has the codes 0 and 1.

    Returns:
        The Graph, the ranges of its tensors, and the scales that operators demand of what they
        read.
    """
    borders = _Borders(graph, ranges)
    for op in graph.ops:
        inputs = list(op.inputs)
        shared = set(_sharing(graph, op)) - set(op.outputs)
        origins = {name: borders.origins.get(name) for name in shared}
        for index, name in enumerate(op.inputs):
            rule = ops.family_of(op).input_rule(op, index)
            if graph.tensors[name].data is not None:
                continue
            if rule is not None:
                inputs[index] = borders.demand(op, index, rule)
            elif len(set(origins.values())) > 1 and origins.get(name) is not None:
                inputs[index] = borders.copy(op, index)
        borders.ops.append(replace_inputs(op, tuple(inputs)))
    edited = graph.edit(ops=tuple(borders.ops), tensors=borders.tensors)
    return edited, borders.ranges, borders.demanded


def _own_constants(graph: Graph) -> Graph:
    """Give operators that put a constant at the scale of what they read one of their own.

    Another operator that shares it may have another scale.
    """
    tensors = dict(graph.tensors)
    new_ops = []
    for op in graph.ops:
        inputs = list(op.inputs)
        shared = ops.family_of(op).one_scale(op)
        for index, name in enumerate(op.inputs):
            tensor = tensors[name]
            if tensor.data is not None and name in shared and len(graph.consumers(name)) > 1:
                inputs[index] = f"{name}.{op.name}"
                tensors[inputs[index]] = replace(tensor, name=inputs[index])
        new_ops.append(replace_inputs(op, tuple(inputs)))
    return graph.edit(ops=tuple(new_ops), tensors=tensors)


def quantize(
    graph: Graph,
    ranges: Mapping[str, Range],
    wide: frozenset[str] = frozenset(),
    wide_ranges: Mapping[str, Range] | None = None,
) -> Graph:
    """Make a float Graph integer.

    Args:
        graph: Float Graph, fused.
        ranges: Lowest and highest real value of every activation and probe
            (``pipeline/calibrate.py``).
        wide: Names of operators that run on 16-bit activations (``pipeline/widths``).
        wide_ranges: Ranges for 16-bit activations, which need no clipping; by default ``ranges``.

    Returns:
        The integer Graph: the same operators, and a Requantize where scales or widths meet; all
        tensors with scales.

    Raises:
        UnsupportedOperatorError: A sum of products could exceed the accumulator.
    """
    graph, ranges, wide_ranges = settle_masks(graph, ranges, wide, wide_ranges)
    graph = _own_constants(graph)
    graph, ranges, fixed = separate_fixed_scales(graph, ranges)
    bordered = place_borders(graph, ranges, wide | carries_states(graph))
    graph = bordered.graph
    full = {**bordered.ranges, **wide_ranges}
    fixed = {name: rule for name, rule in fixed.items() if name not in bordered.wide}
    groups = _Groups()
    for op in graph.ops:
        family = ops.family_of(op)
        for index, name in enumerate(op.inputs):
            demanded = family.input_rule(op, index)
            if demanded is not None and graph.tensors[name].data is None:
                fixed[name] = demanded
            widely = family.wide_input_rule(op, index)
            if widely is not None and name in bordered.wide:
                fixed[name] = widely
        is_wide = op.outputs[0] in bordered.wide
        rule = family.wide_output_rule(op) if is_wide else family.output_rule(op)
        first, *others = _sharing(graph, op) or [op.outputs[0]]
        for name in others:
            groups.join(name, first)
        if isinstance(rule, Quantization):
            fixed[op.outputs[0]] = rule
    for takes, returns in graph.state_tensors:
        groups.join(takes, returns)
    by_root = {groups.root(name): rule for name, rule in fixed.items()}
    spans: dict[str, Range] = {}
    for tensor in graph.activations:
        root = groups.root(tensor.name)
        is_wide = tensor.name in bordered.wide
        low, high = (full if is_wide else bordered.ranges)[tensor.name]
        before = spans.get(root, (low, high))
        spans[root] = min(before[0], low), max(before[1], high)
    dtypes = {
        tensor.name: DType.INT16 if tensor.name in bordered.wide else DType.INT8
        for tensor in graph.activations
    }
    kinds = {groups.root(name): dtype for name, dtype in dtypes.items()}
    scales = {root: numerics.choose_for(kinds[root], *span) for root, span in spans.items()}
    scales.update(by_root)
    _coarsen(graph, bordered.wide, groups, scales)
    for _ in range(_MOST_MOVES):
        quantizer = _Quantizer(graph.tensors, bordered.ranges)
        for tensor in graph.activations:
            chosen = scales[groups.root(tensor.name)]
            quantizer.put(replace(tensor, dtype=dtypes[tensor.name], quantization=chosen))
        new_ops = tuple(ops.family_of(op).quantize(op, quantizer) for op in graph.ops)
        unsettled = {groups.root(name) for name in _unsettled(new_ops, quantizer.tensors)}
        movable = unsettled - by_root.keys()
        if not movable:
            break
        scales.update({root: _next_scale(scales[root]) for root in movable})
    return widen_states(graph.edit(ops=new_ops, tensors=quantizer.tensors))


def _unsettled(operators: Iterable[Op], tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """The outputs at whose scale the runtimes would round differently."""
    for op in operators:
        inputs, output = [tensors[name] for name in op.inputs], tensors[op.outputs[0]]
        if not ops.family_of(op).is_settled(op, inputs, output):
            yield output.name


def _next_scale(chosen: Quantization) -> Quantization:
    """The same with the next larger scale: a ten-millionth more, which nothing else notices."""
    larger = np.nextafter(np.float32(chosen.scale), np.float32(np.inf))
    return replace(chosen, scales=(float(larger),))


def _wide_scale(tensor: Tensor, groups: _Groups, scales: Mapping[str, Quantization]) -> float:
    """The scale that an operand of a 16-bit operator has or, if constant, will get."""
    if tensor.data is None:
        return scales[groups.root(tensor.name)].scale
    real = np.asarray(tensor.data, np.float32)
    return numerics.choose_symmetric(float(real.min()), float(real.max())).scale


def _coarsen(
    graph: Graph, wide: frozenset[str], groups: _Groups, scales: dict[str, Quantization]
) -> None:
    """Raise 16-bit scales that are finer than their operator can compute."""
    for _ in graph.ops:
        before = dict(scales)
        for op in graph.ops:
            if op.outputs[0] not in wide:
                continue
            inputs = [_wide_scale(graph.tensors[name], groups, scales) for name in op.inputs]
            shapes = [graph.tensors[name].shape for name in op.inputs]
            finest = ops.family_of(op).finest_scale(op, inputs, shapes)
            root = groups.root(op.outputs[0])
            if scales[root].scale < finest:
                scales[root] = Quantization(scales=(finest,))
        if scales == before:
            return
