"""Broadcasting of operands as nested loops, with as few axes as their shapes allow."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, ...]

#: Loops of the C kernels.
LOOPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Loops:
    """Nested loops, the innermost last; a step of 0 repeats an element.

    Attributes:
        sizes: Iterations.
        steps: For each operand, the elements that it moves on in each loop.
    """

    sizes: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]


def _aligned(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + tuple(shape)


def broadcast_shape(*shapes: Shape) -> Shape:
    """The shape of an elementwise result; axes are aligned at the last one.

    Raises:
        ValueError: An axis differs in two of them and is 1 in neither.
    """
    rank = max(map(len, shapes))
    result = []
    for sizes in zip(*(_aligned(shape, rank) for shape in shapes), strict=True):
        longer = {size for size in sizes if size != 1}
        if len(longer) > 1:
            raise ValueError(f"shapes {shapes} do not fit together")
        result.append(longer.pop() if longer else 1)
    return tuple(result)


def broadcast_loops(*shapes: Shape) -> Loops | None:
    """The loops over operands; None if they need more than LOOPS.

    Neighbouring axes over which each operand either moves on or stays in both are one loop.
    """
    whole = broadcast_shape(*shapes)
    rank = len(whole)
    merged: list[tuple[int, tuple[bool, ...]]] = []
    for size, *own in zip(whole, *(_aligned(shape, rank) for shape in shapes), strict=True):
        if size == 1:
            continue
        moves = tuple(n != 1 for n in own)
        if merged and merged[-1][1] == moves:
            merged[-1] = (merged[-1][0] * size, moves)
        else:
            merged.append((size, moves))
    if len(merged) > LOOPS:
        return None
    merged = [(1, (True,) * len(shapes))] * (LOOPS - len(merged)) + merged
    steps: list[tuple[int, ...]] = []
    strides = [1] * len(shapes)
    for size, moves in reversed(merged):
        steps.append(tuple(n * moving for n, moving in zip(strides, moves, strict=True)))
        strides = [n * (size if moving else 1) for n, moving in zip(strides, moves, strict=True)]
    steps.reverse()
    return Loops(sizes=tuple(size for size, _ in merged), steps=tuple(zip(*steps, strict=True)))
