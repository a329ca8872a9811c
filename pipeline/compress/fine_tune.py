"""Fine-tuning as a step of its own, and the mark that storage is entropy coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn

from edgefactor.pipeline.compress.context import Context, TrainingOptions
from edgefactor.pipeline.compress.method import Method, Need, Options, StepResult


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneOptions(Options):
    """Options of ``fine-tune``.

    Attributes:
        training: Of everything that the model still has to train.
    """

    training: TrainingOptions = field(default_factory=lambda: TrainingOptions(epochs=1))


class FineTune(Method):
    """Trains the model as it is now, through masks and codebooks."""

    name: ClassVar[str] = "fine-tune"
    summary: ClassVar[str] = "train on, through masks, codebooks and factors"
    options: ClassVar[type[Options]] = FineTuneOptions

    def needs(self, options: FineTuneOptions) -> Need:
        """Labels for the task's loss, else data."""
        return options.training.need

    def apply(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        options: FineTuneOptions,
        context: Context,
    ) -> StepResult:
        """Trains."""
        losses = context.trainer.fit(model, options.training, context, label=self.name)
        return StepResult(figures={"losses": list(losses)})


class Huffman(Method):
    """Counts storage with Huffman codes; the weights stay as they are."""

    name: ClassVar[str] = "huffman"
    summary: ClassVar[str] = "count indices and distances Huffman coded"

    def apply(
        self, model: nn.Module, layer_names: Sequence[str], options: Any, context: Context
    ) -> StepResult:
        """Changes nothing: `accounting` looks for this step."""
        return StepResult()
