"""Values written into places of a tensor that the network itself names: ``y[:, 1:] = x``.

PyTorch writes assignments to slices as ScatterElements and ScatterND with constant indices. Each
element of the result is one of the data or one of the updates, and which one is known beforehand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgefactor.pipeline.passes.parts import Parts

_Indices = NDArray[np.int64]


def scatter_elements(parts: Parts) -> bool:
    """Writes each update to its own position, its coordinate along one axis given."""
    indices = parts.graph.constants.get(parts.node.input[1])
    if indices is None or parts.attribute("reduction", b"none") != b"none":
        return False
    shape = parts.shape
    axis = int(parts.attribute("axis", 0)) % len(shape)
    places: list[_Indices] = list(np.indices(indices.shape))
    places[axis] = np.where(indices < 0, indices + shape[axis], indices).astype(np.int64)
    return _write(parts, np.ravel_multi_index(tuple(places), shape))


def scatter_nd(parts: Parts) -> bool:
    """Writes each update where its row of indices says."""
    indices = parts.graph.constants.get(parts.node.input[1])
    if indices is None or parts.attribute("reduction", b"none") != b"none":
        return False
    shape = parts.shape
    depth = indices.shape[-1]
    rows = np.where(indices < 0, indices + np.array(shape[:depth]), indices).astype(np.int64)
    first = np.ravel_multi_index(tuple(np.moveaxis(rows, -1, 0)), shape[:depth])
    size = int(np.prod(shape[depth:], dtype=np.int64))
    return _write(parts, first.reshape(-1, 1) * size + np.arange(size))


def trilu(parts: Parts) -> bool:
    """A triangle of the last two axes; zeros in the other one."""
    name = parts.node.input[1] if len(parts.node.input) > 1 else ""
    diagonal = parts.graph.constants.get(name) if name else np.zeros((), np.int64)
    if diagonal is None:
        return False
    triangle = np.triu if parts.attribute("upper", 1) else np.tril
    kept = parts.constant(triangle(np.ones(parts.shape[-2:], np.bool_), int(diagonal.item())))
    parts.add("Where", [kept, parts.node.input[0], parts.number(0)], parts.shape)
    return True


def _write(parts: Parts, places: _Indices) -> bool:
    """`places`: of each update, in order, its position in the flat data; the last one counts."""
    data, _, updates = parts.node.input
    shape = parts.shape
    elements = int(np.prod(shape, dtype=np.int64))
    sources = np.arange(elements)
    sources[places.reshape(-1)] = elements + np.arange(places.size)
    if _as_slab(parts, sources.reshape(shape), places.size):
        return True
    flat = [
        parts.reshape(name, (1, size)) for name, size in ((data, elements), (updates, places.size))
    ]
    both = parts.add("Concat", flat, (1, elements + places.size), axis=1)
    chosen = parts.add("Gather", [both, parts.constant(sources)], (1, elements), axis=1)
    parts.reshape(chosen, shape)
    return True


def _as_slab(parts: Parts, sources: _Indices, count: int) -> bool:
    """Updates that fill a range of one axis, in order, stand between two slices of the data."""
    shape = parts.shape
    for axis, length in enumerate(shape):
        other = tuple(index for index in range(len(shape)) if index != axis)
        written = (sources >= sources.size).all(axis=other)
        inside = np.flatnonzero(written)
        if not len(inside) or len(inside) * (sources.size // length) != count:
            continue
        start, stop = int(inside[0]), int(inside[-1]) + 1
        slab = np.take(sources, range(start, stop), axis).reshape(-1)
        if stop - start != len(inside) or not np.array_equal(slab, sources.size + np.arange(count)):
            continue
        sizes = (*shape[:axis], stop - start, *shape[axis + 1 :])
        pieces = [parts.reshape(parts.node.input[2], sizes)]
        for first, last in ((0, start), (stop, length)):
            if first == last:
                continue
            pieces.insert(0 if first == 0 else len(pieces), _range(parts, axis, first, last))
        if len(pieces) > 1:
            parts.add("Concat", pieces, shape, axis=axis)
        return True
    return False


def _range(parts: Parts, axis: int, first: int, last: int) -> str:
    """Positions `first` to `last` - 1 along an axis of the data."""
    data = parts.graph.constants.get(parts.node.input[0])
    if data is not None:
        return parts.constant(np.take(data, range(first, last), axis))
    ends = [parts.constant(np.array([n], np.int64)) for n in (first, last, axis)]
    sizes = (*parts.shape[:axis], last - first, *parts.shape[axis + 1 :])
    return parts.add("Slice", [parts.node.input[0], *ends], sizes)
