"""Broadcasting of two operands as nested loops, with as few axes as their shapes allow."""

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
        steps1: Elements that the first operand moves on.
        steps2: Elements that the second operand moves on.
    """

    sizes: tuple[int, ...]
    steps1: tuple[int, ...]
    steps2: tuple[int, ...]


def _aligned(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + tuple(shape)


def broadcast_shape(first: Shape, second: Shape) -> Shape:
    """The shape of an elementwise result; axes are aligned at the last one.

    Raises:
        ValueError: An axis differs and is 1 in neither.
    """
    rank = max(len(first), len(second))
    pairs = list(zip(_aligned(first, rank), _aligned(second, rank), strict=True))
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        raise ValueError(f"shapes {first} and {second} do not fit together")
    return tuple(b if a == 1 else a for a, b in pairs)


def broadcast_loops(first: Shape, second: Shape) -> Loops | None:
    """The loops over two operands; None if they need more than LOOPS.

    Neighbouring axes over which each operand either moves on or stays in both are one loop.
    """
    shape = broadcast_shape(first, second)
    rank = len(shape)
    merged: list[tuple[int, bool, bool]] = []
    for size, a, b in zip(shape, _aligned(first, rank), _aligned(second, rank), strict=True):
        if size == 1:
            continue
        moves = (a != 1, b != 1)
        if merged and merged[-1][1:] == moves:
            merged[-1] = (merged[-1][0] * size, *moves)
        else:
            merged.append((size, *moves))
    if len(merged) > LOOPS:
        return None
    merged = [(1, True, True)] * (LOOPS - len(merged)) + merged
    steps: list[tuple[int, int]] = []
    strides = [1, 1]
    for size, *moving in reversed(merged):
        steps.append((strides[0] * moving[0], strides[1] * moving[1]))
        strides = [
            stride * (size if moves else 1) for stride, moves in zip(strides, moving, strict=True)
        ]
    steps.reverse()
    return Loops(
        sizes=tuple(size for size, *_ in merged),
        steps1=tuple(step for step, _ in steps),
        steps2=tuple(step for _, step in steps),
    )
