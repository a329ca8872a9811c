"""The order of operators that needs the least memory, for networks with branches.

Best-first search over sets of operators that have run: the peak of a set is the least over all
orders that lead to it, and sets are taken by rising peak, so the first complete one is optimal
(dynamic programming over ready sets, as Ahn et al. 2020, arXiv:2003.02369). An operator that needs
no more than the peak so far and leaves no more memory in use than it found is run at once: nothing
is gained by waiting. In a network with too many sets, only the most promising ones of each
size are followed (a beam search); ``peak_bound`` says how far from the best that can be.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgefactor.export.arena.plan import plan_arena
from edgefactor.export.c_code.layer_code import LayerCode
from edgefactor.export.ir import Graph, Op

#: Sets of operators that are looked at, a second or so.
_MOST_STATES = 20_000
#: Sets of one size that are followed where there are more.
_BEAM = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one operator does to memory.

    Attributes:
        reads: Indices of the values it reads.
        writes: Index of the value that its output belongs to; views belong to what they view.
        adds: Bytes that its output takes if it finds no other place.
        scratch: Bytes while it runs.
        hosts: (value, bytes) -> the output needs only so many if the value dies.
    """

    reads: frozenset[int]
    writes: int
    adds: int
    scratch: int
    hosts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A network as the search sees it.

    Attributes:
        steps: One an operator.
        before: For each step, the steps that must have run, as a bit mask.
        readers: For each value, the steps that read it, as a bit mask.
        sizes: Bytes of each value once it is there.
        inputs: Values that are there from the start.
        outputs: Values that stay to the end.
    """

    steps: tuple[Step, ...]
    before: tuple[int, ...]
    readers: tuple[int, ...]
    sizes: tuple[int, ...]
    inputs: frozenset[int]
    outputs: frozenset[int]

    def run(self, done: int, alive: int, index: int) -> tuple[int, int]:
        """Bytes in use while a step runs, and after it.

        Args:
            done: Steps that have run, as a bit mask.
            alive: Bytes in use before.
            index: The step.
        """
        step = self.steps[index]
        after = done | 1 << index
        dead = [
            value
            for value in step.reads
            if value != step.writes
            and value not in self.outputs
            and self.readers[value] & ~after == 0
        ]
        adds = min([step.adds, *(size for value, size in step.hosts if value in dead)])
        peak = alive + adds + step.scratch
        left = alive + step.adds - sum(self.sizes[value] for value in dead)
        if self.readers[step.writes] & ~after == 0 and step.writes not in self.outputs:
            left -= self.sizes[step.writes]
        return peak, left


def problem_of(graph: Graph, code: Mapping[str, LayerCode]) -> Problem:
    """The network as the search sees it."""
    owner: dict[str, int] = {}
    sizes: list[int] = []

    def value(tensor: str) -> int:
        owner[tensor] = len(sizes)
        sizes.append(graph.tensors[tensor].bytes)
        return owner[tensor]

    inputs = frozenset(value(port.tensor) for port in graph.inputs)
    steps: list[Step] = []
    producers: dict[str, int] = {}
    before: list[int] = []
    readers: dict[int, int] = {}
    for index, op in enumerate(graph.ops):
        layer, output = code[op.name], op.outputs[0]
        read = [name for name in op.inputs if name in owner]
        view = (layer.is_alias or layer.inside is not None) and op.inputs[0] in owner
        if view:
            owner[output] = owner[op.inputs[0]]
        else:
            value(output)
        # Parts of a concatenation are computed where they belong.
        parts = {op.inputs[place] for place, _ in layer.parts} & producers.keys()
        seated = sum(graph.tensors[name].bytes for name in parts)
        size = graph.tensors[output].bytes
        steps.append(
            Step(
                reads=frozenset(owner[name] for name in read),
                writes=owner[output],
                adds=0 if view else size,
                scratch=layer.scratch_bytes,
                hosts=() if view else _hosts(graph, op, layer, owner, size, size - seated),
            )
        )
        before.append(sum({1 << producers[name] for name in op.inputs if name in producers}))
        producers[output] = index
        for name in read:
            readers[owner[name]] = readers.get(owner[name], 0) | 1 << index
    return Problem(
        steps=tuple(steps),
        before=tuple(before),
        readers=tuple(readers.get(index, 0) for index in range(len(sizes))),
        sizes=tuple(sizes),
        inputs=inputs,
        outputs=frozenset(owner[port.tensor] for port in graph.outputs),
    )


def _hosts(
    graph: Graph, op: Op, layer: LayerCode, owner: Mapping[str, int], size: int, unseated: int
) -> tuple[tuple[int, int], ...]:
    """Inputs whose memory the output may use, and what it then needs beside."""
    hosts = [
        (owner[op.inputs[index]], 0)
        for index in layer.in_place
        if op.inputs[index] in owner and graph.tensors[op.inputs[index]].bytes >= size
    ]
    for index, lead in layer.overlaps:
        name = op.inputs[index]
        if name in owner:
            below = graph.tensors[name].bytes
            hosts.append((owner[name], max(size, max(lead, 0) + below) - below))
    if unseated < size:
        names = [op.inputs[place] for place, _ in layer.parts]
        # A constant part is copied from flash; it has no memory to give.
        hosts += [(owner[name], unseated) for name in names if name in owner]
    return tuple(hosts)


def peak_of(problem: Problem, order: Sequence[int]) -> int:
    """Most bytes in use at any step of an order."""
    done, alive = 0, sum(problem.sizes[value] for value in problem.inputs)
    peak = alive
    for index in order:
        during, alive = problem.run(done, alive, index)
        peak = max(peak, during)
        done |= 1 << index
    return peak


def best_order(problem: Problem, *, most_states: int = _MOST_STATES) -> tuple[int, ...] | None:
    """The order of the lowest peak; None if there are too many sets to look at."""
    count = len(problem.steps)
    alive = sum(problem.sizes[value] for value in problem.inputs)
    seen: set[int] = set()
    # Equal peaks: the one that is furthest first, and the order that the network has.
    queue: list[tuple[int, int, tuple[int, ...], int, int]] = [(alive, 0, (), 0, alive)]
    while queue:
        peak, _, order, done, alive = heapq.heappop(queue)
        if done in seen:
            continue
        seen.add(done)
        if len(order) == count:
            return order
        if len(seen) > most_states:
            return None
        ready = [
            index
            for index in range(count)
            if not done >> index & 1 and problem.before[index] & ~done == 0
        ]
        moves = [(index, *problem.run(done, alive, index)) for index in ready]
        free = [move for move in moves if move[1] <= peak and move[2] <= alive]
        for index, during, left in free[:1] or moves:
            heapq.heappush(
                queue,
                (max(peak, during), -len(order) - 1, (*order, index), done | 1 << index, left),
            )
    return None


def near_order(problem: Problem, *, width: int = _BEAM) -> tuple[int, ...]:
    """A good order, where ``best_order`` finds too many sets."""
    count = len(problem.steps)
    alive = sum(problem.sizes[value] for value in problem.inputs)
    # Steps that have run -> peak, bytes alive, order.
    states: dict[int, tuple[int, int, tuple[int, ...]]] = {0: (alive, alive, ())}
    for _ in range(count):
        following: dict[int, tuple[int, int, tuple[int, ...]]] = {}
        for done, (peak, alive, order) in states.items():
            ready = [
                index
                for index in range(count)
                if not done >> index & 1 and problem.before[index] & ~done == 0
            ]
            moves = [(index, *problem.run(done, alive, index)) for index in ready]
            free = [move for move in moves if move[1] <= peak and move[2] <= alive]
            for index, during, left in free[:1] or moves:
                after = done | 1 << index
                entry = max(peak, during), left, (*order, index)
                if after not in following or entry < following[after]:
                    following[after] = entry
        best = sorted(following.items(), key=lambda item: item[1])[:width]
        states = dict(best)
    return next(iter(states.values()))[2]


def peak_bound(problem: Problem) -> int:
    """No order has a lower peak: a step needs what it reads and writes, all outputs stay."""
    return max(
        sum(problem.sizes[value] for value in problem.outputs),
        max(
            (
                sum(problem.sizes[value] for value in step.reads)
                + min([step.adds, *(size for _, size in step.hosts)])
                + step.scratch
                for step in problem.steps
            ),
            default=0,
        ),
    )


def has_choice(graph: Graph) -> bool:
    """Whether the operators can run in more than one order."""
    return any(op.outputs[0] not in after.inputs for op, after in pairwise(graph.ops))


def order_for_memory(graph: Graph, code: Mapping[str, LayerCode]) -> Graph:
    """Put the operators in the order that needs the least memory.

    Args:
        graph: int8 Graph.
        code: Operator name -> its C, for scratch and for what may share memory.

    Returns:
        The Graph itself unless another order is better.
    """
    problem = problem_of(graph, code)
    order = best_order(problem) or near_order(problem)
    if order == tuple(range(len(graph.ops))):
        return graph
    ordered = graph.edit(ops=tuple(graph.ops[index] for index in order))
    better = plan_arena(ordered, code).arena_bytes < plan_arena(graph, code).arena_bytes
    return ordered if better else graph
