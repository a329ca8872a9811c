"""Placing blocks of memory with lifetimes at offsets, so that the arena is as small as can be.

A block may be a stack of spans that live at different times: rows of a map that appear and vanish
one after another. Two blocks may share memory wherever no two of their living spans meet. Finding
the smallest arena is NP-hard (it is dynamic storage allocation, Garey and Johnson, SR2), so many
first-fit orders are tried, each improved by moving what ends highest to the front. The lower
bound, the most bytes alive at one step, says when the best possible has been reached.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

ALIGNMENT = 16
#: Work of one call of ``place`` in comparisons of blocks: about a second. No clock decides, so
#: that the same network gives the same plan on every machine.
_WORK = 2_500_000
_MOST_ORDERS = 1000
_FEWEST_ORDERS = 12
_SEED = 20
#: Orders made from one by moving what ends highest to the front.
_BUMPS = 4
#: How often two blocks change their places besides.
_SWAPS = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Part of a block: bytes [offset, offset + size) in use during the steps [first, last]."""

    offset: int
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Memory that keeps its place while its spans come and go.

    Attributes:
        name: Unique.
        spans: They do not overlap.
    """

    name: str
    spans: tuple[Span, ...]

    @property
    def size(self) -> int:
        """End of the last span."""
        return max(span.offset + span.size for span in self.spans)

    @property
    def first(self) -> int:
        """The first step at which any of it is in use."""
        return min(span.first for span in self.spans)

    @property
    def last(self) -> int:
        """The last one."""
        return max(span.last for span in self.spans)


def buffer(name: str, size: int, first: int, last: int) -> Block:
    """A block of one span, alive as a whole."""
    return Block(name=name, spans=(Span(offset=0, size=size, first=first, last=last),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """An operator's output may lie over an input that dies, if it starts early enough.

    Attributes:
        step: When the operator runs.
        source: The input's first byte and size in its block.
        result: Likewise the output's.
        lead: The output may lie over the input if it starts at least so many bytes before it.
    """

    step: int
    source: tuple[int, int]
    result: tuple[int, int]
    lead: int


#: (block of an operator's input, block of its output) -> what is allowed.
Overlaps = Mapping[tuple[str, str], Sequence[Overlap]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Offsets of blocks by name, the end of the highest, and what no plan can go below."""

    offsets: Mapping[str, int]
    arena_bytes: int
    lower_bound_bytes: int


