"""One compression from files to file: what ``edgefactor compress`` does."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from edgefactor.errors import EdgefactorError
from edgefactor.pipeline.compress import BY_NAME, distributed
from edgefactor.pipeline.compress.checkpoints import Checkpoints
from edgefactor.pipeline.compress.context import Context, TrainingProgress
from edgefactor.pipeline.compress.engine import Outcome, apply_recipe, check_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.recipe import Recipe, load_recipe, shipped_recipes
from edgefactor.pipeline.compress.save import save
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.compress_options import CompressOptions
from edgefactor.pipeline.config import Progress
from edgefactor.pipeline.inputs.data import Dataset, check_shapes, read
from edgefactor.pipeline.inputs.example import choose_inputs, input_names, try_model
from edgefactor.pipeline.inputs.samples import check_classes
from edgefactor.pipeline.load import LoadedModel, load
from edgefactor.targets.catalogue import load_target

SCHEMA = "edgefactor.compression/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressReport:
    """What a compression did.

    Attributes:
        output: The file that was written.
        recipe: The recipe's name.
        outcome: Steps, storage, accuracies.
        seconds: How long it took.
        notes: What the user should know.
    """

    output: str
    recipe: str
    outcome: Outcome
    seconds: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``; accuracies are fractions, None without labels."""
        storage = self.outcome.storage
        return {
            "schema": SCHEMA,
            "output": self.output,
            "recipe": self.recipe,
            "rate": storage.rate,
            "device_weight_bytes": storage.device_weight_bytes,
            "accuracy_before": self.outcome.accuracy_before,
            "accuracy_after": self.outcome.accuracy_after,
            "steps": [step.to_dict() for step in self.outcome.steps],
            "storage": storage.to_dict(),
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


def compress(
    options: CompressOptions,
    progress: Progress = lambda _: None,
    training: Callable[[TrainingProgress], None] = lambda _: None,
) -> CompressReport:
    """Makes a model small and writes it.

    Args:
        options: Which model, recipe and data.
        progress: Gets the name of each stage as it starts.
        training: Gets lines of progress from training.

    Raises:
        EdgefactorError: Model, recipe, data or an option is wrong, or training diverged; nothing
            was written but checkpoints.
    """
    started = time.monotonic()
    recipe = load_recipe(options.recipe, BY_NAME)
    if options.target:
        load_target(options.target)
    progress("loading the model")
    loaded = load(options.model, factory=options.factory, trust_pickle=options.trust_pickle)
    train, evaluation, notes = _data(options, loaded)
    known = train or evaluation
    example = choose_inputs(loaded, options.input_shapes, known.shapes if known else None)
    outputs = try_model(loaded, example)
    shapes = tuple(tuple(int(size) for size in tensor.shape) for tensor in example)
    for data, option in ((train, "--train"), (evaluation, "--data")):
        if data is not None:
            check_shapes(data, shapes, option=option)
            if len(outputs) == 1:
                check_classes(data, tuple(outputs[0].shape))
    model = loaded.module
    context = Context(
        trainer=TorchTrainer(),
        train=train,
        evaluation=evaluation,
        seed=options.seed,
        target=options.target,
        progress=training,
        say=progress,
        device=distributed.device(),
    )
    check_recipe(model, recipe, BY_NAME, context)
    rank, _ = distributed.world()
    folder = options.checkpoint_folder
    mark = fingerprint(model, recipe, train, options.seed)
    checkpoints = Checkpoints(folder, mark)
    context.trainer = TorchTrainer(checkpoints)
    model.to(context.device)
    try:
        outcome = apply_recipe(model, recipe, BY_NAME, context)
    except EdgefactorError:
        if rank == 0:
            checkpoints.remove_unused()
        raise
    freeze(model)
    final = context.accuracy(model)
    outcome = replace(outcome, accuracy_after=final)
    if rank == 0:
        progress("writing the result")
        save(model, outcome, recipe, [tensor.numpy() for tensor in example], options.result)
        if not options.keep_checkpoints:
            shutil.rmtree(folder, ignore_errors=True)
    return CompressReport(
        output=str(options.result),
        recipe=recipe.name,
        outcome=outcome,
        seconds=time.monotonic() - started,
        notes=(*loaded.notes, *notes),
    )


def list_recipes() -> list[dict[str, Any]]:
    """Name, title and steps of every shipped recipe."""
    return [
        {
            "name": name,
            "title": recipe.title,
            "steps": [step.method for step in recipe.steps],
        }
        for name in shipped_recipes()
        for recipe in (load_recipe(name, BY_NAME),)
    ]


def list_methods() -> list[dict[str, str]]:
    """Name and summary of every method."""
    return [{"name": method.name, "summary": method.summary} for method in BY_NAME.values()]


def _data(
    options: CompressOptions, loaded: LoadedModel
) -> tuple[Dataset | None, Dataset | None, tuple[str, ...]]:
    names = input_names(loaded)
    sets = [
        None
        if place is None
        else read(place, option=option, names=names, normalization=options.normalization)
        for option, place in (("--train", options.train), ("--data", options.data))
    ]
    train, evaluation = sets
    if evaluation is None and train is not None:
        note = "accuracies are on the training data: no --data was given"
        return train, train, (note,) if train.labels is not None else ()
    return train, evaluation, ()


def fingerprint(model: nn.Module, recipe: Recipe, train: Dataset | None, seed: int) -> str:
    """What a compression's result follows from, as one hash."""
    digest = hashlib.sha256(f"{recipe.steps!r} {seed}".encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    if train is not None:
        arrays = (*train.inputs, *(() if train.labels is None else (train.labels,)))
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(torch.__version__.encode())
    return digest.hexdigest()
