"""Which form each layer's weights get so that all of them fit a size at least loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_STEPS = 8192
"""A budget is counted in so many parts; sizes are rounded up to whole parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one form of a layer's weights takes and costs.

    Attributes:
        size_bytes: In flash.
        loss: Of accuracy, in a unit that all layers share; they add up.
    """

    size_bytes: int
    loss: float


def allocate(layers: Sequence[Sequence[Choice]], budget_bytes: int) -> tuple[int, ...] | None:
    """The choice of each layer, at least loss in all, that keeps within a budget.

    The multiple-choice knapsack problem, by dynamic programming over the bytes that are left
    (Dudzinski and Walukiewicz 1987); exact but for the rounding of sizes.

    Args:
        layers: The choices of each layer, at least one.
        budget_bytes: For all of them.

    Returns:
        An index for each layer; None if even the smallest choices are too large.
    """
    if sum(min(c.size_bytes for c in choices) for choices in layers) > budget_bytes:
        return None
    part = max(1, -(-budget_bytes // _STEPS))
    steps = budget_bytes // part
    best = np.zeros(steps + 1)
    taken = []
    for choices in layers:
        options = np.full((len(choices), steps + 1), np.inf)
        for index, choice in enumerate(choices):
            size = -(-choice.size_bytes // part)
            if size <= steps:
                options[index, size:] = best[: steps + 1 - size] + choice.loss
        taken.append(np.argmin(options, axis=0))
        best = options.min(axis=0)
    if not np.isfinite(best[steps]):
        # Rounded up, not even the smallest fit: they do by the byte.
        return smallest(layers)
    left = steps
    found = []
    for choices, chosen in zip(reversed(layers), reversed(taken), strict=True):
        index = int(chosen[left])
        found.append(index)
        left -= -(-choices[index].size_bytes // part)
    return tuple(reversed(found))


def smallest(layers: Sequence[Sequence[Choice]]) -> tuple[int, ...]:
    """The smallest choice of each layer; of equal ones the best."""
    return tuple(
        min(range(len(choices)), key=lambda i: (choices[i].size_bytes, choices[i].loss))
        for choices in layers
    )
