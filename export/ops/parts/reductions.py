"""The mean, maximum or sum over any axes, as a pool or a convolution.

In memory the axes that are reduced form one run after at most one transpose, so the tensor is
[outer, run, inner] and the reduction a pool of height 1 over a map of ``outer`` rows and ``run``
columns with ``inner`` channels. Over the rows and columns of an NHWC map it is a pool as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import cast

from edgefactor.export.ops.family import Lowering, Node, Shape
from edgefactor.export.ops.parts.layouts import (
    Stored,
    complete_perm,
    locate,
    long_axes,
    normalize_axis,
    same_long_sizes,
)

#: Adds the operator that reduces a map [1, H, W, C] by windows that do not overlap, given the map's
#: tensor, its shape and the window; returns the tensor of the result.
Reducer = Callable[[str, Shape, tuple[int, int]], str]
#: Codes of a window are summed in int32.
MAX_WINDOW = 2**23


def _reduced_axes(node: Node, lowering: Lowering, rank: int) -> tuple[int, ...]:
    """The axes of a Reduce node: an attribute before operator set 18, an input after it."""
    given = node.attributes.get("axes")
    if node.input(1):
        given = lowering.constant(node.input(1))
        if given is None:
            lowering.unsupported(node, "its axes are computed", "give the axes as constants")
    axes = [] if given is None else [normalize_axis(int(axis), rank) for axis in given]
    if axes or node.attributes.get("noop_with_empty_axes", 0):
        return tuple(sorted(set(axes)))
    return tuple(range(rank))


def _is_run(places: Sequence[int]) -> bool:
    return list(places) == list(range(places[0], places[0] + len(places)))


def _pool_map(
    found: Stored, lowering: Lowering, reduced: set[int], shape: Shape
) -> tuple[str, Shape, tuple[int, int]]:
    """The tensor as a map, its shape, and the window that covers what is reduced."""
    order = long_axes(shape, found.perm)
    if len(found.shape) == 4 and found.shape[0] == 1:
        places = {found.axes[axis] for axis in reduced if shape[axis] != 1}
        if places <= {1, 2}:
            window = tuple(found.shape[place] if place in places else 1 for place in (1, 2))
            return found.tensor, found.shape, cast(tuple[int, int], window)
    places_in_order = [index for index, axis in enumerate(order) if axis in reduced]
    sizes = [shape[axis] for axis in order]
    first, last = places_in_order[0], places_in_order[-1] + 1
    view = (1, prod(sizes[:first]), prod(sizes[first:last]), prod(sizes[last:]))
    return lowering.view(found.tensor, view), view, (1, view[2])


def lower_reduction(
    node: Node, lowering: Lowering, emit: Reducer, *, axes: tuple[int, ...] | None = None
) -> None:
    """Lower ReduceMean, ReduceMax, ReduceSum or a global pool.

    Args:
        node: The node; its attributes and inputs say which axes where ``axes`` does not.
        lowering: Where to.
        emit: Adds the operator that reduces windows of a map.
        axes: The axes of a global pool, which it keeps with size 1.
    """
    value = node.input(0)
    shape = lowering.shape(value)
    keep = axes is not None or bool(node.attributes.get("keepdims", 1))
    reduced = set(_reduced_axes(node, lowering, len(shape)) if axes is None else axes)
    found = locate(lowering, value)
    order = long_axes(shape, found.perm)
    kept = [axis for axis in order if axis not in reduced]
    if len(kept) < len(order):
        if not _is_run([index for index, axis in enumerate(order) if axis in reduced]):
            perm = complete_perm([*kept, *(axis for axis in order if axis in reduced)], shape)
            found = locate(lowering, value, perm=perm)
        tensor, view, window = _pool_map(found, lowering, reduced, shape)
        if window[0] * window[1] >= MAX_WINDOW:
            lowering.unsupported(
                node,
                f"a sum of {window[0] * window[1]} codes can exceed 32 bits",
                "reduce in two steps",
            )
        tensor = emit(tensor, view, window)
    else:
        tensor = found.tensor
    result = [axis for axis in range(len(shape)) if keep or axis not in reduced]
    new_shape = tuple(1 if axis in reduced else shape[axis] for axis in result)
    perm = complete_perm([result.index(axis) for axis in kept], new_shape)
    stored = tuple(new_shape[axis] for axis in perm)
    if not same_long_sizes(lowering.graph_shape(tensor), stored):
        tensor = lowering.view(tensor, stored)
    lowering.bind(node.outputs[0], tensor, perm)
