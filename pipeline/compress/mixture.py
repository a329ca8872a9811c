"""The prior of soft weight-sharing: a mixture of Gaussians over all weights, learnt with them.

Ullrich, Meeds, Welling 2017 (arXiv 1702.04008): p(w) = prod_i sum_j pi_j N(w_i; mu_j, s_j^2), the
first component fixed at mean 0 with a large share pi_0, so that most weights are drawn to zero.
Gamma priors on the precisions keep the components from collapsing or spreading without bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

#: Gamma(shape, rate) of the precision, for the zero component and for the others (the authors'
#: published tutorial).
ZERO_PRIOR = (5e3, 2.0)
OTHER_PRIOR = (250.0, 0.1)
#: Two components nearer than this in Kullback-Leibler divergence are one (section 4 of the paper).
MERGE_DIVERGENCE = 1e-10
_CHUNK = 1 << 16
#: Weights at a time while training: so many times 16 components fit a core's cache.
_TRAINED_CHUNK = 1 << 13


class _MinusLogDensity(torch.autograd.Function):
    """Minus the log density of all weights together, with the gradients in closed form.

    The gradients are sums of responsibilities, which the forward pass has at hand: a quarter of
    the time that autograd takes through one tensor ``[components, weights]`` after another.
    """

    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, means: Tensor, log_precisions: Tensor, log_shares: Tensor
    ) -> Tensor:
        precisions = log_precisions.exp()
        constants = log_shares + 0.5 * (log_precisions - math.log(2 * math.pi))
        by_weight = torch.empty_like(weights)
        by_mean, by_precision, by_share = (torch.zeros_like(means) for _ in range(3))
        total = weights.new_zeros((), dtype=torch.float64)
        for start in range(0, len(weights), _TRAINED_CHUNK):
            part = slice(start, start + _TRAINED_CHUNK)
            off = weights[part] - means[:, None]
            exponents = -0.5 * precisions[:, None] * off * off
            shares = exponents + constants[:, None]
            highest = shares.amax(0)
            shares.sub_(highest).exp_()
            sums = shares.sum(0)
            total += (sums.log() + highest).sum()
            shares.div_(sums)  # now the responsibilities
            by_share += shares.sum(1)
            by_precision += (shares * exponents).sum(1)
            shares.mul_(off)
            by_mean += shares.sum(1)
            by_weight[part] = precisions @ shares
        ctx.save_for_backward(
            by_weight, -precisions * by_mean, -0.5 * by_share - by_precision, -by_share
        )
        return -total.to(weights.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradients[0] * saved for saved in ctx.saved_tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One Gaussian: mean, variance, share."""

    mean: float
    variance: float
    share: float


class Mixture(nn.Module):
    """The mixture; its parameters are trained beside the weights.

    Args:
        components: Gaussians, the one at zero included.
        zero_share: pi_0, fixed.
        low: Smallest mean at the start.
        high: Largest mean at the start; the others lie evenly between.
        deviation: Standard deviation of all components at the start.
    """

    def __init__(
        self, components: int, *, zero_share: float, low: float, high: float, deviation: float
    ) -> None:
        super().__init__()
        self.zero_share = zero_share
        self.means = nn.Parameter(torch.linspace(low, high, components - 1))
        self.log_precisions = nn.Parameter(torch.full((components,), -2 * math.log(deviation)))
        self.log_shares = nn.Parameter(torch.full((components - 1,), -math.log(components - 1)))

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """(means, log precisions, log shares) of all components, zero first."""
        means = torch.cat([self.means.new_zeros(1), self.means])
        others = torch.log_softmax(self.log_shares, 0) + math.log(1 - self.zero_share)
        first = self.means.new_full((1,), math.log(self.zero_share))
        return means, self.log_precisions, torch.cat([first, others])

    def complexity(self, weights: Tensor) -> Tensor:
        """Minus log prior of the weights and of the precisions: L_C of the paper."""
        total: Tensor = _MinusLogDensity.apply(  # type: ignore[no-untyped-call]
            weights, *self.parts()
        )
        return total + self._hyper(0, 1, *ZERO_PRIOR) + self._hyper(1, None, *OTHER_PRIOR)

    def _hyper(self, start: int, end: int | None, shape: float, rate: float) -> Tensor:
        chosen = self.log_precisions[start:end]
        return -((shape - 1) * chosen - rate * chosen.exp()).sum()

    @torch.no_grad()
    def merged(self, nearer: float = MERGE_DIVERGENCE) -> tuple[Component, ...]:
        """The components, those nearer than a divergence put together; zero first."""
        means, log_precisions, log_shares = (part.double() for part in self.parts())
        found = [
            Component(mean=float(m), variance=math.exp(-float(p)), share=math.exp(float(s)))
            for m, p, s in zip(means, log_precisions, log_shares, strict=True)
        ]
        first = 0
        while first < len(found):
            second = first + 1
            while second < len(found):
                if divergence(found[first], found[second]) < nearer:
                    found[first] = _together(found[first], found.pop(second), zero=first == 0)
                else:
                    second += 1
            first += 1
        return tuple(found)


def divergence(a: Component, b: Component) -> float:
    """Kullback-Leibler divergence of two Gaussians, the mean of both directions."""
    gap = (a.mean - b.mean) ** 2
    ratios = (a.variance + gap) / b.variance + (b.variance + gap) / a.variance
    return 0.25 * (ratios - 2)


def _together(a: Component, b: Component, *, zero: bool) -> Component:
    share = a.share + b.share
    mean = 0.0 if zero else (a.share * a.mean + b.share * b.mean) / share
    variance = (a.share * a.variance + b.share * b.variance) / share
    return Component(mean=mean, variance=variance, share=share)


def assign(weights: Tensor, components: tuple[Component, ...]) -> Tensor:
    """The component most responsible for each weight, its number."""
    means = torch.tensor([c.mean for c in components], dtype=torch.float64)
    deviations = torch.tensor([c.variance for c in components], dtype=torch.float64).sqrt()
    shares = torch.tensor([c.share for c in components], dtype=torch.float64)
    result = []
    for part in torch.split(weights.detach().double().cpu().reshape(-1), _CHUNK):
        off = (part[:, None] - means) / deviations
        result.append((shares.log() - deviations.log() - 0.5 * off * off).argmax(1))
    return torch.cat(result)
