"""Strided copies: what transposes, slices, concatenations, pads and nearest resizes become in C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.c_code.layer_code import Call, CValue, Ref
from edgefactor.export.ir import Op

#: Loops of ``ef_move_s8`` around its block of contiguous bytes.
LOOPS = 5
MOVE_SOURCES = ("ef_move.h", "ef_move_s8.c", "ef_word4.h")
FILL_SOURCES = ("ef_move.h", "ef_fill_s8.c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One loop of a copy, in elements."""

    count: int
    in_step: int
    out_step: int

    def scaled(self, width: int) -> Axis:
        """The same loop over elements of ``width`` bytes, in bytes."""
        return Axis(count=self.count, in_step=self.in_step * width, out_step=self.out_step * width)


def _bytes_of_element(width: int) -> Axis:
    return Axis(count=width, in_step=1, out_step=1)


def row_major_steps(shape: Sequence[int]) -> tuple[int, ...]:
    """Distance in memory between neighbours along each axis."""
    steps = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    return tuple(steps)


def merge_axes(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The same copy with as few loops as it takes; the first is the outermost."""
    merged: list[Axis] = []
    for axis in axes:
        if axis.count == 1:
            continue
        outer = merged[-1] if merged else None
        if (
            outer is not None
            and outer.in_step == axis.count * axis.in_step
            and outer.out_step == axis.count * axis.out_step
        ):
            axis = Axis(
                count=outer.count * axis.count, in_step=axis.in_step, out_step=axis.out_step
            )
            merged.pop()
        merged.append(axis)
    return tuple(merged)


def is_one_block(axes: Sequence[Axis]) -> bool:
    """Whether the copy moves contiguous bytes to contiguous bytes."""
    loops = merge_axes(axes)
    return not loops or (len(loops) == 1 and loops[0].in_step == loops[0].out_step == 1)


def move_call(
    op: Op,
    source: str | Ref,
    axes: Sequence[Axis],
    *,
    in_start: int = 0,
    out_start: int = 0,
    width: int = 1,
) -> Call:
    """A call of ``ef_move_s8`` that copies ``axes`` of the tensor ``source`` to the op's output.

    Args:
        op: The operator, for errors.
        source: A Ref where it is a constant of the layer.
        axes: Loops over elements.
        in_start: Element of the source that is read first.
        out_start: Element of the output that is written first.
        width: Bytes of an element.

    Raises:
        UnsupportedOperatorError: More than ``LOOPS`` loops are left after merging.
    """
    loops = list(merge_axes([*(axis.scaled(width) for axis in axes), _bytes_of_element(width)]))
    block = 1
    if loops and loops[-1].in_step == 1 and loops[-1].out_step == 1:
        block = loops.pop().count
    if len(loops) > LOOPS:
        raise UnsupportedOperatorError(
            "A tensor is rearranged along more axes than the C kernel has loops.",
            where=f"layer {op.name}",
            found=f"{len(loops)} independent axes",
            expected=f"at most {LOOPS}",
            hint="split the permutation into two steps with fewer axes",
        )
    fill = [Axis(count=1, in_step=0, out_step=0)] * (LOOPS - len(loops))
    padded = [*fill, *loops]
    args: Mapping[str, CValue] = {
        "in_start": in_start * width,
        "out_start": out_start * width,
        "block": block,
        "count": tuple(axis.count for axis in padded),
        "in_step": tuple(axis.in_step for axis in padded),
        "out_step": tuple(axis.out_step for axis in padded),
    }
    return Call(
        function="ef_move_s8", struct="ef_move_args", args=args, inputs=(source,), as_bytes=True
    )


def fill_call(total: int, code: int) -> Call:
    """A call of ``ef_fill_s8`` that sets all bytes of the output to one value."""
    return Call(
        function="ef_fill_s8",
        struct="ef_fill_args",
        args={"bytes": total, "value": code},
        inputs=(),
        as_bytes=True,
    )
