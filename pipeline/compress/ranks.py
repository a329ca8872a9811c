"""How many components a factorization keeps: by energy, by EVBMF, or by sensitivity in a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import BudgetError

FloatArray = NDArray[np.floating]

#: Points of a grid on which the noise variance is searched, and how often it is refined.
_GRID, _ROUNDS = 64, 4


def energy_rank(singular_values: FloatArray, share: float) -> int:
    """The smallest rank that keeps ``share`` of the sum of squares; at least 1."""
    energy = np.cumsum(np.asarray(singular_values, np.float64) ** 2)
    if energy.size == 0 or energy[-1] == 0:
        return 1
    return int(np.searchsorted(energy, share * energy[-1] * (1 - 1e-12))) + 1


def _tau_threshold(alpha: float) -> float:
    """The root of phi(t) + phi(t / alpha), phi(z) = log(z + 1) / z - 1 / 2; about 2.51 sqrt(alpha).

    Below it the evidence prefers a component of zero (Nakajima et al. 2013, Theorem 5).
    """

    def height(t: float) -> float:
        return float(np.log1p(t) / t + np.log1p(t / alpha) / (t / alpha) - 1)

    low, high = 1e-9, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if height(middle) > 0 else (low, middle)
    return high


def _free_energy(
    variance: float, squares: FloatArray, rows: int, columns: int, threshold: float
) -> float:
    """What the noise variance minimises, up to constants (Nakajima et al. 2013, Theorem 6)."""
    alpha = rows / columns
    x = squares / (columns * variance)
    large, small = x[x > threshold], x[x <= threshold]
    shifted = large - (1 + alpha)
    tau = 0.5 * (shifted + np.sqrt(np.maximum(shifted**2 - 4 * alpha, 0)))
    small = np.maximum(small, 1e-300)
    return float(
        np.sum(small - np.log(small))
        + np.sum(large - tau)
        + np.sum(np.log((tau + 1) / large))
        + alpha * np.sum(np.log(tau / alpha + 1))
    )


def _noise_variance(squares: FloatArray, rows: int, columns: int, threshold: float) -> float:
    """The global minimum, on a grid between the bounds that the theorem gives."""
    alpha = rows / columns
    most = min(int(np.ceil(rows / (1 + alpha))) - 1, rows - 1)
    tail = squares[most:]
    low = max(float(squares[most]) / (columns * threshold), float(tail.mean()) / columns)
    high = float(squares.sum()) / (rows * columns)
    low = max(low, high * 1e-12)
    best = high
    for _ in range(_ROUNDS):
        grid = np.geomspace(low, max(high, low * (1 + 1e-9)), _GRID)
        costs = [_free_energy(v, squares, rows, columns, threshold) for v in grid]
        at = int(np.argmin(costs))
        best = float(grid[at])
        low, high = float(grid[max(at - 1, 0)]), float(grid[min(at + 1, _GRID - 1)])
    return best


def evbmf_rank(matrix: FloatArray, *, noise_variance: float | None = None) -> int:
    """The rank that empirical variational Bayes finds, by its global analytic solution.

    A component stays where its singular value exceeds a threshold that follows from the matrix's
    shape and the noise; the noise variance is estimated if it is not given.

    Args:
        matrix: Any real matrix.
        noise_variance: Of the entries, if it is known.

    Returns:
        The number of components above the noise; 0 if there is none.

    References:
        Nakajima, Sugiyama, Babacan, Tomioka 2013, "Global Analytic Solution of Fully-observed
        Variational Bayesian Matrix Factorization", JMLR 14.
    """
    rows, columns = sorted(matrix.shape)
    values = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)
    if values.size == 0 or values[0] == 0:
        return 0
    alpha = rows / columns
    tau = _tau_threshold(alpha)
    threshold = (1 + tau) * (1 + alpha / tau)
    squares = values**2
    if noise_variance is None:
        noise_variance = _noise_variance(squares, rows, columns, threshold)
    return int(np.sum(squares > columns * noise_variance * threshold))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to factorize a layer.

    Attributes:
        cost: Multiplications, bytes, or whatever the budget is in.
        error: What it does to the network's output; additive over layers.
    """

    cost: float
    error: float


def allocate(layers: Sequence[Sequence[Candidate]], budget: float) -> tuple[int, ...]:
    """One candidate a layer, so that the costs fit and the errors add up to little.

    Starts from the cheapest candidates and spends the budget where an error falls most for its
    cost, along the lower convex hull of each layer; exact for every budget that the hull's
    corners reach, and what is left over is spent on single improvements.

    Args:
        layers: The candidates of each layer; at least one each.
        budget: Largest sum of costs.

    Returns:
        The index of the chosen candidate of each layer.

    Raises:
        BudgetError: If even the cheapest candidates cost more.
    """
    chosen = [
        min(range(len(options)), key=lambda i: (options[i].cost, options[i].error))
        for options in layers
    ]
    spent = sum(options[i].cost for options, i in zip(layers, chosen, strict=True))
    if spent > budget:
        raise BudgetError(
            "Even the smallest ranks cost more than the budget",
            found=f"{spent:g}",
            expected=f"at most {budget:g}",
            hint="Raise the budget, or factorize more layers.",
        )
    while True:
        best: tuple[float, int, int] | None = None
        for layer, options in enumerate(layers):
            now = options[chosen[layer]]
            for index, option in enumerate(options):
                extra, gain = option.cost - now.cost, now.error - option.error
                if gain <= 0 or spent + extra > budget:
                    continue
                rate = gain / extra if extra > 0 else float("inf")
                if best is None or rate > best[0]:
                    best = rate, layer, index
        if best is None:
            return tuple(chosen)
        _, layer, index = best
        spent += layers[layer][index].cost - layers[layer][chosen[layer]].cost
        chosen[layer] = index
