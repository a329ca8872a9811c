"""Shared values that keep a layer's output, not its weights: assignment and least squares in turn.

For inputs x with second moment H, replacing weights w by q changes the output by
(w - q)' H (w - q) on average. Given the codebook, weights are assigned column by column, each
error passed on to the columns that are still free (Frantar et al. 2022, GPTQ, arXiv 2210.17323, on
a codebook in place of an even grid). Given the assignment, codebook and channel scales are linear
least squares.

All arrays are batched over the layer's groups G: weights ``[G, outputs, m]``, moments
``[G, m, m]``, where m is the number of weights of one output.
"""

from __future__ import annotations

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
        index: ``[G, outputs, m]``.
        codebook: ``[K]``.
        scale: ``[G, outputs]``, positive.
    """

    index: Tensor
    codebook: Tensor
    scale: Tensor

    @property
    def weight(self) -> Tensor:
        """``[G, outputs, m]``."""
        return self.codebook[self.index] * self.scale[..., None]


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
    entries, order = torch.sort(values.codebook)
    middles = (entries[1:] + entries[:-1]) / 2
    for j in range(target.shape[-1]):
        column = left[..., j]
        nearest = order[torch.bucketize((column / values.scale).contiguous(), middles)]
        nearest = torch.where(fixed[..., j], values.index[..., j], nearest)
        index[..., j] = nearest
        wrong = (column - values.codebook[nearest] * values.scale) / factor[:, None, j, j]
        left[..., j:] -= wrong[..., None] * factor[:, None, j, j:]
    return index


def _solve_codebook(
    target: Tensor, moment: Tensor, values: SharedValues, *, zero: bool
) -> SharedValues:
    """The codebook of least output error for this assignment and these scales."""
    count = len(values.codebook)
    normal = torch.zeros(count, count, dtype=target.dtype)
    wanted = torch.zeros(count, dtype=target.dtype)
    for group in range(len(target)):
        hot = torch.nn.functional.one_hot(values.index[group], count).to(target.dtype)
        hot = hot * values.scale[group][:, None, None]
        normal += torch.einsum("omk,mn,onl->kl", hot, moment[group], hot)
        wanted += torch.einsum("omk,om->k", hot, target[group] @ moment[group])
    used = slice(1 if zero else 0, count)
    ridge = 1e-6 * normal.diagonal().mean().clamp_min(1e-30) * torch.eye(count, dtype=target.dtype)
    codebook = values.codebook.clone()
    # Around the present entries, so that ones without members stay where they are.
    residual = wanted - normal @ codebook
    codebook[used] += torch.linalg.solve((normal + ridge)[used, used], residual[used])
    return SharedValues(index=values.index, codebook=codebook, scale=values.scale)


def _solve_scale(target: Tensor, moment: Tensor, values: SharedValues) -> SharedValues:
    """The factor of each output of least output error for these shared values."""
    shape = values.codebook[values.index]
    projected = shape @ moment
    power = (projected * shape).sum(-1)
    scale = (projected * target).sum(-1) / power.clamp_min(1e-30)
    scale = torch.where((scale > 0) & (power > 0), scale, values.scale)
    return SharedValues(index=values.index, codebook=values.codebook, scale=scale)
