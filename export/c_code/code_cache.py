"""The C of all operators of a Graph; equal layers, such as the stripes of one, are made once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, replace

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.ir import Graph, Op

_NAMES = frozenset({"name", "inputs", "outputs", "source"})


@dataclass(slots=True)
class CodeCache:
    """Makes LayerCode for one target.

    Attributes:
        target: What the C is for.
        made: What was made so far, with the names of the inputs it was made for.
        holds: Graphs whose constants ``made`` refers to by identity.
    """

    target: CTarget
    made: dict[Hashable, tuple[tuple[str, ...], LayerCode]] = field(default_factory=dict)
    holds: list[Graph] = field(default_factory=list)

    def code(self, graph: Graph) -> dict[str, LayerCode]:
        """Operator name -> its C."""
        self.holds.append(graph)
        return {op.name: self._layer(op, graph) for op in graph.ops}

    def least_code(self, graph: Graph) -> dict[str, LayerCode]:
        """The same with the least scratch: what must fit the RAM."""
        return {name: layer.least_scratch for name, layer in self.code(graph).items()}

    def _layer(self, op: Op, graph: Graph) -> LayerCode:
        key = self._key(op, graph)
        if key not in self.made:
            code = ops.family_of(op).layer_code(op, graph, self.target)
            self.made[key] = op.inputs, code
        names, code = self.made[key]
        if names == op.inputs:
            return code
        return _renamed(code, dict(zip(names, op.inputs, strict=True)))

    def _key(self, op: Op, graph: Graph) -> Hashable:
        attributes = tuple(getattr(op, f.name) for f in fields(op) if f.name not in _NAMES)
        tensors = tuple(graph.tensors[name] for name in (*op.inputs, *op.outputs))
        facts = tuple(
            (t.shape, t.dtype, t.quantization, None if t.data is None else id(t.data))
            for t in tensors
        )
        # Which inputs are the same tensor matters too.
        same = tuple(op.inputs.index(name) for name in op.inputs)
        return type(op), attributes, facts, same, self.target.encoding_of(op.name)


def _renamed(code: LayerCode, names: Mapping[str, str]) -> LayerCode:
    """The same layer with other inputs, and what it could be instead."""
    calls = tuple(
        replace(call, inputs=tuple(names[n] if isinstance(n, str) else n for n in call.inputs))
        for call in code.calls
    )
    offers = tuple(_renamed(offer, names) for offer in code.at_start)
    return replace(code, calls=calls, at_start=offers)
