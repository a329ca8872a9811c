"""Scalar weight sharing: each layer's weights take K values, found by k-means.

Deep Compression (arXiv 1510.00149, section 3): clusters of the surviving weights, no sharing across
layers, then training of the centroids by the sum of their members' gradients. Beyond the paper: one
factor an output channel, so that one codebook serves channels of different sizes and survives the
exporter's per-channel scales; weights counted by the inputs they meet; K from the elbow.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress.bits import allocate_values
from edgefactor.pipeline.compress.context import Context, TrainingOptions
from edgefactor.pipeline.compress.layer_inputs import second_moments
from edgefactor.pipeline.compress.method import (
    Method,
    Need,
    Options,
    PerLayer,
    StepResult,
    check_range,
)
from edgefactor.pipeline.compress.scalar_kmeans import Start, cluster, elbow
from edgefactor.pipeline.compress.share_by_output import refine_by_output
from edgefactor.pipeline.compress.shared_weight import (
    MaskedWeight,
    SharedWeight,
    parametrization,
    set_shared,
    weight_of,
)

#: Calibration inputs behind each figure of a budget's search, which needs many figures.
_BUDGET_INPUTS = 128
_ELBOW_CANDIDATES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOptions(Options):
    """Options of ``share``.

    Attributes:
        values: Values a layer, one number or by layer; for pruned layers zero is one of them.
            0 chooses where the error's curve bends.
        small_layers: What becomes of a layer with fewer weights than `values`: an error ("refuse"),
            or as many values as it has weights ("fewer").
        budget_bytes: Flash for indices and tables of all layers of the step; chooses `values`
            (2 to 64) by what each layer's sharing does to the outputs. 0 for no budget.
        start: "exact" is the optimum; the rest are starts of Lloyd's algorithm.
        scale: Factor of each output channel: its largest magnitude, its root mean square, or none.
        importance: What is minimised: the error of the weights ("equal"); the same with each weight
            counted by the mean square of its input ("inputs"); or, from there, the error of the
            layers' outputs, layer after layer ("outputs", see `share_by_output`).
        calibration: Inputs that the last two look at.
        grid: Whether values keep to the exporter's 8-bit grid.
        gap_bits: Bits of a stored distance in pruned layers, one or by layer.
        training: Of the centroids and what else the model has; none by default.
    """

    values: PerLayer = field(default_factory=lambda: PerLayer.of(16))
    small_layers: Literal["refuse", "fewer"] = "refuse"
    budget_bytes: int = 0
    start: Start = "exact"
    scale: Literal["none", "max", "rms"] = "none"
    importance: Literal["equal", "inputs", "outputs"] = "equal"
    calibration: int = 512
    grid: bool = True
    gap_bits: PerLayer = field(default_factory=lambda: PerLayer.of(5))
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        for number in self.values.numbers:
            check_range("values", number, 0, 1 << 16)
            if number != int(number):
                raise OptionError("values must be whole numbers", found=f"{number:g}")
        for number in self.gap_bits.numbers:
            check_range("gap_bits", number, 1, 16)
        check_range("calibration", self.calibration, 1, 1 << 40)
        check_range("budget_bytes", self.budget_bytes, 0, 1 << 40)

    @property
    def looks(self) -> bool:
        """Whether calibration inputs are needed."""
        return self.importance != "equal" or self.budget_bytes > 0


class Share(Method):
    """One codebook of single values a layer."""

    name: ClassVar[str] = "share"
    summary: ClassVar[str] = "few values a layer by k-means, centroids fine-tuned"
    options: ClassVar[type[Options]] = ShareOptions

    def needs(self, options: ShareOptions) -> Need:
        """Data for training or input statistics."""
        need = options.training.need
        return Need.DATA if need is Need.NOTHING and options.looks else need

    def apply(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        options: ShareOptions,
        context: Context,
    ) -> StepResult:
        """Shares the layers' weights; see `ShareOptions`."""
        moments: dict[str, Tensor] = {}
        if options.importance != "equal":
            inputs = context.inputs(options.calibration)
            moments = second_moments(model, layer_names, inputs)
        before = copy.deepcopy(model) if options.importance == "outputs" else model
        if options.budget_bytes:
            options = replace(
                options, values=budgeted(model, layer_names, options, moments, context)
            )
        layers: dict[str, dict[str, Any]] = {}
        for number, name in enumerate(layer_names):
            layers[name] = share_layer(
                model.get_submodule(name),
                name,
                options,
                moments.get(name),
                seed=context.seed * 1_009 + number,
            )
        if options.importance == "outputs":
            found = refine_by_output(
                model, before, layer_names, context, samples=options.calibration
            )
            layers = {name: layers[name] | found.get(name, {}) for name in layers}
        context.trainer.fit(model, options.training, context, label=self.name)
        return StepResult(layers=layers)


