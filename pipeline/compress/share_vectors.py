"""Vector sharing: d consecutive weights take one of K vectors (product quantization).

Gong et al. 2014 (arXiv 1412.6115) and Stock et al. 2019 (arXiv 1907.05686). With `layout`
"channels" a group lies along the input channels, consecutive on the device (O, H, W, I); with
"rows" it is one row of a kernel, as Deep k-Means groups (arXiv 1806.09228). log2(K) / d bits a
weight, and K * d values of codebook.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefactor.errors import OptionError
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
from edgefactor.pipeline.compress.share import channel_scale
from edgefactor.pipeline.compress.share_by_output import refine_by_output
from edgefactor.pipeline.compress.shared_weight import (
    SharedWeight,
    parametrization,
    set_shared,
    to_groups,
    weight_of,
)
from edgefactor.pipeline.compress.vector_kmeans import cluster_vectors

#: With `values` 0: this many vectors, or fewer where each would serve too few groups.
_MOST_VALUES = 256
_LEAST_MEMBERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareVectorsOptions(Options):
    """Options of ``share-vectors``.

    Attributes:
        d: Weights a vector; with `layout` "rows" the kernel's width instead.
        values: Vectors a layer, one number or by layer; 0 for 256, or a quarter of the groups.
        layout: Whether vectors lie along input channels or along kernel rows.
        scale: Factor of each output channel, as in ``share``.
        importance: As in ``share``: "inputs" counts errors by the mean square of the input they
            meet, "outputs" goes on from there to the least error of the layers' outputs.
        calibration: Inputs that both look at.
        training: Of the vectors and what else the model has; none by default.
    """

    d: int = 4
    values: PerLayer = field(default_factory=lambda: PerLayer.of(0))
    layout: Literal["channels", "rows"] = "channels"
    scale: Literal["none", "max", "rms"] = "none"
    importance: Literal["equal", "inputs", "outputs"] = "equal"
    calibration: int = 512
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        check_range("d", self.d, 1, 64)
        check_range("calibration", self.calibration, 1, 1 << 40)
        for number in self.values.numbers:
            check_range("values", number, 0, 1 << 16)
            if number != int(number):
                raise OptionError("values must be whole numbers", found=f"{number:g}")


class ShareVectors(Method):
    """One codebook of short vectors a layer."""

    name: ClassVar[str] = "share-vectors"
    summary: ClassVar[str] = "few vectors of 2, 4 or 8 weights a layer (product quantization)"
    options: ClassVar[type[Options]] = ShareVectorsOptions

    def needs(self, options: ShareVectorsOptions) -> Need:
        """Data for training or input statistics."""
        need = options.training.need
        looks = need is Need.NOTHING and options.importance != "equal"
        return Need.DATA if looks else need

    def apply(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        options: ShareVectorsOptions,
        context: Context,
    ) -> StepResult:
        """Shares the layers' weights; layers that d does not divide are left, with a note."""
        moments: dict[str, Tensor] = {}
        if options.importance != "equal":
            inputs = context.inputs(options.calibration)
            moments = second_moments(model, layer_names, inputs)
        before = copy.deepcopy(model) if options.importance == "outputs" else model
        layers: dict[str, dict[str, Any]] = {}
        notes = []
        for number, name in enumerate(layer_names):
            layer = model.get_submodule(name)
            d = group_size(layer, options.d, options.layout)
            row = weight_of(layer)[0].numel()
            if row % d:
                notes.append(f"{name} was left: its {row} weights an output do not divide by {d}")
                continue
            layers[name] = share_layer(
                layer, name, d, options, moments.get(name), seed=context.seed * 1_009 + number
            )
        if options.importance == "outputs":
            found = refine_by_output(
                model, before, tuple(layers), context, samples=options.calibration
            )
            layers = {name: layers[name] | found.get(name, {}) for name in layers}
        context.trainer.fit(model, options.training, context, label=self.name)
        return StepResult(layers=layers, notes=tuple(notes))


def group_size(layer: nn.Module, d: int, layout: str) -> int:
    """Weights a vector in this layer."""
    kernel_rows = layout == "rows" and isinstance(layer, nn.Conv2d)
    return int(weight_of(layer).shape[-1]) if kernel_rows else d


def share_layer(
    layer: nn.Module,
    name: str,
    d: int,
    options: ShareVectorsOptions,
    moment: Tensor | None,
    *,
    seed: int,
    start: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Clusters one layer's groups of weights and hangs the codebook on it.

    Args:
        layer: A plain layer.
        name: Its path.
        d: Weights a vector.
        options: See `ShareVectorsOptions`.
        moment: Mean square of the input of each weight, or None.
        seed: Of k-means++.
        start: ``[K, d]`` vectors to start from instead, where there are that many of them.

    Raises:
        OptionError: If there are more vectors than groups, or the layer is shared already.
    """
    if parametrization(layer) is not None:
        raise OptionError("The layer is pruned, shared or quantized already", where=name)
    weight = weight_of(layer).cpu().double()
    scale = channel_scale(weight.numpy(), options.scale)
    factors = torch.from_numpy(scale).reshape(-1, *(1,) * (weight.ndim - 1))
    importance = (factors**2).expand(weight.shape)
    if moment is not None:
        importance = importance * moment.cpu().double()
    last = options.layout == "channels"
    points = to_groups(weight / factors, d, channels_last=last).numpy()
    mass = to_groups(importance, d, channels_last=last).numpy()
    automatic = max(1, min(_MOST_VALUES, len(points) // _LEAST_MEMBERS))
    k = int(options.values.value(name)) or automatic
    if k > len(points):
        raise OptionError(
            "The layer cannot have that many shared vectors",
            where=name,
            found=f"{k} vectors for {len(points)} groups of {d} weights",
            expected=f"1 to {len(points)}",
        )
    start = start if start is not None and len(start) == k else None
    found = cluster_vectors(points, k, weights=mass, start=start, seed=seed)
    like = weight_of(layer)
    shared = SharedWeight(
        torch.from_numpy(found.index),
        tuple(weight.shape),
        d=d,
        scale=None if options.scale == "none" else torch.from_numpy(scale).float(),
        grid=True,
        channels_last=last,
    ).to(like.device)
    set_shared(layer, shared, torch.from_numpy(found.centroids).to(like))
    size = float(np.square(points * np.sqrt(mass)).sum())
    return {
        "weights": int(weight.numel()),
        "values": k,
        "d": d,
        "bits": float(np.log2(max(k, 1)) / d),
        "relative_error": found.inertia / max(size, 1e-30),
    }
