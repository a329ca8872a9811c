"""Weight sharing without training: few int8 codes a layer, found from the codes themselves.

Scalar k-means over the int8 codes of a layer. Codes are few, so the best partition is found exactly
by dynamic programming (Wang and Song 2011, "Ckmeans.1d.dp", R Journal 3(2)) instead of by Lloyd's
search. What a change of a weight costs is weighed by the calibration inputs: by the square of its
channel's scale and the mean square of the input it multiplies. The mean error that is left is
taken out by the bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import OptionError
from edgefactor.export import numerics
from edgefactor.export.ir import DType, Graph, Tensor, constant
from edgefactor.export.onnx_writer import real_name, write_onnx
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.requantize import Requantize
from edgefactor.pipeline.calibrate import Sample

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Change = Callable[[Conv2D, Codes, Floats], Codes | None]

#: A layer with fewer weights than this many times the values has little to share.
_LEAST_REPETITION = 8
_MOST_VALUES = 64
_LEAST_COST = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Mean and mean square of each channel of a tensor over all samples and positions."""

    mean: Floats
    mean_square: Floats


def observe_inputs(graph: Graph, samples: Iterable[Sample]) -> dict[str, Moments]:
    """Moments of the input of every convolution of a float Graph, by tensor name."""
    import onnxruntime

    names = list(dict.fromkeys(op.inputs[0] for op in graph.ops if isinstance(op, Conv2D)))
    if not names:
        return {}  # for no names at all, a session would return every output
    session = onnxruntime.InferenceSession(
        write_onnx(graph, extra_outputs=names).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    sums = {name: np.zeros((2, graph.tensors[name].shape[-1])) for name in names}
    counts = dict.fromkeys(names, 0)
    for sample in samples:
        values = session.run([real_name(name) for name in names], dict(sample))
        for name, value in zip(names, values, strict=True):
            # Rank-4 tensors come as NCHW.
            channels = np.moveaxis(np.asarray(value, np.float64), 1, -1)
            rows = channels.reshape(-1, channels.shape[-1])
            sums[name] += np.stack([rows.sum(axis=0), (rows**2).sum(axis=0)])
            counts[name] += len(rows)
    return {
        name: Moments(mean=total[0] / counts[name], mean_square=total[1] / counts[name])
        for name, total in sums.items()
    }


def best_codes(weights: Floats, values: int) -> NDArray[np.int64]:
    """Where each int8 code goes so that ``values`` codes remain at least weighted squared error.

    Args:
        weights: Weight of each code -128..127, [256]; 0 for codes that do not occur.
        values: Number of codes to keep, at least 1.

    Returns:
        The new code of each code -128..127.
    """
    levels = np.flatnonzero(weights) - 128
    mass = weights[levels + 128]
    if len(levels) <= values:
        return np.arange(-128, 128)
    # Sums over any run of levels from running totals: error of a run around its mean.
    totals = np.stack([mass, mass * levels, mass * levels.astype(np.float64) ** 2])
    running = np.concatenate([np.zeros((3, 1)), np.cumsum(totals, axis=1)], axis=1)
    count = len(levels)
    error = np.full((count + 1, count + 1), np.inf)
    for start in range(count):
        part = running[:, start + 1 :] - running[:, start : start + 1]
        error[start, start + 1 :] = part[2] - part[1] ** 2 / part[0]
    best = error[0].copy()
    splits = []
    for _ in range(values - 1):
        options = best[:, None] + error
        splits.append(np.argmin(options, axis=0))
        best = np.min(options, axis=0)
    moved = np.arange(-128, 128)
    end = count
    for split in [*reversed(splits), np.zeros(count + 1, np.int64)]:
        start = int(split[end])
        part = running[:, end] - running[:, start]
        # The mean lies on the int8 grid: rounding is the only choice that keeps codes.
        moved[levels[start:end] + 128] = int(np.rint(part[1] / part[0]))
        end = start
    return moved


def _importance(op: Conv2D, codes: Tensor, moments: Moments) -> Floats:
    """Cost of a unit change of each code, in the square of real outputs; shaped as the codes."""
    scales = np.array(codes.quant.scales) ** 2
    return scales[:, None, None, None] * per_weight(op, codes.shape, moments.mean_square)


def per_weight(op: Conv2D, shape: tuple[int, ...], channels: Floats) -> Floats:
    """A figure of each input channel, for every weight that multiplies the channel: ``shape``."""
    outputs, kh, kw, depth = shape
    group = np.arange(outputs) // (outputs // op.groups)
    index = group[:, None] * depth + np.arange(depth)
    return np.broadcast_to(channels[index][:, None, None, :], (outputs, kh, kw, depth))


def share_codes(
    graph: Graph, moments: Mapping[str, Moments], *, values: int, keep: Sequence[str] = ()
) -> Graph:
    """Leave at most ``values`` distinct weight codes in every convolution and dense layer.

    Args:
        graph: int8 Graph.
        moments: Of the input of each convolution, by tensor name.
        values: 2 to 64.
        keep: Patterns of layer names that stay as they are.

    Raises:
        OptionError: ``values`` is out of range, or a pattern matches no layer.
    """
    if not 2 <= values <= _MOST_VALUES:
        raise OptionError("Layers can share 2 to 64 values.", where="--share", found=str(values))

    def change(op: Conv2D, codes: Codes, cost: Floats) -> Codes | None:
        if codes.size < _LEAST_REPETITION * values:
            return None
        return best_codes(code_weights(codes, cost), values)[codes + 128]

    return change_codes(graph, moments, change, keep=keep)


def code_weights(codes: Codes, cost: Floats) -> Floats:
    """What a unit change of all weights with the same code costs: of each code -128..127."""
    weights = np.zeros(256)
    np.add.at(weights, codes.reshape(-1) + 128, cost.reshape(-1))
    return weights


def change_codes(
    graph: Graph, moments: Mapping[str, Moments], change: Change, *, keep: Sequence[str] = ()
) -> Graph:
    """Give layers other weight codes and take the mean error out by their biases.

    Layers on 16-bit activations are left as they are: their kernels read plain weights.

    Args:
        graph: int8 Graph.
        moments: Of the input of each convolution, by tensor name.
        change: (layer, its codes, cost of a unit change of each) -> new codes, or None to leave the
            layer as it is.
        keep: Patterns of layer names that stay as they are.

    Raises:
        OptionError: A pattern matches no layer.
    """
    tensors = dict(graph.tensors)
    for op in changeable(graph, keep):
        if graph.tensors[op.inputs[0]].dtype is DType.INT16:
            continue
        codes = tensors[op.inputs[1]]
        old = np.asarray(codes.values, np.int64)
        seen = observed(graph, op.inputs[0], moments)
        new = change(op, old, above_nothing(_importance(op, codes, seen)))
        if new is None:
            continue
        tensors[codes.name] = constant(codes.name, new.astype(np.int8), codes.quantization)
        bias = tensors[op.inputs[2]]
        tensors[bias.name] = _corrected(op, graph, codes, bias, new - old, seen)
    return graph.edit(tensors=tensors)


def changeable(graph: Graph, keep: Sequence[str]) -> list[Conv2D]:
    """Convolutions and dense layers but for those whose names match a pattern.

    Raises:
        OptionError: A pattern matches no layer.
    """
    layers = [op for op in graph.ops if isinstance(op, Conv2D)]
    for pattern in keep:
        if not any(fnmatch(op.name, pattern) for op in layers):
            raise OptionError(
                "No layer has a name like this.",
                where="--keep",
                found=pattern,
                expected=", ".join(op.name for op in layers),
            )
    return [op for op in layers if not any(fnmatch(op.name, pattern) for pattern in keep)]


def above_nothing(cost: Floats) -> Floats:
    """Costs of weights; inputs that are always 0 count a little, so that sums keep theirs."""
    return np.maximum(cost, _LEAST_COST * cost.mean() or 1.0)


def observed(graph: Graph, tensor: str, moments: Mapping[str, Moments]) -> Moments:
    """Those of a tensor, or of what it is a copy of at another scale or in another width."""
    producer = graph.producer(tensor)
    while tensor not in moments and isinstance(producer, Requantize):
        tensor = producer.inputs[0]
        producer = graph.producer(tensor)
    return moments[tensor]


def _corrected(
    op: Conv2D, graph: Graph, codes: Tensor, bias: Tensor, change: NDArray[np.int64], seen: Moments
) -> Tensor:
    """The bias less the mean error that the changed weights make on the calibration inputs."""
    in_scale = graph.tensors[op.inputs[0]].quant.scale
    drift = (change * per_weight(op, codes.shape, seen.mean)).sum(axis=(1, 2, 3)) / in_scale
    shifted = np.asarray(bias.values, np.int64) - numerics.round_half_away(drift)
    return constant(bias.name, shifted.astype(np.int32), bias.quantization)
