"""Which samples calibrate and which evaluate, and what a report must say about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.inputs.data import Dataset, check_labels, check_shapes, random_data, read
from edgefactor.pipeline.inputs.example import input_names
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.report import NotVerified


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
        return Samples(calibration=calibration, evaluation=evaluation)
    if calibration is not None:
        note = "evaluated on the calibration data: no --data was given"
        return Samples(calibration=calibration, evaluation=calibration, notes=(note,))
    if evaluation is not None:
        note = "calibrated on the evaluation data: no --calibration was given"
        return Samples(calibration=evaluation, evaluation=evaluation, notes=(note,))
    noise = random_data(shapes, options.samples, options.seed, limits)
    return Samples(
        calibration=noise,
        evaluation=noise,
        notes=("calibrated on random inputs: the scales do not fit real data",),
        not_verified=(no_data("no --calibration and no --data was given"),),
    )


def no_data(reason: str) -> NotVerified:
    """What a report says where random inputs had to do."""
    return NotVerified(
        what="accuracy", reason=f"{reason}: random inputs were used, which show nothing of it"
    )


def check_classes(data: Dataset, shape: tuple[int, ...]) -> None:
    """Check that labels are classes, where the output of ``shape`` is a vector of scores."""
    if len(shape) == 2:
        check_labels(data, shape[1])
