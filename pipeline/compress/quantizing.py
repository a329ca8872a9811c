"""Quantization to few even levels as methods of a recipe: uniform, ternary, binary.

Trained through the rounding (straight-through), see `quantized_weight`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn
from torch.nn.utils import parametrize

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress.context import Context, TrainingOptions
from edgefactor.pipeline.compress.method import Method, Need, Options, StepResult, check_range
from edgefactor.pipeline.compress.quantized_weight import Levels, QuantizedWeight
from edgefactor.pipeline.compress.shared_weight import original_of, parametrization


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions(Options):
    """Options of ``ternary`` and ``binary``.

    Attributes:
        per_channel: One factor an output channel, or one a layer.
        training: Through the rounding; none by default.
    """

    per_channel: bool = True
    training: TrainingOptions = field(default_factory=TrainingOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformOptions(QuantizeOptions):
    """Options of ``uniform``.

    Attributes:
        bits: Bits a weight, 2 to 8.
    """

    bits: int = 4

    def __post_init__(self) -> None:
        check_range("bits", self.bits, 2, 8)


class _Quantize(Method):
    """What the three have in common."""

    options: ClassVar[type[Options]] = QuantizeOptions
    levels: ClassVar[Levels]
    #: Real weights stay within this, or they drift where rounding no longer sees them.
    clip: ClassVar[float] = 0.0

    def needs(self, options: QuantizeOptions) -> Need:
        """What its training needs."""
        return options.training.need

    def apply(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        options: QuantizeOptions,
        context: Context,
    ) -> StepResult:
        """Quantizes the layers and trains through it."""
        bits = options.bits if isinstance(options, UniformOptions) else 0
        layers: dict[str, dict[str, Any]] = {}
        for name in layer_names:
            layer = model.get_submodule(name)
            if parametrization(layer) is not None:
                raise OptionError("The layer is pruned, shared or quantized already", where=name)
            quantized = QuantizedWeight(self.levels, bits, per_channel=options.per_channel)
            parametrize.register_parametrization(layer, "weight", quantized)
            layers[name] = {"weights": original_of(layer).numel(), "bits": quantized.bits}

        def after_step(done: int, steps: int) -> None:
            for name in layer_names:
                original_of(model.get_submodule(name)).clamp_(-self.clip, self.clip)

        context.trainer.fit(
            model,
            options.training,
            context,
            label=self.name,
            after_step=after_step if self.clip else None,
        )
        return StepResult(layers=layers)


class Uniform(_Quantize):
    """Even levels of 2 to 8 bits."""

    name: ClassVar[str] = "uniform"
    summary: ClassVar[str] = "even levels of 4 or 2 bits, one factor a channel"
    options: ClassVar[type[Options]] = UniformOptions
    levels: ClassVar[Levels] = "uniform"


class Ternary(_Quantize):
    """Levels -1, 0, 1."""

    name: ClassVar[str] = "ternary"
    summary: ClassVar[str] = "-1, 0, 1 times a factor (Li and Liu 2016)"
    levels: ClassVar[Levels] = "ternary"


class Binary(_Quantize):
    """Levels -1, 1."""

    name: ClassVar[str] = "binary"
    summary: ClassVar[str] = "signs times a factor (BinaryConnect)"
    levels: ClassVar[Levels] = "binary"
    clip: ClassVar[float] = 1.0
