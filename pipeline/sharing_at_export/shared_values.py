"""Keeps a clustered layer clustered: finds weights that take few values and says how to scale them.

Quantization with one free scale a channel would turn 16 float values into up to 16 a channel. A
layer that was trained with shared values is recognised here, from its weights as they are or, when
batch norm was folded into it, from the weights before: ``folded = factor[channel] * original``. The
factor travels with the operator, quantization divides by it, and the codes stay as few as the
values were (Han et al. 2015, "Deep Compression", arXiv 1510.00149, shares per layer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.ir import Graph
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.recurrent.op import Recurrent

Weights = NDArray[np.float32]

#: More values than a 6-bit index can tell apart are not worth a codebook.
MOST_VALUES = 64
#: Fewer repetitions than this happen by chance in small layers.
_MOST_SHARE = 0.75
_TOLERANCE = 2e-5
#: Symmetric int8 codes.
_CODES = 255
#: Beside a parameter ``weight`` this buffer holds the scale of each output channel that its
#: codebook is shared up to.
SCALE_SUFFIX = "_scale"


def _is_shared(rows: NDArray[np.floating]) -> bool:
    # Zeros repeat in every pruned layer; its other values may still be all different.
    values = rows[rows != 0]
    distinct = len(np.unique(values))
    with_zero = distinct + (values.size < rows.size)
    return bool(with_zero <= MOST_VALUES and distinct <= _MOST_SHARE * values.size)


def _originals(state: Mapping[str, Weights]) -> list[tuple[Weights, Weights]]:
    """(rows, channel scale) of every clustered parameter before any folding."""
    found = []
    for name, array in state.items():
        if array.ndim < 2:
            continue
        rows = np.asarray(array, np.float32).reshape(array.shape[0], -1)
        scale = state.get(name + SCALE_SUFFIX)
        factors = np.ones(len(rows), np.float32)
        recorded = scale is not None and scale.shape == (len(rows),) and bool(np.all(scale > 0))
        if recorded:
            factors = np.asarray(scale, np.float32)
        # Division by a recorded scale leaves rounding noise; 1e-6 of the range merges it.
        shared = rows / factors[:, None]
        step = float(np.abs(shared).max(initial=0.0)) * 1e-6 or 1.0
        merged = shared if np.all(factors == 1) else np.rint(shared / step) * step
        # Vectors have more single values than a codebook of numbers may; they say so by a scale.
        if _is_shared(merged) or (recorded and len(np.unique(merged)) <= _CODES):
            found.append((rows, factors))
    return found


def _row_factors(rows: Weights, original: Weights) -> NDArray[np.float64] | None:
    """The factor that leads from each original row to the folded one, if there is one.

    Columns may have been reordered, so rows are compared sorted.
    """
    factors = np.empty(len(rows))
    for channel, (row, source) in enumerate(zip(rows, original, strict=True)):
        power = float(np.dot(source, source))
        if power == 0.0:
            factors[channel] = 1.0
            if np.any(row):
                return None
            continue
        ascending = np.sort(source).astype(np.float64)
        target = np.sort(row).astype(np.float64)
        best = None
        for candidate in (ascending, -ascending[::-1]):
            factor = float(np.dot(candidate, target)) / power
            off = float(np.abs(target - factor * candidate).max())
            if factor > 0 and off <= _TOLERANCE * float(np.abs(target).max()):
                best = factor if candidate is ascending else -factor
                break
        if best is None and np.any(row):
            return None
        # A factor of 0 left nothing of the channel: any scale holds its weights.
        factors[channel] = 1.0 if best is None else best
    return factors


def _distinct(rows: Weights, scale: NDArray[np.float64]) -> int:
    """How many values are left when each channel is divided by its scale."""
    shared = rows / scale[:, None]
    step = float(np.abs(shared).max(initial=0.0)) * _TOLERANCE or 1.0
    return len(np.unique(np.rint(shared / step)))


def _channel_scale(rows: Weights, originals: list[tuple[Weights, Weights]]) -> tuple[float, ...]:
    """The scale that leaves the fewest values; none where there are many in any case."""
    candidates = [np.ones(len(rows))] if _is_shared(rows) else []
    for original, scale in originals:
        if original.shape != rows.shape:
            continue
        factors = _row_factors(rows, original)
        if factors is not None:
            # A negative factor mirrors the values of its channel; the scale itself is positive.
            candidates.append(np.abs(factors) * scale)
    best = min(candidates, key=lambda scale: _distinct(rows, scale), default=None)
    return () if best is None else tuple(float(factor) for factor in best)


def _rows(graph: Graph, weights: str) -> Weights:
    """The weights of a layer, one row a channel."""
    values = np.asarray(graph.tensors[weights].values, np.float32)
    return values.reshape(values.shape[0], -1)


def keep_shared_values(graph: Graph, state: Mapping[str, Weights]) -> Graph:
    """Set the channel scales of every convolution and recurrent layer with clustered weights.

    Args:
        graph: Fused float Graph.
        state: The model's parameters and buffers as PyTorch names and stores them.
    """
    originals = _originals(state)
    new_ops = []
    for op in graph.ops:
        if isinstance(op, Conv2D) and not op.channel_scale:
            scale = _channel_scale(_rows(graph, op.inputs[1]), originals)
            op = replace(op, channel_scale=scale) if scale else op
        elif isinstance(op, Recurrent):
            op = replace(
                op,
                input_channel_scale=_channel_scale(_rows(graph, op.inputs[1]), originals),
                recurrent_channel_scale=_channel_scale(_rows(graph, op.inputs[3]), originals),
            )
        new_ops.append(op)
    return graph.edit(ops=tuple(new_ops))
