"""Applies a recipe to a model: all checks first, then step after step."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from edgefactor.errors import DataError
from edgefactor.pipeline.compress import accounting
from edgefactor.pipeline.compress.accounting import Storage
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.freezing import records, weight_layers
from edgefactor.pipeline.compress.layers import select
from edgefactor.pipeline.compress.method import Method, Need, Step, StepResult
from edgefactor.pipeline.compress.mirroring import mirror_negative_channels
from edgefactor.pipeline.compress.recipe import Recipe
from edgefactor.pipeline.compress.shared_weight import weight_of

HUFFMAN = "huffman"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step as it was carried out.

    Attributes:
        method: The method's name.
        layers: The layers it was applied to.
        result: What it did.
        accuracy: After it, on the evaluation data; None without labels.
        rate: After it, counted as the paper does.
        seconds: How long it took.
    """

    method: str
    layers: tuple[str, ...]
    result: StepResult
    accuracy: float | None
    rate: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a recipe made of a model.

    Attributes:
        steps: In order.
        storage: Of the result.
        accuracy_before: Of the original, on the evaluation data; None without labels.
        accuracy_after: Of the result.
    """

    steps: tuple[StepReport, ...]
    storage: Storage
    accuracy_before: float | None
    accuracy_after: float | None


def check_recipe(
    model: nn.Module, recipe: Recipe, methods: Mapping[str, Method], context: Context
) -> None:
    """Finds out before any work whether a recipe can be carried out.

    Patterns of steps after one that replaces layers are checked when their turn comes: they may
    name the new layers.

    Raises:
        OptionError: If a pattern matches no layer.
        DataError: If data or labels are missing that a step needs.
    """
    replaced = False
    for number, step in enumerate(recipe.steps, start=1):
        method = methods[step.method]
        where = f"step {number} ({step.method})"
        _check_data(method.needs(step.options), where, context)
        if not replaced:
            select(model, step.layers, method.layer_types, where=where)
        replaced = replaced or method.replaces_layers


def _check_data(need: Need, where: str, context: Context) -> None:
    if need is not Need.NOTHING and context.train is None:
        raise DataError(
            "The step needs data, and none was given",
            where=where,
            hint="Give --train (labels are needed only for a task's loss).",
        )
    if need is Need.LABELS and context.train is not None and context.train.labels is None:
        raise DataError(
            "The step needs labels, and the training data has none",
            where=where,
            expected="an array y of class indices beside x",
            hint='Set loss = "teacher" in its training table to imitate the original model.',
        )


def apply_recipe(
    model: nn.Module, recipe: Recipe, methods: Mapping[str, Method], context: Context
) -> Outcome:
    """Carries out a recipe on `model`, in place; parametrizations stay until `freeze`.

    Args:
        model: In evaluation mode.
        recipe: The steps.
        methods: The methods by name.
        context: Data, trainer, seed; gets the original as teacher if it has none.

    Raises:
        EdgefactorError: If an option, pattern or the data does not fit.
    """
    check_recipe(model, recipe, methods, context)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    if context.teacher is None:
        context.teacher = copy.deepcopy(model).requires_grad_(False)
    original = count_weights(model)
    before = after = context.accuracy(model)
    entropy_coded = any(step.method == HUFFMAN for step in recipe.steps)
    storage = accounting.total(records(model), original)
    reports = []
    for number, step in enumerate(recipe.steps, start=1):
        context.say(f"step {number} of {len(recipe.steps)}: {step.method}")
        started = time.monotonic()
        layers, result = apply_step(model, step, methods[step.method], context, number)
        after = context.accuracy(model)
        storage = accounting.total(
            records(model), original, entropy_coded=step.method == HUFFMAN or entropy_coded
        )
        if after is not None:
            context.say(f"after {step.method}: accuracy {after:.2%}, rate {storage.rate:.1f}x")
        reports.append(
            StepReport(
                method=step.method,
                layers=layers,
                result=result,
                accuracy=after,
                rate=storage.rate,
                seconds=time.monotonic() - started,
            )
        )
    return Outcome(
        steps=tuple(reports), storage=storage, accuracy_before=before, accuracy_after=after
    )


def apply_step(
    model: nn.Module, step: Step, method: Method, context: Context, number: int = 1
) -> tuple[tuple[str, ...], StepResult]:
    """One step: (the layers it was applied to, what it did)."""
    where = f"step {number} ({step.method})"
    layers = select(model, step.layers, method.layer_types, where=where)
    # Before anything is clustered: values must be those that the device will have.
    mirror_negative_channels(model)
    result = method.apply(model, layers, step.options, context)
    model.eval()
    return layers, result


def count_weights(model: nn.Module) -> int:
    """Weights of matrices and kernels: what rates are counted over."""
    return sum(weight_of(layer).numel() for layer in weight_layers(model).values())
