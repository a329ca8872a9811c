"""What a step gets to work with: data, seed, trainer, teacher, target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from edgefactor.errors import DataError
from edgefactor.pipeline.compress.method import Need, Options, check_range
from edgefactor.pipeline.inputs.data import Dataset

#: Samples that accuracies inside a step are measured on, unless it says otherwise.
EVALUATION_BATCH = 256
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions(Options):
    """How a step trains; the table ``[step.training]`` of a recipe.

    Attributes:
        epochs: Passes over the training data; 0 for no training.
        batch: Samples a step.
        learning_rate: At the start.
        optimizer: SGD has momentum 0.9.
        schedule: How the rate falls over the epochs.
        weight_decay: L2 penalty on all trained parameters.
        loss: "task" needs labels, "teacher" imitates the original's outputs without labels,
            "distill" is both; "auto" is task with labels and teacher without.
        distill_weight: Share of the teacher in "distill".
        temperature: Of the softened outputs (Hinton et al. 2015, arXiv 1503.02531).
        samples: Training samples used an epoch; 0 for all.
        augment: "crop-flip" pads images by 4, crops and mirrors them; "shift" moves by 2 pixels.
        batch_norm: Whether running statistics move ("train") or stay ("frozen").
    """

    epochs: float = 0
    batch: int = 128
    learning_rate: float = 1e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    weight_decay: float = 0.0
    loss: Literal["auto", "task", "teacher", "distill"] = "auto"
    distill_weight: float = 0.5
    temperature: float = 2.0
    samples: int = 0
    augment: Literal["none", "crop-flip", "shift"] = "none"
    batch_norm: Literal["train", "frozen"] = "train"

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 0, 10_000)
        check_range("batch", self.batch, 1, 65_536)
        check_range("learning_rate", self.learning_rate, 0, 100, open_low=True)
        check_range("weight_decay", self.weight_decay, 0, 1)
        check_range("distill_weight", self.distill_weight, 0, 1)
        check_range("temperature", self.temperature, 0, 1000, open_low=True)
        check_range("samples", self.samples, 0, 1 << 40)

    @property
    def need(self) -> Need:
        """What training so needs."""
        if self.epochs == 0:
            return Need.NOTHING
        return Need.LABELS if self.loss in ("task", "distill") else Need.DATA


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """One line of progress.

    Attributes:
        step: What is being trained for, e.g. "prune".
        epoch: Epochs done, with fractions.
        epochs: Epochs in all.
        loss: Mean loss since the last report.
        accuracy: Fraction on the evaluation data; None where it was not measured.
        learning_rate: Now.
        samples_per_second: Speed.
        seconds_left: Of this training.
    """

    step: str
    epoch: float
    epochs: float
    loss: float
    accuracy: float | None
    learning_rate: float
    samples_per_second: float
    seconds_left: float


ProgressCallback = Callable[[TrainingProgress], None]
#: Called after each optimizer step with (steps done, steps in all).
AfterStep = Callable[[int, int], None]


class Trainer(Protocol):
    """What trains; `training.py` has the one there is."""

    def fit(
        self,
        model: nn.Module,
        options: TrainingOptions,
        context: Context,
        *,
        label: str,
        penalty: Callable[[], Tensor] | None = None,
        after_step: AfterStep | None = None,
        extra: nn.Module | None = None,
        parameter_groups: list[dict[str, Any]] | None = None,
    ) -> tuple[float, ...]:
        """Trains `model` in place and returns the mean loss of each epoch.

        Args:
            model: The model; its parametrizations are trained through.
            options: Epochs, rate, loss, ...
            context: Data, teacher, seed, progress.
            label: Says what for, in progress lines.
            penalty: Added to the loss of every batch.
            after_step: Changes the model between steps (masks, temperatures); everything it needs
                must follow from its arguments, the model's and `extra`'s state, so that an
                interrupted training resumes exactly.
            extra: Further trained parameters and state, e.g. of the penalty.
            parameter_groups: For the optimizer; None for all parameters at one rate.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Context:
    """What the steps of one compression share.

    Attributes:
        trainer: Trains, with checkpoints.
        train: Training data, or calibration inputs without labels; None if there is none.
        evaluation: Data that accuracies are measured on; None if there is none.
        seed: Every random choice of a step follows from it.
        teacher: The original model, frozen; what label-free training imitates.
        target: Name of the target that sizes and costs are judged for; "" for none.
        progress: Gets a line of progress from training.
        say: Gets a few words at the start of each stage.
        device: Where the model and batches live.
    """

    trainer: Trainer
    train: Dataset | None = None
    evaluation: Dataset | None = None
    seed: int = 0
    teacher: nn.Module | None = None
    target: str = ""
    progress: ProgressCallback = lambda _: None
    say: Callable[[str], None] = lambda _: None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def generator(self, salt: int = 0) -> torch.Generator:
        """A CPU generator that depends on the seed and `salt` alone."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + salt)

    def inputs(self, samples: int) -> tuple[Tensor, ...]:
        """The first `samples` training inputs, one tensor a model input.

        Raises:
            DataError: If there is no data.
        """
        if self.train is None:
            raise DataError(
                "The step needs inputs of the model, and no data was given",
                hint="Give --train with inputs (labels are not needed for this).",
            )
        taken = self.train.take(samples)
        return tuple(torch.from_numpy(array).to(self.device) for array in taken.inputs)

    def accuracy(self, model: nn.Module, *, samples: int | None = None) -> float | None:
        """Fraction of evaluation samples recognised; None without labels.

        Args:
            model: The model; its training mode is put back.
            samples: Only the first ones.
        """
        data = self.evaluation
        if data is None or data.labels is None or data.random:
            return None
        data = data if samples is None else data.take(samples)
        labels = data.labels
        assert labels is not None
        right = 0
        with evaluating(model), torch.no_grad():
            for start, batch in batches(data, EVALUATION_BATCH):
                scores = model(*(tensor.to(self.device) for tensor in batch))
                guess = first_output(scores).flatten(1).argmax(1).cpu().numpy()
                right += int((guess == labels[start : start + len(guess)]).sum())
        return right / data.samples


def first_output(result: Any) -> Tensor:
    """The output that is trained on and judged: the first."""
    while isinstance(result, tuple | list):
        result = result[0]
    return result  # type: ignore[no-any-return]


def batches(data: Dataset, size: int) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """(index of the first sample, inputs) of consecutive batches."""
    for start in range(0, data.samples, size):
        yield start, tuple(torch.from_numpy(a[start : start + size]) for a in data.inputs)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each module's own mode is put back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def training_mode(model: nn.Module, *, frozen: bool) -> Iterator[None]:
    """Training mode inside, evaluation mode after; `frozen` keeps batch norm's statistics."""
    model.train()
    if frozen:
        for module in model.modules():
            if isinstance(module, BATCH_NORMS):
                module.eval()
    try:
        yield
    finally:
        model.eval()
