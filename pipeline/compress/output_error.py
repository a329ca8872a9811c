"""Shared values that keep a layer's output, not its weights: assignment and least squares in turn.

For inputs x with second moment H, replacing weights w by q changes the output by
(w - q)' H (w - q) on average. Given the codebook, weights are assigned d columns at a time, each
error passed on to the columns that are still free (Frantar et al. 2022, GPTQ, arXiv 2210.17323, on
a codebook in place of an even grid; van Baalen et al. 2024, GPTVQ, arXiv 2402.15319, for d > 1).
Given the assignment, codebook and channel scales are linear least squares.

All arrays are batched over the layer's groups G: weights ``[G, outputs, m]``, moments
``[G, m, m]``, where m is the number of weights of one output, d of them consecutive to an entry.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

#: Of the mean diagonal of H, added to it: inputs that calibration hardly saw must not decide.
DAMPING = 0.01
_ROUNDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedValues:
    """A weight as index, codebook and scale.

    Attributes:
        index: ``[G, outputs, m / d]``.
        codebook: ``[K, d]``.
        scale: ``[G, outputs]``, positive.
    """

    index: Tensor
    codebook: Tensor
    scale: Tensor

    @property
    def weight(self) -> Tensor:
        """``[G, outputs, m]``."""
        return self.shape * self.scale[..., None]

    @property
    def shape(self) -> Tensor:
        """The weight before its scale."""
        return self.codebook[self.index].flatten(-2)


def output_error(weight: Tensor, other: Tensor, moment: Tensor) -> float:
    """Mean squared difference of the outputs, summed over them."""
    difference = weight - other
    return float(((difference @ moment) * difference).sum())


def damped(moment: Tensor) -> Tensor:
    """H with `DAMPING` on its diagonal, safe to invert."""
    size = moment.shape[-1]
    mean = moment.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-12)
    return moment + DAMPING * mean[:, None, None] * torch.eye(size, dtype=moment.dtype)


def improve(
    target: Tensor, moment: Tensor, start: SharedValues, *, zero: bool, keep_scale: bool
) -> SharedValues:
    """Alternates assignment and least squares; returns the best of all rounds.

    Args:
        target: ``[G, outputs, m]``, the weights whose outputs are wanted.
        moment: Second moments of the inputs, damped.
        start: Where to begin, e.g. from k-means.
        zero: Whether entry 0 is 0 and stays where it is: pruned weights.
        keep_scale: Whether the scales stay as they are.
    """
    factor = _inverse_factor(moment)
    fixed = start.index == 0 if zero else torch.zeros_like(start.index, dtype=torch.bool)
    best, least = start, output_error(target, start.weight, moment)
    values = start
    for _ in range(_ROUNDS):
        values = _solve_codebook(target, moment, values, zero=zero)
        if not keep_scale:
            values = _solve_scale(target, moment, values)
        index = _assign(target, factor, values, fixed)
        values = SharedValues(index=index, codebook=values.codebook, scale=values.scale)
        for candidate in (values, _solve_codebook(target, moment, values, zero=zero)):
            error = output_error(target, candidate.weight, moment)
            if error < least:
                best, least = candidate, error
    return best


def _inverse_factor(moment: Tensor) -> Tensor:
    """Upper triangular U with U'U = inverse of H: row j tells where column j's error goes."""
    lower = torch.linalg.cholesky(moment)
    upper: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
    return upper


def _assign(target: Tensor, factor: Tensor, values: SharedValues, fixed: Tensor) -> Tensor:
    left = target.clone()
    index = values.index.clone()
    d = values.codebook.shape[1]
    for number in range(index.shape[-1]):
        block = slice(number * d, (number + 1) * d)
        wanted = left[..., block]
        # What an entry costs once the free columns have made up for it: |(w - q) / U_block|^2.
        part = factor[:, block, block]
        nearest = _nearest(wanted / values.scale[..., None], part, values.codebook)
        nearest = torch.where(fixed[..., number], values.index[..., number], nearest)
        index[..., number] = nearest
        wrong = wanted - values.codebook[nearest] * values.scale[..., None]
        passed = torch.linalg.solve_triangular(part, wrong, upper=True, left=False)
        left[..., block.start :] -= passed @ factor[:, block, block.start :]
    return index


def _nearest(wanted: Tensor, part: Tensor, codebook: Tensor) -> Tensor:
    """The entry nearest to each of ``[G, outputs, d]`` in the metric of ``part``."""
    if codebook.shape[1] == 1:
        entries, order = torch.sort(codebook[:, 0])
        middles = (entries[1:] + entries[:-1]) / 2
        return order[torch.bucketize(wanted[..., 0].contiguous(), middles)]
    inverse = torch.linalg.inv(part)
    points, entries = wanted @ inverse, codebook @ inverse
    distance = entries.square().sum(-1)[:, None, :] - 2 * points @ entries.mT
    nearest: Tensor = distance.argmin(-1)
    return nearest


def _solve_codebook(
    target: Tensor, moment: Tensor, values: SharedValues, *, zero: bool
) -> SharedValues:
    """The codebook of least output error for this assignment and these scales."""
    d = values.codebook.shape[1]
    count = values.codebook.numel()
    normal = torch.zeros(count, count, dtype=target.dtype)
    wanted = torch.zeros(count, dtype=target.dtype)
    # The number of every weight's coefficient in the flat codebook.
    places = (values.index[..., None] * d + torch.arange(d)).flatten(-2)
    products = target @ moment
    for group, output in itertools.product(range(len(target)), range(target.shape[1])):
        place, scale = places[group, output], values.scale[group, output]
        rows = torch.zeros(count, target.shape[2], dtype=target.dtype)
        rows.index_add_(0, place, moment[group])
        normal.index_add_(1, place, rows, alpha=float(scale) ** 2)
        wanted.index_add_(0, place, products[group, output], alpha=float(scale))
    used = slice(d if zero else 0, count)
    ridge = 1e-6 * normal.diagonal().mean().clamp_min(1e-30) * torch.eye(count, dtype=target.dtype)
    codebook = values.codebook.flatten().clone()
    # Around the present entries, so that ones without members stay where they are.
    residual = wanted - normal @ codebook
    codebook[used] += torch.linalg.solve((normal + ridge)[used, used], residual[used])
    return SharedValues(index=values.index, codebook=codebook.reshape(-1, d), scale=values.scale)


def _solve_scale(target: Tensor, moment: Tensor, values: SharedValues) -> SharedValues:
    """The factor of each output of least output error for these shared values."""
    shape = values.shape
    projected = shape @ moment
    power = (projected * shape).sum(-1)
    scale = (projected * target).sum(-1) / power.clamp_min(1e-30)
    scale = torch.where((scale > 0) & (power > 0), scale, values.scale)
    return SharedValues(index=values.index, codebook=values.codebook, scale=scale)
