"""The free scale between two linear layers, set so that int8 loses least.

Between two linear factors every channel may be divided by any positive number if the weights that
read it are multiplied by it: the product stays, but its int8 form does not. What lies in between
is an int8 map with one scale, so channels with a small range lose to those with a large one; the
second factor's weights have one scale for each of its outputs, so a channel that is made large
coarsens the weights of the others. The expected error of both is minimised over a family of
scalings, range^a * influence^b, of which (1/2, -1/2) is the equalization of Nagel et al. 2019
(arXiv 1906.04721) and (1, 0) makes all ranges equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgefactor.pipeline.compress.observe import run_model, watching

_CODES, _WEIGHT_CODES = 255, 127
_RANGE_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_INFLUENCE_POWERS = (-0.5, -0.25, 0.0, 0.25)
#: Ranges are at least this part of the largest: a channel that never moves is not blown up.
_LEAST_RANGE = 1e-3
#: Half the range of a channel of which only its deviation is known.
_DEVIATIONS = 4.0

Layer = nn.Conv2d | nn.Linear


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channels:
    """What is known of the channels between two factors.

    Attributes:
        low: Smallest value of each, at most 0.
        high: Largest value of each, at least 0.
        power: Mean square of each.
    """

    low: Tensor
    high: Tensor
    power: Tensor

    @property
    def span(self) -> Tensor:
        """Distance between smallest and largest."""
        return self.high - self.low


def reading_weights(second: Layer, channels: int) -> Tensor:
    """A view of the second factor's weights: [groups, outputs, channels of a group, taps]."""
    groups = second.groups if isinstance(second, nn.Conv2d) else 1
    return second.weight.detach().reshape(groups, -1, channels // groups, _taps(second))


def _taps(layer: Layer) -> int:
    return layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1


def expected_error(channels: Channels, weights: Tensor, divisor: Tensor) -> float:
    """Mean square of what int8 adds to the second factor's outputs, summed over them.

    Args:
        channels: The channels before the scaling.
        weights: As `reading_weights` gives them, before the scaling.
        divisor: Of each channel.
    """
    step = float(((channels.high / divisor).max() - (channels.low / divisor).min()) / _CODES)
    groups, _, size, taps = weights.shape
    scale = divisor.reshape(groups, 1, size, 1)
    scaled = weights * scale
    from_map = float((scaled**2).sum()) * step**2 / 12
    weight_step = scaled.abs().amax(dim=(2, 3)) / _WEIGHT_CODES
    power = (channels.power / divisor**2).reshape(groups, 1, size)
    from_weights = float((power * weight_step[:, :, None] ** 2).sum()) * taps / 12
    return from_map + from_weights


def choose_divisors(channels: Channels, weights: Tensor) -> Tensor:
    """The divisor of each channel, at least as good as leaving all as they are."""
    span = channels.span.clamp(min=float(channels.span.max()) * _LEAST_RANGE)
    influence = weights.pow(2).sum(dim=(1, 3)).sqrt().flatten()
    influence = influence.clamp(min=float(influence.max()) * _LEAST_RANGE)
    if float(span.max()) == 0 or float(influence.max()) == 0:
        return torch.ones_like(span)
    candidates = [torch.ones_like(span)]
    for a in _RANGE_POWERS:
        for b in _INFLUENCE_POWERS:
            divisor = span**a * influence**b
            candidates.append(divisor / divisor.log().mean().exp())
    return min(candidates, key=lambda divisor: expected_error(channels, weights, divisor))


def observe_channels(
    model: nn.Module, first: nn.Module, inputs: Sequence[Tensor] | None, layer: Layer
) -> Channels:
    """Ranges between two factors: seen on inputs, or estimated from the weights of the first."""
    if inputs is None:
        deviation = layer.weight.detach().flatten(1).norm(dim=1)
        reach = deviation * _DEVIATIONS
        return Channels(low=-reach, high=reach, power=deviation**2)
    lows: list[Tensor] = []
    highs: list[Tensor] = []
    powers: list[Tensor] = []

    def see(_: Tensor, y: Tensor) -> None:
        rows = y.movedim(1, -1).flatten(0, -2) if y.ndim == 4 else y.flatten(0, -2)
        lows.append(rows.amin(0))
        highs.append(rows.amax(0))
        powers.append(rows.pow(2).mean(0))

    with watching(first, see):
        for _ in run_model(model, inputs):
            pass
    return Channels(
        low=torch.stack(lows).amin(0).clamp(max=0),
        high=torch.stack(highs).amax(0).clamp(min=0),
        power=torch.stack(powers).mean(0),
    )


def scale_between(first: Layer, second: Layer, divisor: Tensor) -> None:
    """Divides the channels between two linear layers; their product stays the same."""
    with torch.no_grad():
        first.weight.div_(divisor.reshape(-1, *(1,) * (first.weight.ndim - 1)))
        if first.bias is not None:
            first.bias.div_(divisor)
        groups = second.groups if isinstance(second, nn.Conv2d) else 1
        weights = second.weight.reshape(groups, -1, len(divisor) // groups, _taps(second))
        weights = weights * divisor.reshape(groups, 1, -1, 1)
        second.weight.copy_(weights.reshape(second.weight.shape))


def balance_factors(
    model: nn.Module, layer: nn.Sequential, inputs: Sequence[Tensor] | None
) -> float:
    """Sets the free scales between neighbouring factors of a replaced layer.

    Returns:
        Expected int8 error after the scaling over that before, summed over the pairs; 1 if there
        is no pair of linear factors.
    """
    before = after = 0.0
    for first, second in itertools.pairwise(layer):
        if not isinstance(first, Layer) or not isinstance(second, Layer):
            continue
        channels = observe_channels(model, first, inputs, first)
        weights = reading_weights(second, len(channels.low))
        divisor = choose_divisors(channels, weights)
        before += expected_error(channels, weights, torch.ones_like(divisor))
        after += expected_error(channels, weights, divisor)
        scale_between(first, second, divisor)
    return after / before if before else 1.0
