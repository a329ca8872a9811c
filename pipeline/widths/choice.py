"""Which operators run on 16-bit activations: as few as bring the outputs to the wanted precision.

The int8 network is compared with the float one on calibration samples. Where the signal-to-noise
ratio of an output is below ``WANTED_DB``, the activations are ranked by the noise that each makes
on its own, and the worst are widened: the operator that computes one, and those that read it. Then
operators go back to 8 bits, the most expensive first, as long as the outputs keep the precision.
No clock decides and nothing is random, so the same network and data give the same choice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics, ops
from edgefactor.export.ir import DType, Graph, Quantization
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.widths.borders import Range
from edgefactor.pipeline.widths.sensitivity import (
    Reals,
    decibels,
    noise_by_tensor,
    noise_ratios,
)
from edgefactor.runtime.onnxruntime_runner import OnnxRuntimeRunner

#: Signal-to-noise ratio that the outputs should have.
WANTED_DB = 20.0
#: What is aimed at once something is widened: other data may be harder.
_MARGIN_DB = 3.0
#: Widening that gains less is left out.
_LEAST_GAIN_DB = 1.0
#: A tensor whose own noise lies further below than this was not widened for its own sake.
_NOTABLE_DB = 15.0
#: Quantized networks that are built and run to find the choice; each takes a fraction of a second.
_MOST_TRIALS = 64
#: Key of the Graph's metadata under which the choice is recorded.
METADATA = "widths"


@dataclass(frozen=True, slots=True, kw_only=True)
class WideTensor:
    """One activation that is int16, and why.

    Attributes:
        tensor: Its name.
        layer: The operator that computes it.
        int8_sqnr_db: Signal-to-noise ratio of the outputs with this tensor alone in 8 bits; None
            where it was not asked for.
        int16_sqnr_db: The same in 16 bits.
        reason: In words.
    """

    tensor: str
    layer: str
    int8_sqnr_db: float | None
    int16_sqnr_db: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """The choice.

    Attributes:
        int8_sqnr_db: Signal-to-noise ratio of the outputs with int8 activations alone, on the
            calibration samples.
        sqnr_db: With the choice.
        wide: The 16-bit activations, in execution order.
    """

    int8_sqnr_db: float
    sqnr_db: float
    wide: tuple[WideTensor, ...]


def can_widen(graph: Graph) -> frozenset[str]:
    """Names of the operators that have an int16 form which precision may ask for."""
    return frozenset(
        op.name
        for op in graph.ops
        for family in [ops.family_of(op)]
        if DType.INT16 in family.widths(op) and not family.width_is_given(op)
    )


class _Search:
    """Quantizes and runs candidates, and remembers them."""

    def __init__(
        self,
        graph: Graph,
        ranges: Mapping[str, Range],
        measure: Callable[[], Mapping[str, Range]],
        feeds: Mapping[str, Reals],
    ) -> None:
        self.graph, self.ranges, self.feeds = graph, ranges, feeds
        self._measure = measure
        self._extremes: Mapping[str, Range] | None = None
        self.outputs = [port.name for port in graph.outputs]
        self.exact = self._run(graph)
        self.known: dict[frozenset[str], NDArray[np.float64]] = {}

    def _run(self, graph: Graph) -> list[Reals]:
        runner = OnnxRuntimeRunner(write_onnx(graph).SerializeToString())
        found = runner.run(self.feeds, self.outputs)
        return [np.asarray(found[name], np.float32) for name in self.outputs]

    @property
    def extremes(self) -> Mapping[str, Range]:
        """The lowest and highest value of all activations."""
        if self._extremes is None:
            self._extremes = self._measure()
        return self._extremes

    def quantized(self, wide: frozenset[str]) -> Graph:
        """The integer Graph with these operators in 16 bits."""
        return quantize(self.graph, self.ranges, wide, self.extremes if wide else None)

    def ratios(self, wide: frozenset[str]) -> NDArray[np.float64]:
        """Noise ratios of the outputs with these operators in 16 bits."""
        if wide not in self.known:
            self.known[wide] = noise_ratios(self.exact, self._run(self.quantized(wide)))
        return self.known[wide]

    def reaches(self, wide: frozenset[str], wanted_db: float) -> bool:
        return decibels(self.ratios(wide)) >= wanted_db

    @property
    def exhausted(self) -> bool:
        return len(self.known) >= _MOST_TRIALS


def _around(graph: Graph, tensor: str, able: frozenset[str]) -> frozenset[str]:
    """The operators that have to run in 16 bits for a tensor to be read in 16 bits."""
    producer = graph.producer(tensor)
    around = [*([producer] if producer else []), *graph.consumers(tensor)]
    return frozenset(op.name for op in around if op.name in able)


def _candidates(graph: Graph, able: frozenset[str]) -> list[str]:
    """Tensors that can be 16 bits wide where they are computed and where they are read."""
    return [
        op.outputs[0]
        for op in graph.ops
        if op.name in able and any(r.name in able for r in graph.consumers(op.outputs[0]))
    ]


def _work(graph: Graph, name: str) -> int:
    """What an operator costs, roughly: products or elements."""
    op = next(op for op in graph.ops if op.name == name)
    output = graph.tensors[op.outputs[0]]
    weights = [graph.tensors[n] for n in op.inputs if graph.tensors[n].data is not None]
    taps = max((w.elements // max(1, w.shape[0]) for w in weights if len(w.shape) == 4), default=1)
    return output.elements * max(1, taps)


def choose_widths(
    graph: Graph,
    ranges: Mapping[str, Range],
    extremes: Callable[[], Mapping[str, Range]],
    feeds: Mapping[str, Reals],
    *,
    everything: bool = False,
) -> tuple[Graph, Widths | None]:
    """Quantize a float Graph, with 16-bit activations where 8 bits lose too much.

    Args:
        graph: Float Graph, fused.
        ranges: Of all activations.
        extremes: Called, if 16 bits are tried, for the lowest and highest value of all activations.
        feeds: Input name -> calibration samples ``[n, ...]`` in PyTorch's layout.
        everything: Widen all that can be, whatever it gains.

    Returns:
        The integer Graph, and the choice: None where int8 is precise enough, without any tensor
        where it is not but widening would not help.
    """
    search = _Search(graph, ranges, extremes, feeds)
    able = can_widen(graph)
    none: frozenset[str] = frozenset()
    before = decibels(search.ratios(none))
    if everything:
        return _result(search, able, before, {})
    if before >= WANTED_DB:
        return search.quantized(none), None
    tensors = _candidates(graph, able)
    ceiling = decibels(search.ratios(able)) if tensors else before
    if ceiling < before + _LEAST_GAIN_DB:
        return _result(search, none, before, {})
    wanted = min(WANTED_DB + _MARGIN_DB, ceiling - _LEAST_GAIN_DB / 2)
    noise = noise_by_tensor(graph, _scales(search.quantized(none), tensors), DType.INT8, feeds)
    ranked = sorted(tensors, key=lambda name: -float(noise[name].max()))
    wide = _grow(search, ranked, able, wanted)
    wide = _shrink(search, wide, wanted)
    return _result(search, wide, before, noise)


def _scales(graph: Graph, tensors: Iterable[str]) -> dict[str, Quantization]:
    return {name: graph.tensors[name].quant for name in tensors}


def _grow(
    search: _Search, ranked: list[str], able: frozenset[str], wanted: float
) -> frozenset[str]:
    """Widen tensor after tensor, ever more at a time, until the outputs are precise enough."""
    wide: frozenset[str] = frozenset()
    step = taken = 1
    while ranked:
        for name in ranked[:step]:
            wide |= _around(search.graph, name, able)
        ranked = ranked[step:]
        if search.reaches(wide, wanted):
            return wide
        taken += step
        step = max(1, taken // 4)
    return able


def _shrink(search: _Search, wide: frozenset[str], wanted: float) -> frozenset[str]:
    """Take operators back to 8 bits, the most expensive first, while the precision holds."""
    for name in sorted(wide, key=lambda name: (-_work(search.graph, name), name)):
        if search.exhausted:
            break
        if search.reaches(wide - {name}, wanted):
            wide = wide - {name}
    return wide


def _result(
    search: _Search,
    wide: frozenset[str],
    before: float,
    noise: Mapping[str, NDArray[np.float64]],
) -> tuple[Graph, Widths]:
    chosen = search.quantized(wide)
    names = [
        op.outputs[0]
        for op in search.graph.ops
        if op.name in wide and chosen.tensors[op.outputs[0]].dtype is DType.INT16
    ]
    after: dict[str, NDArray[np.float64]] = {}
    if noise:
        scales = {
            name: numerics.choose_symmetric(*search.extremes[name])
            for name in names
            if name in noise
        }
        after = noise_by_tensor(search.graph, scales, DType.INT16, search.feeds)
    entries = []
    for name in names:
        producer = search.graph.producer(name)
        eight = decibels(noise[name]) if name in noise else None
        sixteen = decibels(after[name]) if name in after else None
        entries.append(
            WideTensor(
                tensor=name,
                layer=producer.name if producer else "",
                int8_sqnr_db=eight,
                int16_sqnr_db=sixteen,
                reason=_reason(eight, sixteen),
            )
        )
    widths = Widths(int8_sqnr_db=before, sqnr_db=decibels(search.ratios(wide)), wide=tuple(entries))
    text = json.dumps(_rounded(asdict(widths)), sort_keys=True)
    return replace(chosen, metadata={**chosen.metadata, METADATA: text}), widths


def _reason(eight: float | None, sixteen: float | None) -> str:
    if eight is None or sixteen is None:
        return "asked for by --activations int16"
    if eight < WANTED_DB + _NOTABLE_DB:
        return f"in 8 bits its noise alone leaves {eight:.1f} dB, in 16 bits {sixteen:.1f} dB"
    return "computed by an operator that has to read 16 bits"


def _rounded(value: object) -> object:
    """Decibels to a tenth: the last digits of float sums differ between machines."""
    if isinstance(value, float):
        return round(value, 1)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def recorded_widths(graph: Graph) -> dict[str, object] | None:
    """What ``choose_widths`` recorded in a Graph; None if all activations are int8."""
    text = graph.metadata.get(METADATA)
    return None if text is None else dict(json.loads(text))