def aligned(size: int) -> int:
    """The next multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _within(span: Span, extent: tuple[int, int]) -> bool:
    return extent[0] <= span.offset and span.offset + span.size <= sum(extent)


def _forbidden(
    source: Block, result: Block, allowed: Sequence[Overlap], reverse: Sequence[Overlap]
) -> list[tuple[int, int]]:
    """Distances from the start of ``source`` to that of ``result`` that no plan may have.

    Each pair is exclusive at both ends. ``reverse`` is what is allowed with the roles exchanged.
    """
    intervals = []
    for a in source.spans:
        for b in result.spans:
            step = max(a.first, b.first)
            if step > min(a.last, b.last):
                continue
            low, high = a.offset - b.offset - b.size, a.offset + a.size - b.offset
            for overlap in allowed if a.last == b.first == step else ():
                if overlap.step == step and (
                    _within(a, overlap.source) and _within(b, overlap.result)
                ):
                    low = max(low, overlap.source[0] - overlap.result[0] - overlap.lead)
            for overlap in reverse if b.last == a.first == step else ():
                if overlap.step == step and (
                    _within(b, overlap.source) and _within(a, overlap.result)
                ):
                    high = min(high, overlap.lead + overlap.result[0] - overlap.source[0])
            if low + 1 < high:
                intervals.append((low, high))
    return _merged(intervals)


def _merged(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if result and low < result[-1][1]:
            result[-1] = result[-1][0], max(high, result[-1][1])
        else:
            result.append((low, high))
    return result


#: For each block, the others it cannot lie anywhere beside: (index, forbidden distances from it).
_Conflicts = list[list[tuple[int, list[tuple[int, int]]]]]


def _conflicts(blocks: Sequence[Block], overlaps: Overlaps) -> _Conflicts:
    result: _Conflicts = [[] for _ in blocks]
    order = sorted(range(len(blocks)), key=lambda i: blocks[i].first)
    for place_, i in enumerate(order):
        a = blocks[i]
        for j in order[place_ + 1 :]:
            b = blocks[j]
            if b.first > a.last:
                break
            intervals = _forbidden(
                a, b, overlaps.get((a.name, b.name), ()), overlaps.get((b.name, a.name), ())
            )
            if intervals:
                result[j].append((i, intervals))
                result[i].append((j, [(-high, -low) for low, high in intervals]))
    return result


def _first_fit(
    order: Sequence[int], sizes: Sequence[int], conflicts: _Conflicts
) -> tuple[list[int], int]:
    """Place blocks in the order given, each at the lowest offset that is free."""
    offsets = [-1] * len(sizes)
    end = 0
    for index in order:
        busy = sorted(
            (offsets[other] + low, offsets[other] + high)
            for other, intervals in conflicts[index]
            if offsets[other] >= 0
            for low, high in intervals
        )
        at = 0
        for low, high in busy:
            if low >= at:
                break
            if high > at:
                at = aligned(high)
        offsets[index] = at
        end = max(end, at + sizes[index])
    return offsets, end


def _alive_bytes(blocks: Sequence[Block], overlaps: Overlaps, step: int) -> int:
    """What the spans alive at a step need at least: only the last one's end may be unaligned."""
    living = {
        block.name: (block, size)
        for block in blocks
        if (size := sum(span.size for span in block.spans if span.first <= step <= span.last))
    }
    # A part inside a block may lie in what alignment leaves free beside another block.
    grain = aligned if all(len(block.spans) == 1 for block, _ in living.values()) else int
    sizes = {name: grain(size) for name, (_, size) in living.items()}
    waste = max((grain(size) - size for _, size in living.values()), default=0)
    covered = dict.fromkeys(living, 0)  # by other blocks
    for (source, result), entries in overlaps.items():
        for overlap in entries:
            if overlap.step == step and source in sizes and result in sizes:
                below, above = overlap.source[1], overlap.result[1]
                beside = max(0, max(overlap.lead, 0) + below - above)
                if beside < below:
                    # Several results may cover a source, but no more than all of it.
                    more = min(grain(below) - beside, sizes[source] - covered[source])
                    covered[source] += more
                    sizes[result] -= grain(above) - above
    return max(sum(sizes.values()) - sum(covered.values()) - waste, 0)


def lower_bound(
    blocks: Sequence[Block], overlaps: Overlaps = MappingProxyType({}), *, since: int = -1
) -> int:
    """Bytes that no placement can go below, for what happens from step ``since`` on."""
    steps = {max(span.first, since) for block in blocks for span in block.spans}
    return max(bounds_by_step(blocks, overlaps, steps).values(), default=0)


def bounds_by_step(
    blocks: Sequence[Block], overlaps: Overlaps, steps: Iterable[int]
) -> dict[int, int]:
    """The same for single steps: what is alive then needs so many bytes at least."""
    by_step: dict[int, dict[tuple[str, str], list[Overlap]]] = {}
    for pair, entries in overlaps.items():
        for overlap in entries:
            by_step.setdefault(overlap.step, {}).setdefault(pair, []).append(overlap)
    return {step: _alive_bytes(blocks, by_step.get(step, {}), step) for step in steps}


