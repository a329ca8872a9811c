"""Loops h = a[t] * h + b[t], which exporters unroll, become one Scan.

The pass looks for sums of a row of one tensor and the product of a row of another with the last
such sum, for all rows in order. What read a single state reads a row of the Scan's result; a stack
of all of them is the result itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgefactor.export.ir import Graph, Op, Tensor
from edgefactor.export.ops.concat import Concat
from edgefactor.export.ops.elementwise import Add, Mul
from edgefactor.export.ops.reshape import Reshape, Transpose
from edgefactor.export.ops.scan import Scan
from edgefactor.export.ops.slice import Slice
from edgefactor.pipeline.passes.neighbours import live_ops

#: A loop of fewer steps is left as it is.
_FEWEST_STEPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row of a tensor seen as [steps, width]."""

    source: str
    number: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One round of a loop.

    Attributes:
        state: The sum.
        before: The state that is multiplied, views taken off.
        decay: Row that multiplies it.
        addition: Row that is added.
    """

    state: str
    before: str
    decay: _Row
    addition: _Row


class _Finder:
    """A Graph and where its tensors come from."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers: Mapping[str, Op] = {op.outputs[0]: op for op in graph.ops}
        self.readers: dict[str, int] = {}
        for op in graph.ops:
            for name in op.inputs:
                self.readers[name] = self.readers.get(name, 0) + 1

    def unviewed(self, tensor: str) -> str:
        while isinstance(op := self.producers.get(tensor), Reshape):
            tensor = op.inputs[0]
        return tensor

    def row(self, tensor: str) -> _Row | None:
        """The row that a tensor is, if it is one."""
        part = self.producers.get(self.unviewed(tensor))
        if not isinstance(part, Slice):
            return None
        shape = self.graph.tensors[part.inputs[0]].shape
        cut = [i for i, size in enumerate(shape) if (part.begin[i], part.end[i]) != (0, size)]
        if len(cut) != 1 or any(step != 1 for step in part.step):
            return None
        axis = cut[0]
        if part.end[axis] - part.begin[axis] != 1 or np.prod(shape[:axis], dtype=int) != 1:
            return None
        return _Row(source=part.inputs[0], number=part.begin[axis], steps=shape[axis])

    def step(self, op: Op) -> _Step | None:
        """The round of a loop that ends with an operator."""
        if not isinstance(op, Add) or op.activation != "none":
            return None
        for product, addition in (op.inputs, op.inputs[::-1]):
            times = self.producers.get(product)
            if not isinstance(times, Mul) or times.activation != "none":
                continue
            if self.readers[product] != 1 or self.graph.is_output(product):
                continue
            added = self.row(addition)
            for decay, before in (times.inputs, times.inputs[::-1]):
                row = self.row(decay)
                if row is None or added is None:
                    continue
                width = self.graph.tensors[op.outputs[0]].elements
                sources = [self.graph.tensors[found.source] for found in (row, added)]
                fits = all(source.elements == width * row.steps for source in sources)
                if row.number == added.number and row.steps == added.steps and fits:
                    last = self.unviewed(before)
                    return _Step(state=op.outputs[0], before=last, decay=row, addition=added)
        return None

    def is_zero(self, tensor: str) -> bool:
        data = self.graph.tensors[tensor].data
        return data is not None and not np.any(data)


def _chains(finder: _Finder) -> list[list[_Step]]:
    """Loops over all rows, each from its first round to its last."""
    steps = {step.state: step for op in finder.graph.ops if (step := finder.step(op))}
    after = {step.before: step for step in steps.values()}
    chains = []
    for first in steps.values():
        if first.before in steps:
            continue
        chain = [first]
        while (following := after.get(chain[-1].state)) is not None:
            chain.append(following)
        if _is_whole(finder, chain):
            chains.append(chain)
    return chains


def _is_whole(finder: _Finder, chain: list[_Step]) -> bool:
    first, rows = chain[0], first_rows(chain)
    steps = first.decay.steps
    if not finder.is_zero(first.before):
        # It starts with the first row of what is added.
        start = finder.row(first.before)
        if start is None or start.source != first.addition.source:
            return False
        rows = [start.number, *rows]
    same = all(
        (step.decay.source, step.addition.source) == (first.decay.source, first.addition.source)
        for step in chain
    )
    return (
        same
        and steps >= _FEWEST_STEPS
        and rows
        in (
            list(range(steps)),
            list(range(steps))[::-1],
        )
    )


