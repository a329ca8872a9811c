"""Fits the last factor of a replaced layer to the outputs that the original layer had.

Whatever the kind of factorization, its last part is linear in its weights, so the weights that
minimise the squared error of the layer's output follow from one least-squares problem. The inputs
come from the model as it is by now and the outputs from the original one, so that errors of the
layers before are corrected too (as in Zhang et al. 2015, arXiv 1505.06798).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgefactor.pipeline.compress.observe import run_model, watching

#: Output positions of a map that are looked at in each sample.
POSITIONS = 48
#: Pull towards the weights from before, relative to the mean power of the inputs: decides
#: directions that the samples do not reach.
_PULL = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """Mean squared error of a layer's output over its mean square, before and after."""

    before: float
    after: float


def last_factor(layer: nn.Module) -> nn.Conv2d | nn.Linear:
    """The part of a replacement that makes its output."""
    part = layer[-1] if isinstance(layer, nn.Sequential) else layer
    assert isinstance(part, nn.Conv2d | nn.Linear)
    return part


def windows(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Inputs of every output position, [N, groups, positions, inputs of a group * taps]."""
    padding = layer.padding
    if isinstance(padding, str):
        spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        amounts = [(0, 0) if padding == "valid" else (s // 2, s - s // 2) for s in spans]
    else:
        amounts = [(padding[0], padding[0]), (padding[1], padding[1])]
    x = F.pad(x, [*amounts[1], *amounts[0]])
    rows = F.unfold(x, layer.kernel_size, layer.dilation, 0, layer.stride)
    samples, taps, positions = rows.shape
    grouped = rows.reshape(samples, layer.groups, taps // layer.groups, positions)
    return grouped.transpose(2, 3)


def refit_last(
    original: nn.Module,
    model: nn.Module,
    name: str,
    inputs: Sequence[Tensor],
    generator: torch.Generator,
) -> Refit:
    """Sets weights and bias of the last factor of ``model``'s layer ``name``.

    Args:
        original: The model before anything was replaced, with a layer of the same name.
        model: The model with the replacement.
        name: The layer.
        inputs: Inputs of the model.
        generator: Chooses the positions.
    """
    wanted: list[Tensor] = []
    given: list[Tensor] = []
    last = last_factor(model.get_submodule(name))
    with watching(original.get_submodule(name), lambda _, y: wanted.append(y)):
        for _ in run_model(original, inputs):
            pass
    with watching(last, lambda x, _: given.append(x)):
        for _ in run_model(model, inputs):
            pass
    groups = last.groups if isinstance(last, nn.Conv2d) else 1
    square: Tensor | None = None
    cross: Tensor | None = None
    power, count = 0.0, 0
    for x, y in zip(given, wanted, strict=True):
        rows, targets = _samples(last, x, y, generator)
        # A column of ones carries the bias.
        rows = torch.cat([rows, torch.ones_like(rows[..., :1])], dim=-1).double()
        targets = targets.double()
        step = rows.transpose(1, 2) @ rows
        step_cross = rows.transpose(1, 2) @ targets
        square = step if square is None else square + step
        cross = step_cross if cross is None else cross + step_cross
        power += float((targets**2).sum())
        count += rows.shape[1]
    assert square is not None and cross is not None
    if last.bias is None:
        square, cross = square[:, :-1, :-1], cross[:, :-1]
    old = _stacked(last, groups).double()
    size = square.diagonal(dim1=1, dim2=2).mean()
    pull = torch.eye(square.shape[1], device=square.device, dtype=square.dtype) * size * _PULL
    new = torch.linalg.solve(square + pull, cross + pull @ old)
    errors = [_error(square, cross, power, weights) for weights in (old, new)]
    _put(last, new)
    return Refit(before=errors[0], after=errors[1])


def _samples(
    last: nn.Conv2d | nn.Linear, x: Tensor, y: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Inputs [groups, n, taps] and outputs [groups, n, outputs of a group] of some positions."""
    if isinstance(last, nn.Linear):
        return x.flatten(0, -2)[None], y.flatten(0, -2)[None]
    patches = windows(last, x)
    positions = patches.shape[2]
    chosen = torch.randperm(positions, generator=generator)[:POSITIONS].to(x.device)
    rows = patches[:, :, chosen].transpose(0, 1).flatten(1, 2)
    outputs = y.flatten(2)[:, :, chosen]
    grouped = outputs.reshape(len(y), last.groups, -1, len(chosen))
    return rows, grouped.permute(1, 0, 3, 2).flatten(1, 2)


def _stacked(last: nn.Conv2d | nn.Linear, groups: int) -> Tensor:
    """Weights as [groups, taps (and bias), outputs of a group]."""
    outputs = last.weight.shape[0]
    stacked = last.weight.detach().reshape(groups, outputs // groups, -1).transpose(1, 2)
    if last.bias is None:
        return stacked
    return torch.cat([stacked, last.bias.detach().reshape(groups, 1, -1)], dim=1)


def _put(last: nn.Conv2d | nn.Linear, stacked: Tensor) -> None:
    with torch.no_grad():
        if last.bias is not None:
            last.bias.copy_(stacked[:, -1].flatten())
            stacked = stacked[:, :-1]
        last.weight.copy_(stacked.transpose(1, 2).flatten(0, 1).reshape(last.weight.shape))


def _error(square: Tensor, cross: Tensor, power: float, weights: Tensor) -> float:
    """``|X w - y|^2 / |y|^2`` from the normal equations."""
    fitted = (weights * (square @ weights)).sum() - 2 * (weights * cross).sum()
    return max(float(fitted) + power, 0.0) / power if power else 0.0
