"""The MicroNet score: storage and operations over those of a baseline; the lowest wins.

Two sets of rules. The official ones of the challenge (micronet-challenge.github.io, 2019) are in
``micronet_official.py``. The lectures' profile, which students' entries were ranked by, counts the
modules of a PyTorch network and is here, with its peculiarities: only multiplications and
parameters shrink with the bits, activations between modules are not counted unless they are
modules, an average pool of window k counts k per output and not k * k, a dense layer's bias is
free, and zeros need no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress.context import evaluating
from edgefactor.pipeline.compress.micronet_official import Count, count_official
from edgefactor.pipeline.config import MICRONET_TASKS, ModelOptions
from edgefactor.pipeline.inputs.example import choose_inputs, try_model
from edgefactor.pipeline.load import LoadedModel, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What entries are compared with.

    Attributes:
        parameters: Of the baseline, in units of 32 bits.
        operations: Of the baseline.
        accuracy: Fraction that an entry must reach.
        lectures: Whether the lectures have a profile for it.
    """

    parameters: float
    operations: float
    accuracy: float
    lectures: bool


#: CIFAR-10 is the lectures' own: a ResNet-18 at 16 bits. The others are the challenge's.
TASKS: Mapping[str, Task] = {
    "cifar10": Task(parameters=5_586_981, operations=834_362_880, accuracy=0.9, lectures=True),
    "cifar100": Task(parameters=36_500_000, operations=10_490_000_000, accuracy=0.8, lectures=True),
    "imagenet": Task(parameters=6_900_000, operations=1_170_000_000, accuracy=0.75, lectures=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score with its parts.

    Attributes:
        rules: "official" or "lectures".
        parameters: Storage in units of 32 bits.
        operations: Weighted operations of one inference.
        multiplies: Multiplications in them, weighted.
        additions: Additions in them.
        storage_score: Storage over the baseline's.
        operations_score: Operations over the baseline's.
        notes: How it was counted.
    """

    rules: str
    parameters: float
    operations: float
    multiplies: float
    additions: float
    storage_score: float
    operations_score: float
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """The sum of both parts."""
        return self.storage_score + self.operations_score


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroNet:
    """The scores of a model on one task."""

    task: str
    accuracy_needed: float
    scores: tuple[Score, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "task": self.task,
            "accuracy_needed": self.accuracy_needed,
            "scores": [{**asdict(score), "score": score.score} for score in self.scores],
            "notes": list(self.notes),
        }


def score_file(options: ModelOptions, task_name: str) -> MicroNet:
    """Loads a model and scores it.

    Raises:
        ModelError, OptionError: If the model cannot be loaded or run, or there is no such task.
    """
    loaded = load(Path(options.model), factory=options.factory, trust_pickle=options.trust_pickle)
    inputs = choose_inputs(loaded, options.input_shapes)
    try_model(loaded, inputs)
    return micronet(loaded, inputs, task_name)


def micronet(loaded: LoadedModel, inputs: Sequence[Tensor], task_name: str) -> MicroNet:
    """Scores a model by the official rules and, where they have one, by the lectures' profile.

    Args:
        loaded: The model.
        inputs: One sample.
        task_name: A key of `TASKS`.

    Raises:
        OptionError: If there is no such task.
    """
    if task_name not in MICRONET_TASKS:
        raise OptionError(
            "There is no such MicroNet task",
            where="--micronet",
            found=task_name,
            expected=", ".join(MICRONET_TASKS),
        )
    task = TASKS[task_name]
    count, notes = count_official(loaded, inputs)
    scores = [_score("official", count, task, notes)]
    remarks: tuple[str, ...] = ()
    if task.lectures and loaded.kind in ("module", "state dict"):
        scores.append(_score("lectures", count_lectures(loaded.module, inputs), task, ()))
    elif task.lectures:
        remarks = (
            f"The lectures' profile counts modules, and this file ({loaded.kind}) has none: give a "
            "state dict and its --model.",
        )
    return MicroNet(
        task=task_name, accuracy_needed=task.accuracy, scores=tuple(scores), notes=remarks
    )


def _score(rules: str, count: Count, task: Task, notes: tuple[str, ...]) -> Score:
    return Score(
        rules=rules,
        parameters=count.parameters,
        operations=count.multiplies + count.additions,
        multiplies=count.multiplies,
        additions=count.additions,
        storage_score=count.parameters / task.parameters,
        operations_score=(count.multiplies + count.additions) / task.operations,
        notes=notes,
    )


def count_lectures(model: nn.Module, inputs: Sequence[Tensor], *, bits: int = 16) -> Count:
    """Counts a network as the lectures' profile does.

    Args:
        model: The network.
        inputs: One sample.
        bits: Of weights and multiplications, for all layers.
    """
    shrink = 32 / bits
    totals = [0.0, 0.0]
    handles = []

    def listen(rule: _Rule) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            multiplies, additions = rule(module, args[0], output)
            totals[0] += multiplies / shrink
            totals[1] += additions

        return hook

    for module in model.modules():
        for kind, rule in _RULES.items():
            if isinstance(module, kind):
                handles.append(module.register_forward_hook(listen(rule)))
    try:
        with evaluating(model), torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    stored = sum(int(torch.count_nonzero(p)) if p.ndim > 1 else p.numel()
                 for p in model.parameters())  # fmt: skip
    return Count(parameters=stored / shrink, multiplies=totals[0], additions=totals[1])


#: (module, input, output) -> multiplications that shrink with the bits, and everything else.
_Rule = Callable[[Any, Tensor, Tensor], tuple[float, float]]


def _share_of_nonzeros(weight: Tensor) -> float:
    return float(torch.count_nonzero(weight)) / weight.numel()


def _convolution(module: nn.Conv2d, x: Tensor, y: Tensor) -> tuple[float, float]:
    taps = module.kernel_size[0] * module.kernel_size[1] * module.in_channels
    kept = _share_of_nonzeros(module.weight) * y.numel() / module.groups
    biases = y.numel() if module.bias is not None else 0
    return taps * kept, (taps - 1) * kept + biases


def _dense(module: nn.Linear, x: Tensor, y: Tensor) -> tuple[float, float]:
    kept = _share_of_nonzeros(module.weight) * y.numel()
    return module.in_features * kept, (module.in_features - 1) * kept


def _normalization(module: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    return 0, 3 * x.numel()


def _rectifier(module: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    return 0, x.numel()


def _average(module: nn.AvgPool2d, x: Tensor, y: Tensor) -> tuple[float, float]:
    size = module.kernel_size
    window = size if isinstance(size, int) else size[0] * size[1]
    return 0, window * y.numel()


def _adaptive_average(module: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    return 0, x.numel() + y.numel()


_RULES: Mapping[type[nn.Module], _Rule] = {
    nn.Conv2d: _convolution,
    nn.Linear: _dense,
    nn.BatchNorm2d: _normalization,
    nn.ReLU: _rectifier,
    nn.ReLU6: _rectifier,
    nn.AvgPool2d: _average,
    nn.AdaptiveAvgPool2d: _adaptive_average,
}
