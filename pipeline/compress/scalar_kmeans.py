"""k-means of single numbers: exact by dynamic programming, or Lloyd's algorithm from a start.

In one dimension clusters are intervals of the sorted values, so the optimum is a shortest path
(Bellman 1973; Wang and Song 2011). scikit-learn's KMeans only finds local optima and needs minutes
for a layer of 400,000 weights; sorted values and prefix sums make an iteration of Lloyd's algorithm
a few binary searches, and the optimum itself a matter of seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import OptionError

Floats = NDArray[np.float64]
Start = Literal["exact", "linear", "density", "random", "k-means++"]

#: Above this many distinct values the exact search runs on that many bins, and Lloyd's algorithm
#: on all values finishes it: still at least as good as any of the starts seen in tests.
EXACT_POINTS = 65_536
_ITERATIONS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """A partition of numbers.

    Attributes:
        centroids: Ascending; weighted means of their members. At most k: fewer where there are
            fewer distinct values.
        index: The cluster of each value, shape of the values.
        inertia: Weighted sum of squared distances.
    """

    centroids: Floats
    index: NDArray[np.int64]
    inertia: float


class _Sorted:
    """Distinct values in order with prefix sums of weight, weight*x, weight*x*x."""

    def __init__(self, values: Floats, weights: Floats) -> None:
        points, inverse = np.unique(values, return_inverse=True)
        self.points: Floats = points
        self.mass = np.bincount(inverse.reshape(-1), weights=weights, minlength=len(self.points))
        # Around the mean, so that differences of sums keep their digits.
        self.center = float(np.average(values, weights=weights))
        x = self.points - self.center
        self.sums = [
            np.concatenate(([0.0], np.cumsum(term)))
            for term in (self.mass, self.mass * x, self.mass * x * x)
        ]

    def cost(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> Floats:
        """Inertia of the points ``start <= i < end`` as one cluster."""
        mass, first, second = (total[end] - total[start] for total in self.sums)
        squares: Floats = np.maximum(second - first * first / np.maximum(mass, 1e-300), 0.0)
        return squares

    def means(self, borders: NDArray[np.int64]) -> Floats:
        """Mean of each cluster between consecutive borders; NaN where it is empty."""
        mass, first = (np.diff(total[borders]) for total in self.sums[:2])
        with np.errstate(invalid="ignore", divide="ignore"):
            means: Floats = np.where(mass > 0, first / mass, np.nan) + self.center
        return means


def cluster(
    values: Floats,
    k: int,
    *,
    weights: Floats | None = None,
    start: Start = "exact",
    seed: int = 0,
) -> Clusters:
    """Partitions numbers into at most `k` clusters of least weighted squared distance.

    Args:
        values: Any shape, finite.
        k: Clusters.
        weights: Importance of each value, at least 0, not all 0; equal by default.
        start: "exact" finds the optimum; the others are starts of Lloyd's algorithm: "linear"
            (even between the extremes; best in Deep Compression, arXiv 1510.00149, section 3),
            "density" (even in the distribution), "random" (Forgy) and "k-means++".
        seed: For the last two.

    Raises:
        OptionError: If there are no values, or k is below 1 or above their number.
    """
    flat = np.asarray(values, np.float64).reshape(-1)
    if not 1 <= k <= flat.size:
        raise OptionError(
            "There cannot be that many shared values",
            where="values",
            found=f"K = {k} for {flat.size} weights",
            expected=f"1 to {flat.size}",
        )
    mass = np.ones(flat.size) if weights is None else np.asarray(weights, np.float64).reshape(-1)
    # A weight of exactly 0 would leave clusters without a mean.
    mass = np.maximum(mass, 1e-12 * mass.max(initial=0.0) or 1.0)
    data = _Sorted(flat, mass)
    if len(data.points) <= k:
        centroids = np.asarray(data.points, np.float64)
    elif start == "exact":
        centroids = _optimum(data, flat, mass, k)
    else:
        centroids = _lloyd(data, _start(data, k, start, seed))
    middles = (centroids[1:] + centroids[:-1]) / 2
    index = np.searchsorted(middles, flat)
    inertia = float((mass * (flat - centroids[index]) ** 2).sum())
    return Clusters(centroids=centroids, index=index.reshape(np.shape(values)), inertia=inertia)


def _optimum(data: _Sorted, values: Floats, mass: Floats, k: int) -> Floats:
    if len(data.points) <= EXACT_POINTS:
        return data.means(_best_borders(data, k))
    edges = np.linspace(data.points[0], data.points[-1], EXACT_POINTS + 1)
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, EXACT_POINTS - 1)
    held = np.bincount(bins, weights=mass, minlength=EXACT_POINTS)
    total = np.bincount(bins, weights=mass * values, minlength=EXACT_POINTS)
    used = held > 0
    weights = held[used].astype(np.float64)
    means = (total[used] / weights).astype(np.float64)
    coarse = _Sorted(means, weights)
    return _lloyd(data, coarse.means(_best_borders(coarse, k)))


def _best_borders(data: _Sorted, k: int) -> NDArray[np.int64]:
    """Borders of the optimal clusters: best[j] = min over i of best before(i) + cost(i, j)."""
    count = len(data.points)
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    choices = []
    for _ in range(min(k, count)):
        best, choice = _extend(data, best)
        choices.append(choice)
    borders = [count]
    for choice in reversed(choices):
        borders.append(int(choice[borders[-1]]))
    return np.array(borders[::-1], np.int64)


def _extend(data: _Sorted, before: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """One cluster more for every end j.

    The best start grows with j, so it is searched between those of neighbours that are known:
    every second end of ever finer grids, all ends of a grid at once.
    """
    count = len(before) - 1
    best = np.full(count + 1, np.inf)
    choice = np.zeros(count + 1, np.int64)
    stride = 1 << max(count.bit_length() - 1, 0)
    while stride:
        ends = np.arange(stride, count + 1, 2 * stride)
        low = choice[ends - stride]
        right = ends + stride
        high = np.where(right <= count, choice[np.minimum(right, count)], count)
        high = np.maximum(np.minimum(high, ends - 1), low)
        sizes = high - low + 1
        offsets = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        owner = np.repeat(np.arange(len(ends)), sizes)
        starts = np.arange(int(sizes.sum())) - offsets[owner] + low[owner]
        totals = before[starts] + data.cost(starts, ends[owner])
        least = np.minimum.reduceat(totals, offsets)
        hits = np.flatnonzero(totals == least[owner])
        first = hits[np.unique(owner[hits], return_index=True)[1]]
        best[ends], choice[ends] = least, starts[first]
        stride //= 2
    return best, choice


def _lloyd(data: _Sorted, centroids: Floats) -> Floats:
    borders = np.empty(0, np.int64)
    for _ in range(_ITERATIONS):
        middles = (centroids[1:] + centroids[:-1]) / 2
        inner = np.searchsorted(data.points, middles, side="right")
        moved = np.concatenate(([0], inner, [len(data.points)]))
        if np.array_equal(moved, borders):
            break
        borders = moved
        means = data.means(borders)
        # An empty cluster keeps its place; a later iteration may fill it.
        centroids = np.sort(np.where(np.isnan(means), centroids, means))
    kept = np.diff(borders) > 0
    return centroids[kept]


def _start(data: _Sorted, k: int, start: Start, seed: int) -> Floats:
    points = data.points
    if start == "linear":
        return np.linspace(points[0], points[-1], k)
    if start == "density":
        share = np.cumsum(data.mass) / data.mass.sum()
        spread: Floats = points[np.searchsorted(share, (np.arange(k) + 0.5) / k)]
        return spread
    generator = np.random.default_rng(seed)
    if start == "random":
        return np.sort(generator.choice(points, k, replace=False))
    chosen = [float(generator.choice(points, p=data.mass / data.mass.sum()))]
    distance = (points - chosen[0]) ** 2
    for _ in range(k - 1):
        odds = data.mass * distance
        chosen.append(float(generator.choice(points, p=odds / odds.sum())))
        distance = np.minimum(distance, (points - chosen[-1]) ** 2)
    return np.sort(np.array(chosen))


def elbow(values: Floats, candidates: tuple[int, ...], *, weights: Floats | None = None) -> int:
    """The K at which the inertia bends most: farthest below the chord of (K, inertia).

    Args:
        values: The numbers.
        candidates: Ascending numbers of clusters, at least three.
        weights: As in `cluster`.
    """
    errors = np.array([cluster(values, k, weights=weights).inertia for k in candidates])
    x = np.log2(np.array(candidates, np.float64))
    y = np.log2(np.maximum(errors, 1e-30 * max(errors[0], 1e-300)))
    chord = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0])
    return candidates[int(np.argmax(chord - y))]
