"""Which samples calibrate and which evaluate, and what a report must say about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.inputs.carried import Kept, carry_states, data_names, find_states
from edgefactor.pipeline.inputs.data import (
    Dataset,
    FloatArray,
    check_labels,
    check_shapes,
    random_data,
    read,
)
from edgefactor.pipeline.inputs.example import input_names, try_model
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.report import NotVerified

#: Samples that ranges are taken from; more change little and cost time.
CALIBRATION_SAMPLES = 512
#: Ranges of fewer are those of single samples.
FEW_SAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Calibration and evaluation data, and what to say of them."""

    calibration: Dataset
    evaluation: Dataset
    notes: tuple[str, ...] = ()
    not_verified: tuple[NotVerified, ...] = ()


def read_data(options: ExportOptions, loaded: LoadedModel) -> tuple[Dataset | None, Dataset | None]:
    """Calibration and evaluation data as the user named them, before shapes are known."""
    names = input_names(loaded)
    names = data_names(names, find_states(options.stateful, names))
    sets = [
        None
        if place is None
        else read(place, option=option, names=names, normalization=options.normalization)
        for option, place in (("--calibration", options.calibration), ("--data", options.data))
    ]
    return sets[0], sets[1]


def settle_data(
    options: ExportOptions,
    calibration: Dataset | None,
    evaluation: Dataset | None,
    shapes: Sequence[tuple[int, ...]],
    limits: Sequence[int] = (),
) -> Samples:
    """Decide which samples do what, and check their shapes.

    Where one kind of data is missing the other stands in, and a note says so; where both are
    missing, random inputs do (whole numbers below ``limits``, where one is not 0), and nothing
    about accuracy is verified.

    Raises:
        DataError: The data does not have the shapes that the model takes.
    """
    for dataset, option, place in (
        (calibration, "--calibration", options.calibration),
        (evaluation, "--data", options.data),
    ):
        if dataset is not None:
            check_shapes(dataset, shapes, option=f"{option} {place}")
    if calibration is not None and evaluation is not None:
        notes = _doubts(calibration)
        return Samples(calibration=calibration, evaluation=evaluation, notes=notes)
    if calibration is not None:
        note = "evaluated on the calibration data: no --data was given"
        notes = (note, *_doubts(calibration))
        return Samples(calibration=calibration, evaluation=calibration, notes=notes)
    if evaluation is not None:
        note = "calibrated on the evaluation data: no --calibration was given"
        notes = (note, *_doubts(evaluation))
        return Samples(calibration=evaluation, evaluation=evaluation, notes=notes)
    noise = random_data(shapes, options.samples, options.seed, limits)
    return Samples(
        calibration=noise,
        evaluation=noise,
        notes=("calibrated on random inputs: the scales do not fit real data",),
        not_verified=(no_data("no --calibration and no --data was given"),),
    )


def _doubts(calibration: Dataset) -> tuple[str, ...]:
    """What makes it unlikely that ranges of these samples fit other data."""
    notes = []
    if calibration.samples < FEW_SAMPLES:
        count = f"{calibration.samples} sample{'s' if calibration.samples > 1 else ''}"
        notes.append(f"calibrated on {count}: the scales fit real data if hundreds set them")
    for index, array in enumerate(calibration.inputs):
        if array.size > 1 and array.min() == array.max():
            notes.append(
                f"input {index} is {array.flat[0]:g} everywhere in the calibration data: the "
                "scales do not fit other values"
            )
    return tuple(notes)


def with_states(
    data: Samples,
    loaded: LoadedModel,
    states: Sequence[Kept],
    shapes: Sequence[tuple[int, ...]],
    evaluated: int,
) -> Samples:
    """The data with what the PyTorch model keeps, step by step.

    Args:
        data: Samples of the other inputs.
        loaded: The model.
        states: What it keeps.
        shapes: Of all its inputs.
        evaluated: Samples to evaluate on; no more are needed.
    """

    def step(inputs: Sequence[FloatArray]) -> list[FloatArray]:
        sample = [torch.from_numpy(array) for array in inputs]
        return [output.numpy() for output in try_model(loaded, sample)]

    carried = [
        carry_states(dataset.take(count), states, shapes, step)
        for dataset, count in (
            (data.calibration, CALIBRATION_SAMPLES),
            (data.evaluation, evaluated),
        )
    ]
    note = "the samples are steps of one sequence: the network keeps a state"
    return replace(data, calibration=carried[0], evaluation=carried[1], notes=(*data.notes, note))


def no_data(reason: str) -> NotVerified:
    """What a report says where random inputs had to do."""
    return NotVerified(
        what="accuracy", reason=f"{reason}: random inputs were used, which show nothing of it"
    )


def check_classes(data: Dataset, shape: tuple[int, ...]) -> None:
    """Check that labels are classes, where the output of ``shape`` is a vector of scores."""
    if len(shape) == 2:
        check_labels(data, shape[1])
