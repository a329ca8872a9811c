"""Soft weight-sharing: retrain under a learnt mixture prior, then give each weight its mean.

Ullrich, Meeds, Welling 2017 (arXiv 1702.04008): minimise L_E + tau L_C over weights and mixture
with Adam; then merge equal components and set each weight to the mean of the component most
responsible for it. One mixture for all layers; what falls to the zero component is pruned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edgefactor.pipeline.compress.context import Context, TrainingOptions
from edgefactor.pipeline.compress.method import Method, Need, Options, StepResult, check_range
from edgefactor.pipeline.compress.mirroring import mirror_negative_channels
from edgefactor.pipeline.compress.mixture import (
    MERGE_DIVERGENCE,
    Component,
    Mixture,
    assign,
)
from edgefactor.pipeline.compress.shared_weight import (
    SharedWeight,
    set_shared,
    unparametrize,
    weight_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftSharingOptions(Options):
    """Options of ``soft-sharing``.

    Attributes:
        components: Gaussians, the one at zero included.
        zero_share: Share of the zero component, fixed.
        tau: Weight of the complexity; it is divided by the number of training samples.
        deviation: Standard deviation of the components at the start.
        spread: The means start evenly between plus and minus this; 0 for the weights' own range.
        rate_means: Learning rate of the means.
        rate_precisions: Of the logarithms of precisions and shares.
        merge: Components nearer than this in Kullback-Leibler divergence become one.
        gap_bits: Bits of a stored distance between kept weights.
        training: Retraining under the prior; its learning rate is the weights'.
    """

    components: int = 16
    zero_share: float = 0.99
    tau: float = 0.003
    deviation: float = 0.25
    spread: float = 0.6
    rate_means: float = 1e-4
    rate_precisions: float = 3e-3
    merge: float = MERGE_DIVERGENCE
    gap_bits: int = 5
    training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(epochs=30, learning_rate=5e-4, schedule="constant")
    )

    def __post_init__(self) -> None:
        check_range("components", self.components, 2, 1024)
        check_range("zero_share", self.zero_share, 0, 0.999999, open_low=True)
        check_range("tau", self.tau, 0, 1000, open_low=True)
        check_range("deviation", self.deviation, 0, 100, open_low=True)
        check_range("spread", self.spread, 0, 1000)
        check_range("rate_means", self.rate_means, 0, 10)
        check_range("rate_precisions", self.rate_precisions, 0, 10)
        check_range("merge", self.merge, 0, 1000)
        check_range("gap_bits", self.gap_bits, 1, 16)


class SoftSharing(Method):
    """Draws the weights to a few learnt values, zero above all."""

    name: ClassVar[str] = "soft-sharing"
    summary: ClassVar[str] = "retrain under a learnt mixture of Gaussians, then take its means"
    options: ClassVar[type[Options]] = SoftSharingOptions

    def needs(self, options: SoftSharingOptions) -> Need:
        """What its training needs."""
        return options.training.need

    def apply(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        options: SoftSharingOptions,
        context: Context,
    ) -> StepResult:
        """Retrains, merges, and hangs the means on the layers as one shared codebook each."""
        layers = [model.get_submodule(name) for name in layer_names]
        for layer in layers:
            unparametrize(layer)
        weights = [layer.get_parameter("weight") for layer in layers]
        reach = options.spread or float(max(weight.detach().abs().max() for weight in weights))
        mixture = Mixture(
            options.components,
            zero_share=options.zero_share,
            low=-reach,
            high=reach,
            deviation=options.deviation,
        ).to(context.device)
        samples = context.train.samples if context.train is not None else 1
        factor = options.tau / samples

        def penalty() -> Tensor:
            return factor * mixture.complexity(torch.cat([w.reshape(-1) for w in weights]))

        rates: list[dict[str, Any]] = [
            {"params": [p for p in model.parameters() if p.requires_grad]},
            {"params": [mixture.means], "lr": options.rate_means},
            {
                "params": [mixture.log_precisions, mixture.log_shares],
                "lr": options.rate_precisions,
            },
        ]
        context.trainer.fit(
            model,
            options.training,
            context,
            label=self.name,
            penalty=penalty,
            extra=mixture,
            parameter_groups=rates,
        )
        mirror_negative_channels(model)
        soft = context.accuracy(model)
        components = mixture.merged(options.merge)
        figures: dict[str, dict[str, Any]] = {}
        for name, layer in zip(layer_names, layers, strict=True):
            figures[name] = harden(layer, components, gap_bits=options.gap_bits)
        empty = [name for name, facts in figures.items() if facts["kept"] == 0]
        notes = [f"{name}: all weights fell to zero; lower tau or the deviation" for name in empty]
        return StepResult(
            layers=figures,
            notes=tuple(notes),
            figures={
                "components": len(components),
                "means": [component.mean for component in components],
                "accuracy_before_hardening": soft,
            },
        )


def harden(layer: nn.Module, components: tuple[Component, ...], *, gap_bits: int) -> dict[str, Any]:
    """Gives a layer's weights the means of their components; entry 0 is zero.

    Only the means that the layer uses get into its codebook.
    """
    weight = weight_of(layer)
    number = assign(weight, components)
    used = torch.unique(torch.cat([torch.zeros(1, dtype=torch.int64), number]))
    index = torch.searchsorted(used, number)
    means = torch.tensor([components[int(j)].mean for j in used])
    shared = SharedWeight(index, tuple(weight.shape), zero=True, grid=True, gap_bits=gap_bits)
    set_shared(layer, shared.to(weight.device), means[:, None].to(weight))
    kept = int((index != 0).sum())
    return {"weights": weight.numel(), "kept": kept, "values": len(means)}
