"""Ranges of all activations, from running the float Graph on calibration data.

The Graph itself is written as float ONNX and run by ONNX Runtime with every activation as an
output, so ranges belong to the tensors that are quantized and not to look-alikes. Methods:

- ``min-max``: the extremes seen.
- ``percentile``: the central 99.99 % of values.
- ``entropy``: the clipping with the least Kullback-Leibler divergence between the histograms before
  and after quantization (Migacz 2017, "8-bit inference with TensorRT").
- ``mse``: the clipping with the least mean squared quantization error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import DataError
from edgefactor.export import ops
from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import real_name, write_onnx

Method = Literal["min-max", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
#: Agrees most with the float networks of ``benchmarks/calibration.py``.
DEFAULT_METHOD: Method = "percentile"
Range = tuple[float, float]
Sample = Mapping[str, NDArray[np.float32]]

_BINS = 2048
_LEVELS = 256
_TAIL = 5e-5
#: Fractions of the full range that the searching methods try.
_CLIPPINGS = np.linspace(0.30, 1.0, 71)


@dataclass(slots=True)
class _Statistics:
    """Running extremes and a histogram of one tensor."""

    low: float = np.inf
    high: float = -np.inf
    counts: NDArray[np.int64] | None = None

    def see_extremes(self, values: NDArray[np.float32]) -> None:
        # NumPy's minimum keeps a NaN, Python's min would lose it.
        self.low = float(np.minimum(self.low, values.min()))
        self.high = float(np.maximum(self.high, values.max()))

    def see_counts(self, values: NDArray[np.float32]) -> None:
        # numpy.histogram gives the same ten times slower.
        width = max(self.high - self.low, 1e-6) / _BINS
        bins = ((values.reshape(-1) - self.low) / width).astype(np.int64)
        counts = np.bincount(np.clip(bins, 0, _BINS - 1), minlength=_BINS)
        self.counts = counts if self.counts is None else self.counts + counts


def _centres(low: float, high: float) -> NDArray[np.float64]:
    return low + (np.arange(_BINS) + 0.5) * (high - low) / _BINS


def _percentile(statistics: _Statistics, counts: NDArray[np.int64]) -> Range:
    shares = np.cumsum(counts) / counts.sum()
    centres = _centres(statistics.low, statistics.high)
    first = int(np.searchsorted(shares, _TAIL))
    last = int(np.searchsorted(shares, 1.0 - _TAIL))
    return float(centres[first]), float(centres[min(last, _BINS - 1)])


def _candidates(statistics: _Statistics) -> list[Range]:
    low, high = min(statistics.low, 0.0), max(statistics.high, 0.0)
    return [(low * t, high * t) for t in _CLIPPINGS]


def _mse(statistics: _Statistics, counts: NDArray[np.int64]) -> Range:
    centres = _centres(statistics.low, statistics.high)
    weights = counts / counts.sum()

    def error(ends: Range) -> float:
        step = (ends[1] - ends[0]) / (_LEVELS - 1)
        if step <= 0:
            return np.inf
        clipped = np.clip(centres, *ends)
        rounded = np.rint(clipped / step) * step
        return float((weights * (rounded - centres) ** 2).sum())

    return min(_candidates(statistics), key=error)


def _entropy(statistics: _Statistics, counts: NDArray[np.int64]) -> Range:
    centres = _centres(statistics.low, statistics.high)

    def divergence(ends: Range) -> float:
        step = (ends[1] - ends[0]) / (_LEVELS - 1)
        if step <= 0:
            return np.inf
        inside = (centres >= ends[0] - step) & (centres <= ends[1] + step)
        if not inside.any():
            return np.inf
        before = np.where(inside, counts, 0).astype(np.float64)
        edges = np.flatnonzero(inside)
        before[edges[0]] += counts[: edges[0]].sum()
        before[edges[-1]] += counts[edges[-1] + 1 :].sum()
        level = np.rint((centres[inside] - ends[0]) / step).astype(np.int64)
        level = np.clip(level, 0, _LEVELS - 1)
        totals = np.bincount(level, counts[inside], minlength=_LEVELS)
        filled = np.bincount(level, counts[inside] > 0, minlength=_LEVELS)
        after = np.zeros_like(before)
        spread = totals[level] / np.maximum(filled[level], 1)
        after[inside] = np.where(counts[inside] > 0, spread, 0.0)
        p, q = before / before.sum(), after / max(after.sum(), 1e-12)
        used = p > 0
        return float((p[used] * np.log(p[used] / np.maximum(q[used], 1e-12))).sum())

    return min(_candidates(statistics), key=divergence)


_SEARCHES: dict[str, Callable[[_Statistics, NDArray[np.int64]], Range]] = {
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}


def calibrate(
    graph: Graph,
    samples: Iterable[Sample],
    *,
    method: Method,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Range]:
    """The range of every activation of a float Graph.

    Args:
        graph: Float Graph.
        samples: One mapping a sample, from input names to arrays ``[1, ...]`` in PyTorch's layout.
            Iterated once for min-max, twice otherwise.
        method: One of ``METHODS``.
        progress: Called with the number of samples done.

    Returns:
        Name of a tensor or probe -> (lowest, highest) real value to represent.

    Raises:
        DataError: There is no sample, or an activation is not finite.
    """
    import onnxruntime

    names = [tensor.name for tensor in graph.activations]
    model = write_onnx(graph, extra_outputs=names, probes=True)
    names += [probe for op in graph.ops for probe in ops.family_of(op).probes(op)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    fetched = [real_name(name) for name in names]
    statistics = {name: _Statistics() for name in names}
    rounds = 1 if method == "min-max" else 2
    held = list(samples)
    if not held:
        raise DataError(
            "The calibration data holds no sample.",
            found="0 samples",
            expected="100 to 1,000 typical inputs",
            hint="give more data with --calibration",
        )
    for turn in range(rounds):
        for index, sample in enumerate(held):
            values = session.run(fetched, dict(sample))
            for name, value in zip(names, values, strict=True):
                if turn == 0:
                    statistics[name].see_extremes(value)
                else:
                    statistics[name].see_counts(value)
            progress(turn * len(held) + index + 1)
        _require_finite(statistics)
    if method == "min-max":
        return {name: (s.low, s.high) for name, s in statistics.items()}
    search = _SEARCHES[method]
    return {
        name: search(s, s.counts) if s.counts is not None and s.high > s.low else (s.low, s.high)
        for name, s in statistics.items()
    }


def _require_finite(statistics: Mapping[str, _Statistics]) -> None:
    for name, seen in statistics.items():
        if not (np.isfinite(seen.low) and np.isfinite(seen.high)):
            raise DataError(
                "The network computes values that are not finite on the calibration data.",
                where=f"tensor {name}",
                found=f"range {seen.low} to {seen.high}",
                expected="finite values",
                hint="write a mask of minus infinity as scores.masked_fill(hidden, -inf) before a "
                "softmax or a maximum"
                if seen.low == -np.inf and not np.isnan(seen.high)
                else "check the weights and the normalization of the data",
            )