def first_rows(chain: list[_Step]) -> list[int]:
    """The row of each round."""
    return [step.addition.number for step in chain]


class _Rewriter:
    """Replaces one loop."""

    def __init__(self, finder: _Finder, chain: list[_Step]) -> None:
        self.finder, self.chain = finder, chain
        self.graph = finder.graph
        self.tensors = dict(self.graph.tensors)
        self.steps = chain[0].decay.steps
        self.width = self.graph.tensors[chain[0].state].elements
        self.whole = f"{chain[-1].state}.states"
        self.states = {step.state: step.addition.number for step in chain}

    def _new(self, name: str, shape: tuple[int, ...]) -> str:
        self.tensors[name] = Tensor(name=name, shape=shape)
        return name

    def _viewed(self, source: str, name: str, shape: tuple[int, ...]) -> Op:
        return Reshape(
            name=name, inputs=(source,), outputs=(self._new(name, shape),), new_shape=shape
        )

    def scan(self) -> list[Op]:
        """The Scan, and every single state as a row of its result."""
        shape = (1, self.steps, 1, self.width)
        first = self.chain[0]
        views = [
            self._viewed(row.source, f"{self.whole}.{role}", shape)
            for role, row in (("decays", first.decay), ("additions", first.addition))
        ]
        source = next(op.source for op in self.graph.ops if op.outputs[0] == first.state)
        made: list[Op] = [
            *views,
            Scan(
                name=self.whole,
                inputs=tuple(view.outputs[0] for view in views),
                outputs=(self._new(self.whole, shape),),
                source=source,
                reverse=first_rows(self.chain)[0] > first_rows(self.chain)[-1],
            ),
        ]
        for state, number in self.states.items():
            row = f"{state}.row"
            made.append(
                Slice(
                    name=row,
                    inputs=(self.whole,),
                    outputs=(self._new(row, (1, 1, 1, self.width)),),
                    begin=(0, number, 0, 0),
                    end=(1, number + 1, 1, self.width),
                    step=(1, 1, 1, 1),
                )
            )
            shown = self.graph.tensors[state].shape
            made.append(Reshape(name=state, inputs=(row,), outputs=(state,), new_shape=shown))
        return made

    def stack(self, op: Op) -> list[Op] | None:
        """A stack of all states as a view of the result; None if it is another operator."""
        if not isinstance(op, Concat) or len(op.inputs) != self.steps:
            return None
        shape = self.graph.tensors[op.inputs[0]].shape
        numbers = [self._number(name) for name in op.inputs]
        if shape[op.axis] != 1 or numbers != list(range(self.steps)):
            return None
        before = int(np.prod(shape[: op.axis], dtype=np.int64))
        rows, turned = f"{op.name}.rows", f"{op.name}.turned"
        made = [self._viewed(self.whole, rows, (self.steps, before, self.width // before))]
        if before > 1:
            flat = (before, self.steps, self.width // before)
            made.append(
                Transpose(
                    name=turned,
                    inputs=(rows,),
                    outputs=(self._new(turned, flat),),
                    perm=(1, 0, 2),
                )
            )
        (output,) = op.outputs
        made.append(
            Reshape(
                name=op.name,
                inputs=made[-1].outputs,
                outputs=(output,),
                source=op.source,
                new_shape=self.graph.tensors[output].shape,
            )
        )
        return made

    def _number(self, tensor: str) -> int | None:
        state = self.finder.unviewed(tensor)
        if state in self.states:
            return self.states[state]
        row = self.finder.row(state)
        return row.number if row and row.source == self.chain[0].addition.source else None

    def rewritten(self) -> Graph:
        kept: list[Op] = []
        for op in self.graph.ops:
            if op.outputs[0] == self.chain[0].state:
                kept += self.scan()
            if op.outputs[0] in self.states:
                continue
            kept += self.stack(op) or [op]
        graph = self.graph.edit(ops=tuple(kept), tensors=self.tensors)
        return graph.edit(ops=live_ops(graph))


def find_scans(graph: Graph) -> Graph:
    """Replace every loop over all rows of two tensors."""
    while chains := _chains(finder := _Finder(graph)):
        graph = _Rewriter(finder, chains[0]).rewritten()
    return graph
