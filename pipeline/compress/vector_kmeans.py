"""k-means of short vectors with a weight for every coordinate.

scikit-learn's KMeans weighs whole samples only; an error in one weight counts by the input that
this weight meets, so coordinates need weights of their own (Stock et al. 2019, arXiv 1907.05686,
section 3.2, with the diagonal of the inputs' second moment). With equal weights this is plain
Lloyd from a k-means++ start, and gives what scikit-learn gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import OptionError

Floats = NDArray[np.float64]

_ITERATIONS = 100
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorClusters:
    """A partition of vectors.

    Attributes:
        centroids: ``[K, d]``.
        index: ``[n]``.
        inertia: Weighted sum of squared differences.
    """

    centroids: Floats
    index: NDArray[np.int64]
    inertia: float


def cluster_vectors(
    points: Floats,
    k: int,
    *,
    weights: Floats | None = None,
    start: Floats | None = None,
    seed: int = 0,
) -> VectorClusters:
    """Partitions vectors into `k` clusters.

    Args:
        points: ``[n, d]``.
        k: Clusters, at most n.
        weights: ``[n, d]``, at least 0; equal by default.
        start: ``[k, d]``; k-means++ by default.
        seed: For k-means++ and for clusters that run empty.

    Raises:
        OptionError: If k is below 1 or above the number of vectors.
    """
    if not 1 <= k <= len(points):
        raise OptionError(
            "There cannot be that many shared vectors",
            where="values",
            found=f"K = {k} for {len(points)} vectors",
            expected=f"1 to {len(points)}",
        )
    mass = np.ones_like(points) if weights is None else np.asarray(weights, np.float64)
    mass = np.maximum(mass, 1e-12 * float(mass.max(initial=0.0)) or 1.0)
    centroids = _plus_plus(points, mass, k, seed) if start is None else start.astype(np.float64)
    before = np.inf
    index, errors = _nearest(points, mass, centroids)
    for _ in range(_ITERATIONS):
        inertia = float(errors.sum())
        if before - inertia <= _TOLERANCE * inertia:
            break
        before = inertia
        centroids = _means(points, mass, index, errors, centroids)
        index, errors = _nearest(points, mass, centroids)
    return VectorClusters(centroids=centroids, index=index, inertia=float(errors.sum()))


def _nearest(points: Floats, mass: Floats, centroids: Floats) -> tuple[NDArray[np.int64], Floats]:
    constant = (mass * points * points).sum(1)
    distance = mass @ (centroids**2).T - 2 * (mass * points) @ centroids.T
    index = distance.argmin(1)
    errors = np.maximum(constant + distance[np.arange(len(points)), index], 0.0)
    return index.astype(np.int64), errors


def _means(
    points: Floats, mass: Floats, index: NDArray[np.int64], errors: Floats, centroids: Floats
) -> Floats:
    k = len(centroids)
    moved = centroids.copy()
    held = np.bincount(index, minlength=k)
    for j in range(points.shape[1]):
        total = np.bincount(index, weights=mass[:, j] * points[:, j], minlength=k)
        weight = np.bincount(index, weights=mass[:, j], minlength=k)
        moved[held > 0, j] = total[held > 0] / weight[held > 0]
    empty = np.flatnonzero(held == 0)
    # An empty cluster takes the vector that is served worst.
    moved[empty] = points[np.argsort(-errors, kind="stable")[: len(empty)]]
    return moved


def _plus_plus(points: Floats, mass: Floats, k: int, seed: int) -> Floats:
    generator = np.random.default_rng(seed)
    chosen = [int(generator.integers(len(points)))]
    distance = (mass * (points - points[chosen[0]]) ** 2).sum(1)
    while len(chosen) < k:
        total = float(distance.sum())
        odds = distance / total if total > 0 else None
        chosen.append(int(generator.choice(len(points), p=odds)))
        distance = np.minimum(distance, (mass * (points - points[chosen[-1]]) ** 2).sum(1))
    return points[chosen].astype(np.float64)
