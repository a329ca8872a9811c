"""Borders between 8-bit and 16-bit activations: a Requantize where they meet.

All activations of an operator have one width. What runs in 16 bits is therefore a set of
operators: a tensor has the width of the operator that computes it, and operators of the other
width read a copy. Inputs and outputs of the network stay int8, except for indices that need more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgefactor.export import ops
from edgefactor.export.ir import DType, Graph, Op, Tensor
from edgefactor.export.ops.family import replace_inputs
from edgefactor.export.ops.requantize import Requantize
from edgefactor.pipeline.widths.states import whole_numbers

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bordered:
    """A float Graph with the borders in place.

    Attributes:
        graph: The Graph.
        ranges: Of all its activations, copies included.
        wide: Names of the tensors that are to be int16.
    """

    graph: Graph
    ranges: Mapping[str, Range]
    wide: frozenset[str]


@dataclass(slots=True)
class _Placing:
    """The Graph as it grows.

    Attributes:
        whole: Tensors of indices, which are int16 as inputs and outputs too.
        versions: Tensor of the first Graph -> width (whether 16 bits) -> tensor that holds it.
    """

    graph: Graph
    whole: frozenset[str]
    ranges: dict[str, Range]
    tensors: dict[str, Tensor]
    ops: list[Op] = field(default_factory=list)
    wide: set[str] = field(default_factory=set)
    versions: dict[str, dict[bool, str]] = field(default_factory=dict)

    def add(self, name: str, like: str, *, wide: bool) -> None:
        """A new tensor beside one of the first Graph."""
        self.tensors[name] = Tensor(name=name, shape=self.graph.tensors[like].shape)
        self.ranges[name] = self.ranges[like]
        if wide:
            self.wide.add(name)

    def read(self, tensor: str, *, wide: bool, any_width: bool) -> str:
        """The tensor with these values in this width; makes the copy if there is none."""
        versions = self.versions[tensor]
        if any_width:
            return versions.get(True) or versions[False]
        if wide not in versions:
            name = f"{tensor}.int{16 if wide else 8}"
            self.add(name, tensor, wide=wide)
            source = versions[not wide]
            self.ops.append(Requantize(name=name, inputs=(source,), outputs=(name,)))
            versions[wide] = name
        return versions[wide]

    def run(self, op: Op, *, wide: bool) -> None:
        """Append an operator in a width."""
        family = ops.family_of(op)
        inputs = []
        for index, name in enumerate(op.inputs):
            if name in self.versions:
                asked = family.input_width(op, index)
                is_wide = wide if asked is None else asked is DType.INT16
                any_width = asked is None and family.mixes_widths
                name = self.read(name, wide=is_wide, any_width=any_width)
            inputs.append(name)
        (output,) = op.outputs
        op = replace_inputs(op, tuple(inputs))
        if not wide:
            self.ops.append(op)
            self.versions[output] = {False: output}
            return
        if not self.graph.is_output(output) or output in self.whole:
            self.ops.append(op)
            self.wide.add(output)
            self.versions[output] = {True: output}
            return
        inner = f"{output}.int16"
        self.add(inner, output, wide=True)
        self.ops.append(replace(op, outputs=(inner,)))
        self.ops.append(Requantize(name=f"{output}.int8", inputs=(inner,), outputs=(output,)))
        self.versions[output] = {True: inner, False: output}


def place_borders(graph: Graph, ranges: Mapping[str, Range], wide_ops: frozenset[str]) -> Bordered:
    """Put a copy in the other width where operators of different widths meet.

    Args:
        graph: Float Graph.
        ranges: Of its activations.
        wide_ops: Names of the operators that run in 16 bits; a Requantize does if all that read
            it do.
    """
    whole = whole_numbers(graph)
    placing = _Placing(graph=graph, whole=whole, ranges=dict(ranges), tensors=dict(graph.tensors))
    for port in graph.inputs:
        is_wide = port.tensor in whole
        placing.versions[port.tensor] = {is_wide: port.tensor}
        if is_wide:
            placing.wide.add(port.tensor)
    for op in graph.ops:
        readers = graph.consumers(op.outputs[0])
        follows = isinstance(op, Requantize) and bool(readers)
        wide = op.name in wide_ops or (follows and all(r.name in wide_ops for r in readers))
        placing.run(op, wide=wide)
    bordered = graph.edit(ops=tuple(placing.ops), tensors=placing.tensors)
    return Bordered(graph=bordered, ranges=placing.ranges, wide=frozenset(placing.wide))
