"""Vector sharing without training: at most 256 vectors of consecutive int8 codes a layer.

Product quantization (arXiv 1907.05686) by Lloyd's search on the int8 codes themselves. The error of
each weight is weighed by the calibration inputs, as in ``share_codes``, so that the weights of one
vector count differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgefactor.export.encodings.vector_code import MOST_VECTORS
from edgefactor.export.ir import Graph
from edgefactor.export.ops.conv import Conv2D
from edgefactor.pipeline.sharing_at_export.share_codes import Codes, Floats, Moments, change_codes

LEAST_REPETITION = 8
_ROUNDS = 30
_AT_ONCE = 4096
"""Vectors compared with the table at a time."""


def nearest(vectors: Floats, cost: Floats, table: Floats) -> Codes:
    """Index of the table's vector at least weighted squared error, for each vector.

    Args:
        vectors: (N, width).
        cost: Of a unit error of each element, (N, width).
        table: (T, width).
    """
    found = []
    for start in range(0, len(vectors), _AT_ONCE):
        x, w = vectors[start : start + _AT_ONCE], cost[start : start + _AT_ONCE]
        found.append(np.argmin(w @ (table**2).T - 2 * (w * x) @ table.T, axis=1))
    return np.concatenate(found)


def best_vectors(vectors: Codes, cost: Floats, count: int, seed: int = 0) -> Codes:
    """Replace vectors by at most ``count`` distinct ones, (N, width) -> (N, width)."""
    from sklearn.cluster import kmeans_plusplus

    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= count:
        return vectors
    x = vectors.astype(np.float64)
    cost = cost / cost.mean()
    table, _ = kmeans_plusplus(x, count, sample_weight=cost.mean(axis=1), random_state=seed)
    table = np.asarray(table, np.float64)
    for _ in range(_ROUNDS):
        owner = nearest(x, cost, table)
        sums = np.zeros((2, *table.shape))
        np.add.at(sums[0], owner, cost * x)
        np.add.at(sums[1], owner, cost)
        used = sums[1] > 0
        moved = np.where(used, sums[0] / np.where(used, sums[1], 1.0), table)
        if np.array_equal(moved, table):
            break
        table = moved
    grid = np.rint(table).clip(-127, 127)
    shared: Codes = grid[nearest(x, cost, grid)].astype(np.int64)
    return shared


def share_vectors(
    graph: Graph, moments: Mapping[str, Moments], *, width: int, keep: Sequence[str] = ()
) -> Graph:
    """Leave at most 256 vectors of ``width`` weights in every convolution and dense layer.

    Layers stay as they are where vectors do not fit: depthwise ones, those whose output channels
    are no multiple of the width, and those with too few weights to share a table.

    Args:
        graph: int8 Graph.
        moments: Of the input of each convolution, by tensor name.
        width: 2, 4 or 8 consecutive weights of an output channel.
        keep: Patterns of layer names that stay as they are.

    Raises:
        OptionError: A pattern matches no layer.
    """

    def change(op: Conv2D, codes: Codes, cost: Floats) -> Codes | None:
        taps = codes.size // codes.shape[0]
        depthwise = codes.shape[-1] == 1 and op.groups > 1
        few = codes.size < LEAST_REPETITION * MOST_VECTORS * width
        if depthwise or taps % width or few:
            return None
        vectors = codes.reshape(-1, width)
        return best_vectors(vectors, cost.reshape(-1, width), MOST_VECTORS).reshape(codes.shape)

    return change_codes(graph, moments, change, keep=keep)