def budgeted(
    model: nn.Module,
    layer_names: Sequence[str],
    options: ShareOptions,
    moments: Mapping[str, Tensor],
    context: Context,
) -> PerLayer:
    """The number of values of each layer that fits `options.budget_bytes` best."""

    def share_one(layer: nn.Module, name: str, values: int) -> None:
        chosen = replace(options, values=PerLayer.of(values))
        share_layer(layer, name, chosen, moments.get(name), seed=context.seed)

    inputs = context.inputs(min(options.calibration, _BUDGET_INPUTS))
    found = allocate_values(model, layer_names, inputs, options.budget_bytes, share_one)
    return PerLayer(entries=tuple((name, float(values)) for name, values in found.items()))


def share_layer(
    layer: nn.Module, name: str, options: ShareOptions, moment: Tensor | None, *, seed: int
) -> dict[str, Any]:
    """Clusters one layer's weights and hangs the codebook on it.

    Args:
        layer: Plain or pruned.
        name: Its path.
        options: See `ShareOptions`.
        moment: Mean square of the input of each weight, or None.
        seed: For random starts.

    Returns:
        Figures: values, inertia, and the sum of unsquared distances E(q).

    Raises:
        OptionError: If there are more values than weights, or the layer is shared already.
    """
    made_by = parametrization(layer)
    if made_by is not None and not isinstance(made_by, MaskedWeight):
        raise OptionError("The layer is shared or quantized already", where=name)
    weight = weight_of(layer).cpu().double().numpy()
    scale = channel_scale(weight, options.scale)
    factors = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    importance = np.broadcast_to(factors**2, weight.shape)
    if moment is not None:
        importance = importance * moment.cpu().double().numpy()
    sparse = isinstance(made_by, MaskedWeight)
    kept = np.ones(weight.shape, np.bool_)
    if isinstance(made_by, MaskedWeight):
        kept = made_by.mask.cpu().numpy() != 0
    points, mass = (weight / factors)[kept], importance[kept]
    k = int(options.values.value(name)) or elbow_of(points, mass) + sparse
    if options.small_layers == "fewer":
        k = min(k, points.size + sparse)
    if k - sparse > points.size or k - sparse < 1:
        raise OptionError(
            "The layer cannot have that many shared values",
            where=name,
            found=f"{k} values for {points.size} weights" + (" besides zeros" if sparse else ""),
            expected=f"{1 + sparse} to {points.size + sparse}",
        )
    found = cluster(points, k - sparse, weights=mass, start=options.start, seed=seed)
    index = np.zeros(weight.shape, np.int64)
    index[kept] = found.index + sparse
    codebook = np.concatenate([np.zeros(int(sparse)), found.centroids])
    shared = SharedWeight(
        torch.from_numpy(index),
        tuple(weight.shape),
        scale=None if options.scale == "none" else torch.from_numpy(scale).float(),
        zero=sparse,
        grid=options.grid,
        gap_bits=int(options.gap_bits.value(name)) if sparse else 0,
    ).to(weight_of(layer).device)
    entries = torch.from_numpy(codebook)[:, None].to(weight_of(layer))
    set_shared(layer, shared, entries)
    return {
        "weights": int(weight.size),
        "values": len(codebook),
        "inertia": found.inertia,
        "distances": float(np.abs(points - found.centroids[found.index]).sum()),
    }


def channel_scale(weight: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """The positive factor of each output channel; 1 where a channel is all zero."""
    rows = weight.reshape(len(weight), -1)
    if kind == "none":
        return np.ones(len(rows))
    size = np.abs(rows).max(1) if kind == "max" else np.sqrt((rows**2).mean(1))
    # Exactly what float32 stores, so that dividing by it later gives the same values back.
    return np.where(size > 0, size, 1.0).astype(np.float32).astype(np.float64)


def elbow_of(points: NDArray[np.float64], mass: NDArray[np.float64]) -> int:
    """K where the inertia of these weights bends."""
    distinct = len(np.unique(points))
    candidates = tuple(k for k in _ELBOW_CANDIDATES if k <= distinct)
    return elbow(points, candidates, weights=mass) if len(candidates) > 2 else distinct