def place(blocks: Sequence[Block], overlaps: Overlaps = MappingProxyType({})) -> Placement:
    """Offsets of blocks, the arena's size and the lower bound.

    Args:
        blocks: What has to be placed; each lies at a multiple of ``ALIGNMENT``.
        overlaps: Where living spans may meet after all.

    Returns:
        The best plan found. Deterministic: the random orders come from a fixed seed.
    """
    if not blocks:
        return Placement(offsets={}, arena_bytes=0, lower_bound_bytes=0)
    bound = max(lower_bound(blocks, overlaps), *(block.size for block in blocks))
    search = _Search(blocks, _conflicts(blocks, overlaps), aligned(bound))
    search.scatter()
    search.climb()
    return Placement(
        offsets={block.name: search.offsets[index] for index, block in enumerate(blocks)},
        arena_bytes=search.end,
        lower_bound_bytes=bound,
    )


class _Search:
    """Tries orders for first fit and keeps the best."""

    def __init__(self, blocks: Sequence[Block], conflicts: _Conflicts, goal: int) -> None:
        self.blocks, self.conflicts, self.goal = blocks, conflicts, goal
        self.sizes = [block.size for block in blocks]
        self.areas = [sum(s.size * (s.last - s.first + 1) for s in b.spans) for b in blocks]
        self.generator = random.Random(_SEED)
        pairs = sum(len(intervals) for entry in conflicts for _, intervals in entry)
        self.orders = max(_FEWEST_ORDERS, min(_MOST_ORDERS, _WORK // (pairs + len(blocks))))
        self.order = list(range(len(blocks)))
        self.offsets, self.end = _first_fit(self.order, self.sizes, conflicts)

    @property
    def done(self) -> bool:
        """Whether nothing can be better."""
        return aligned(self.end) <= self.goal

    def _try(self, order: list[int]) -> tuple[list[int], int]:
        offsets, end = _first_fit(order, self.sizes, self.conflicts)
        if end <= self.end:
            self.offsets, self.end, self.order = offsets, end, order
        return offsets, end

    def scatter(self) -> None:
        """Orders by size, by time and by chance; what ends highest goes first the next time."""
        count = 0
        while count < self.orders // 2 and not self.done:
            order = sorted(range(len(self.blocks)), key=_key(self, count // _BUMPS))
            for _ in range(_BUMPS):
                offsets, _ = self._try(order)
                count += 1
                top = max(order, key=lambda i: (offsets[i] + self.sizes[i], -i))
                if order[0] == top:
                    break
                order = [top, *(index for index in order if index != top)]

    def climb(self) -> None:
        """Move what ends highest in the best order before something that it cannot lie beside."""
        draw = self.generator
        for _ in range(self.orders // 2):
            if self.done:
                return
            order = list(self.order)
            highest = [i for i in order if self.offsets[i] + self.sizes[i] == self.end]
            top = draw.choice(highest)
            place_ = order.index(top)
            order.remove(top)
            rivals = {other for other, _ in self.conflicts[top]}
            before = [index for index in range(place_) if order[index] in rivals] or [0]
            order.insert(draw.choice(before), top)
            if draw.random() < _SWAPS:
                a, b = draw.randrange(len(order)), draw.randrange(len(order))
                order[a], order[b] = order[b], order[a]
            self._try(order)


def _key(search: _Search, number: int) -> Callable[[int], tuple[float, int]]:
    """The order of one try: plain ones first, then ones with chance."""
    blocks, areas, draw = search.blocks, search.areas, search.generator
    start = min(block.first for block in blocks) - 2
    rules: list[Callable[[int], float]] = [
        lambda i: -blocks[i].size,
        lambda i: blocks[i].first - blocks[i].last - 1,
        lambda i: -areas[i],
        lambda i: blocks[i].first - start,
        # An output lies below the input it overlaps.
        lambda i: start - blocks[i].first,
    ]
    rule = rules[number % len(rules)]
    least = 1.0 if number < len(rules) else 0.3
    noise = [draw.uniform(least, 1.0) for _ in blocks]
    return lambda i: (rule(i) * noise[i], i)
