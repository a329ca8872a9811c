"""Pruning by magnitude, once or with a gradual schedule while training.

Deep Compression (arXiv 1510.00149, section 2) prunes each layer below a threshold and retrains; the
gradual schedule is Zhu and Gupta 2017 (arXiv 1710.01878, equation 1). With `importance` "inputs" a
weight counts by the output it makes, |w| * rms(input), which needs no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

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
from edgefactor.pipeline.compress.shared_weight import (
    MaskedWeight,
    original_of,
    parametrization,
    unparametrize,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions(Options):
    """Options of ``prune``.

    Attributes:
        keep: Fraction of weights kept, one or by layer.
        importance: "magnitude", or "inputs" for magnitude times the input's root mean square.
        ramp: Part of the training over which the fraction falls from 1 to `keep`; 0 prunes at once.
        every: Steps between two choices of what is kept.
        calibration: Inputs that `importance` "inputs" is measured on.
        training: While and after pruning; none by default.
    """

    keep: PerLayer = field(default_factory=lambda: PerLayer.of(0.1))
    importance: Literal["magnitude", "inputs"] = "magnitude"
    ramp: float = 0.5
    every: int = 20
    calibration: int = 512
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        for number in self.keep.numbers:
            check_range("keep", number, 0, 1, open_low=True)
        check_range("ramp", self.ramp, 0, 1)
        check_range("every", self.every, 1, 1_000_000)
        check_range("calibration", self.calibration, 1, 1 << 40)


class Prune(Method):
    """Sets the least important weights to zero."""

    name: ClassVar[str] = "prune"
    summary: ClassVar[str] = "set the smallest weights to zero, gradually while training"
    options: ClassVar[type[Options]] = PruneOptions

    def needs(self, options: PruneOptions) -> Need:
        """Data for training or input statistics."""
        need = options.training.need
        looks = need is Need.NOTHING and options.importance == "inputs"
        return Need.DATA if looks else need

    def apply(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        options: PruneOptions,
        context: Context,
    ) -> StepResult:
        """Prunes the layers; see `PruneOptions`."""
        importance: dict[str, Tensor] = {}
        if options.importance == "inputs":
            inputs = context.inputs(options.calibration)
            importance = {
                name: moment.sqrt()
                for name, moment in second_moments(model, layer_names, inputs).items()
            }
        masked: list[tuple[str, nn.Module, MaskedWeight]] = []
        for name in layer_names:
            layer = model.get_submodule(name)
            masked.append((name, layer, mask_layer(layer, name)))

        def prune(fraction: float) -> None:
            for name, layer, mask in masked:
                keep = options.keep.value(name)
                now = keep + (1 - keep) * (1 - fraction) ** 3
                size = original_of(layer).detach().abs() * importance.get(name, 1.0)
                mask.mask.copy_(largest(size, now))

        training = options.training
        if training.epochs > 0 and options.ramp > 0:

            def after_step(done: int, steps: int) -> None:
                fraction = done / (options.ramp * steps)
                before = (done - 1) / (options.ramp * steps)
                # The last choice is made exactly once, when the ramp ends.
                if before < 1 and (done % options.every == 0 or fraction >= 1):
                    prune(min(1.0, fraction))
        else:
            prune(1.0)

            def after_step(done: int, steps: int) -> None:
                pass

        context.trainer.fit(model, training, context, label=self.name, after_step=after_step)
        layers: dict[str, dict[str, Any]] = {}
        for name, _, mask in masked:
            kept = int(mask.mask.sum())
            layers[name] = {"weights": mask.mask.numel(), "kept": kept}
        return StepResult(layers=layers)


def mask_layer(layer: nn.Module, name: str) -> MaskedWeight:
    """Gives a layer a mask (all ones for a plain weight), or returns the one it has.

    Raises:
        OptionError: If the weight is already shared or quantized.
    """
    made_by = parametrization(layer)
    if isinstance(made_by, MaskedWeight):
        return made_by
    if made_by is not None:
        raise OptionError(
            "A shared or quantized layer cannot be pruned",
            where=name,
            hint="Put the prune step before it.",
        )
    unparametrize(layer)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    mask = MaskedWeight(torch.ones_like(weight))
    parametrize.register_parametrization(layer, "weight", mask)
    return mask


def largest(size: Tensor, keep: float) -> Tensor:
    """1 where a weight is among the largest `keep` fraction, at least one; ties by position."""
    count = max(1, round(keep * size.numel()))
    flat = size.reshape(-1)
    mask = torch.zeros_like(flat)
    mask[torch.sort(flat, descending=True, stable=True).indices[:count]] = 1
    return mask.reshape(size.shape)
