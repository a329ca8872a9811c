"""Placing blocks: nothing that is alive overlaps, and little is wasted."""

import itertools
import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.export.arena.placement import (
    ALIGNMENT,
    Block,
    Overlap,
    Span,
    aligned,
    buffer,
    place,
)


@st.composite
def block_lists(draw: st.DrawFn, most: int = 10, spans: int = 3) -> list[Block]:
    """Blocks of one to three spans, each with a lifetime of its own."""
    blocks = []
    for index in range(draw(st.integers(1, most))):
        parts = []
        offset = 0
        for _ in range(draw(st.integers(1, spans))):
            first, size = draw(st.integers(-1, 10)), draw(st.integers(1, 200))
            last = first + draw(st.integers(0, 6))
            parts.append(Span(offset=offset, size=size, first=first, last=last))
            offset += size
        blocks.append(Block(name=f"b{index}", spans=tuple(parts)))
    return blocks


def meet(a: Span, b: Span, offset: int, other: int) -> bool:
    """Whether two spans are in the same bytes during the same step."""
    in_time = a.first <= b.last and b.first <= a.last
    start, stop = offset + a.offset, other + b.offset
    return in_time and start < stop + b.size and stop < start + a.size


def test_a_part_may_lie_in_the_room_that_alignment_leaves() -> None:
    parts = (Span(offset=0, size=1, first=1, last=1), Span(offset=1, size=1, first=0, last=0))
    whole = (Span(offset=0, size=1, first=0, last=0),)
    blocks = [Block(name="parts", spans=parts)]
    blocks += [Block(name=name, spans=whole) for name in ("a", "b")]
    placement = place(blocks)
    assert placement.arena_bytes == ALIGNMENT + 1
    assert placement.lower_bound_bytes <= placement.arena_bytes


@settings(max_examples=60, deadline=None)
@given(block_lists())
def test_living_spans_do_not_overlap(blocks: list[Block]) -> None:
    placement = place(blocks)
    offsets, size = placement.offsets, placement.arena_bytes
    assert place(blocks) == placement
    assert size == max(offsets[block.name] + block.size for block in blocks)
    assert size >= placement.lower_bound_bytes >= max(block.size for block in blocks)
    assert all(offset % ALIGNMENT == 0 for offset in offsets.values())
    for a, b in itertools.combinations(blocks, 2):
        for span, other in itertools.product(a.spans, b.spans):
            assert not meet(span, other, offsets[a.name], offsets[b.name])


def smallest_arena(blocks: list[Block]) -> int:
    """By trying first fit in every order, which always finds the optimum for single spans.

    Sort an optimal plan by offset and let every block sink: it becomes the first fit in that order.
    """
    best = sum(aligned(block.size) for block in blocks)
    for order in itertools.permutations(blocks):
        placed: list[tuple[int, Block]] = []
        for block in order:
            at = 0
            taken = sorted(
                (offset, offset + aligned(other.size))
                for offset, other in placed
                if other.first <= block.last and block.first <= other.last
            )
            for start, stop in taken:
                if start >= at + block.size:
                    break
                at = max(at, stop)
            placed.append((at, block))
        best = min(best, max(offset + block.size for offset, block in placed))
    return best


@settings(max_examples=25, deadline=None)
@given(block_lists(most=6, spans=1))
def test_as_small_as_an_exhaustive_search_finds(blocks: list[Block]) -> None:
    found = place(blocks).arena_bytes
    assert aligned(found) == aligned(smallest_arena(blocks))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=2, max_size=12))
def test_a_chain_reaches_the_bound(sizes: list[int]) -> None:
    blocks = [buffer(f"b{step}", size, step - 1, step) for step, size in enumerate(sizes)]
    placement = place(blocks)
    # Which of two buffers lies last decides a few bytes; the search stops at that.
    assert placement.arena_bytes < placement.lower_bound_bytes + ALIGNMENT


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 300), min_size=2, max_size=10),
    st.lists(st.integers(-50, 200), min_size=9, max_size=9),
)
def test_outputs_overlap_inputs_by_no_more_than_their_lead(
    sizes: list[int], wanted: list[int]
) -> None:
    blocks = [buffer(f"b{step}", size, step - 1, step) for step, size in enumerate(sizes)]
    overlaps = {
        (f"b{step}", f"b{step + 1}"): [
            Overlap(step=step, source=(0, sizes[step]), result=(0, sizes[step + 1]), lead=lead)
        ]
        for step, lead in zip(range(len(sizes) - 1), wanted, strict=False)
    }
    placement = place(blocks, overlaps)
    assert placement.arena_bytes >= placement.lower_bound_bytes
    for (source, result), (overlap,) in overlaps.items():
        start = placement.offsets[source], placement.offsets[result]
        ends = [start[i] + sizes[int(name[1:])] for i, name in enumerate((source, result))]
        apart = ends[0] <= start[1] or ends[1] <= start[0]
        assert apart or start[1] + overlap.lead <= start[0]


def test_rows_that_vanish_make_room_for_rows_that_appear() -> None:
    """A map read from top to bottom under a map written from top to bottom."""
    rows, size = 8, 32
    read = Block(
        name="read",
        spans=tuple(Span(offset=r * size, size=size, first=-1, last=r) for r in range(rows)),
    )
    written = Block(
        name="written",
        spans=tuple(Span(offset=r * size, size=size, first=r, last=rows) for r in range(rows)),
    )
    placement = place([read, written])
    assert placement.arena_bytes == (rows + 1) * size
    assert placement.lower_bound_bytes == (rows + 1) * size


def test_three_hundred_buffers_take_a_second_or_two() -> None:
    generator = np.random.default_rng(0)
    blocks = []
    for index in range(300):
        first = int(generator.integers(0, 150))
        last = first + int(generator.integers(1, 40))
        blocks.append(buffer(f"b{index}", int(generator.integers(1, 5000)), first, last))
    start = time.process_time()
    placement = place(blocks)
    assert time.process_time() - start < 5
    assert placement.arena_bytes <= 1.1 * placement.lower_bound_bytes
