"""Comparing what two runtimes computed: elements, never norms alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Stands for "nothing in common": where a difference is infinite or no number.
LOWEST_SQNR_DB = -300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """The first tensor, in execution order, in which two runtimes differ."""

    tensor: str
    sample: int
    index: tuple[int, ...]
    expected: float
    found: float
    differing_elements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeComparison:
    """Integer tensors of one runtime against those of another, element by element.

    Attributes:
        samples: Inputs compared.
        tensors: Tensors compared per input.
        elements: Elements compared in all.
        differing_elements: How many of them differ.
        max_difference: The largest difference, in codes.
        mean_difference: The mean absolute difference, in codes.
        first: Where it went wrong first; None if nothing differs.
    """

    samples: int
    tensors: int
    elements: int
    differing_elements: int
    max_difference: int
    mean_difference: float
    first: Mismatch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RealComparison:
    """Real outputs of one runtime against those of another.

    Attributes:
        samples: Inputs compared.
        elements: Output elements compared in all.
        max_difference: The largest absolute difference.
        mean_difference: The mean absolute difference.
        sqnr_db: Signal power over the power of the difference, in decibels; infinite if equal,
            ``LOWEST_SQNR_DB`` if the difference is not finite.
        argmax_agreement: Fraction of samples with the same largest output; None where the outputs
            are not one vector a sample.
    """

    samples: int
    elements: int
    max_difference: float
    mean_difference: float
    sqnr_db: float
    argmax_agreement: float | None


def compare_codes(
    expected: Mapping[str, NDArray[np.integer]],
    found: Mapping[str, NDArray[np.integer]],
    order: Sequence[str],
) -> CodeComparison:
    """Compare int8 or int16 tensors ``[n, ...]``, those of ``order`` that ``found`` holds.

    Samples that only one side has are left out; element order must be the same, shapes need not.
    Where an int16 tensor is expected, ``found`` may hold its bytes, as the traced C reports them.
    """
    names = [name for name in order if name in found and name in expected]
    samples = elements = differing = largest = 0
    total = 0
    first: Mismatch | None = None
    for name in names:
        count = min(len(expected[name]), len(found[name]))
        wanted = expected[name][:count]
        got = as_elements(found[name][:count], wanted.dtype).reshape(wanted.shape)
        difference = np.abs(wanted.astype(np.int32) - got.astype(np.int32))
        wrong = int(np.count_nonzero(difference))
        samples, elements, differing = count, elements + wanted.size, differing + wrong
        largest = max(largest, int(difference.max(initial=0)))
        total += int(difference.sum(dtype=np.int64))
        if wrong and first is None:
            place = tuple(int(i) for i in np.argwhere(difference)[0])
            first = Mismatch(
                tensor=name,
                sample=place[0],
                index=place[1:],
                expected=int(wanted[place]),
                found=int(got[place]),
                differing_elements=wrong,
            )
    return CodeComparison(
        samples=samples,
        tensors=len(names),
        elements=elements,
        differing_elements=differing,
        max_difference=largest,
        mean_difference=total / elements if elements else 0.0,
        first=first,
    )


def as_elements(values: NDArray[np.integer], dtype: np.dtype[np.integer]) -> NDArray[np.integer]:
    """Bytes ``[n, bytes]`` of tensors of a type as its elements; anything else as it is."""
    if values.dtype != np.int8 or dtype.itemsize == 1:
        return values
    little = np.ascontiguousarray(values).view(dtype.newbyteorder("<"))
    return little.astype(dtype)


def compare_reals(
    expected: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]]
) -> RealComparison:
    """Compare the outputs of two runtimes, one array ``[n, ...]`` an output."""
    count = min(len(expected[0]), len(found[0]))
    wanted = np.concatenate([array[:count].reshape(count, -1) for array in expected], axis=1)
    got = np.concatenate([array[:count].reshape(count, -1) for array in found], axis=1)
    noise = wanted.astype(np.float64) - got.astype(np.float64)
    power, noise_power = float((wanted.astype(np.float64) ** 2).sum()), float((noise**2).sum())
    if noise_power == 0:
        sqnr = float("inf")
    else:
        ratio = max(power, 1e-30) / noise_power
        # A NaN fails the comparison, an infinite difference gives 0.
        sqnr = (
            10 * float(np.log10(ratio)) if ratio > 10 ** (LOWEST_SQNR_DB / 10) else LOWEST_SQNR_DB
        )
    agreement = None
    if is_class_scores(expected):
        same = wanted.argmax(axis=1) == got.argmax(axis=1)
        agreement = float(np.mean(same)) if count else None
    return RealComparison(
        samples=count,
        elements=wanted.size,
        max_difference=float(np.abs(noise).max(initial=0.0)),
        mean_difference=float(np.abs(noise).mean()) if wanted.size else 0.0,
        sqnr_db=sqnr,
        argmax_agreement=agreement,
    )


def is_class_scores(outputs: Sequence[NDArray[np.float32]]) -> bool:
    """Whether the outputs can be read as one vector of class scores a sample."""
    return len(outputs) == 1 and outputs[0].ndim == 2 and outputs[0].shape[1] > 1


def accuracy(scores: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Fraction of samples whose largest score is the label's."""
    count = min(len(scores), len(labels))
    return float(np.mean(scores[:count].argmax(axis=1) == labels[:count]))
