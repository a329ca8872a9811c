"""Post-training sharing, layer after layer: each one mends what those before it changed.

A layer sees the inputs that the already shared layers before it produce, and is fitted to the
outputs that the original layer had (as in Stock et al. 2019, arXiv 1907.05686, section 3.2). Needs
calibration inputs only. What is left as a mean error of each output goes into the bias.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgefactor.pipeline.compress.context import Context, evaluating
from edgefactor.pipeline.compress.layer_inputs import columns
from edgefactor.pipeline.compress.output_error import SharedValues, damped, improve, output_error
from edgefactor.pipeline.compress.shared_weight import (
    SharedWeight,
    original_of,
    parametrization,
    set_shared,
    to_groups,
    weight_of,
)

_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of a layer's inputs x now and x0 in the original, around their means; G groups.

    Attributes:
        now: ``[G, m, m]`` mean of x x'.
        cross: ``[G, m, m]`` mean of x x0'.
        mean: ``[G, m]`` of x.
        mean_original: ``[G, m]`` of x0.
    """

    now: Tensor
    cross: Tensor
    mean: Tensor
    mean_original: Tensor


def call_order(model: nn.Module, names: Sequence[str], inputs: tuple[Tensor, ...]) -> list[str]:
    """The layers in the order in which the model runs them; ones it never runs are left out."""
    order: list[str] = []
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, __, name=name: order.append(name)
        )
        for name in names
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(*(tensor[:1] for tensor in inputs))
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(order))


class _SeenError(Exception):
    """Ends a run of the model where the layer of interest has got its input."""


def input_moments(
    model: nn.Module, original: nn.Module, name: str, inputs: tuple[Tensor, ...]
) -> Moments:
    """Runs both models as far as the layer `name` and compares what it gets in each."""
    seen: dict[int, Tensor] = {}
    handles = []
    for number, network in enumerate((model, original)):
        layer = network.get_submodule(name)

        def look(module: nn.Module, args: tuple[Tensor, ...], number: int = number) -> None:
            seen[number] = columns(module, args[0])
            raise _SeenError

        handles.append(layer.register_forward_pre_hook(look))
    sums: list[Tensor] = []
    count = 0
    try:
        with evaluating(model), evaluating(original), torch.no_grad():
            for start in range(0, len(inputs[0]), _BATCH):
                batch = tuple(tensor[start : start + _BATCH] for tensor in inputs)
                for network in (model, original):
                    with suppress(_SeenError):
                        network(*batch)
                x, x0 = seen[0], seen[1]
                # Products of a batch in float32, their sum over batches in float64.
                parts = [x.mT @ x, x.mT @ x0, x.sum(1), x0.sum(1)]
                wide = [part.double() for part in parts]
                sums = [a + b for a, b in zip(sums, wide, strict=True)] if sums else wide
                count += x.shape[1]
    finally:
        for handle in handles:
            handle.remove()
    now, cross, mean, mean0 = (total / count for total in sums)
    now = now - mean[:, :, None] * mean[:, None, :]
    cross = cross - mean[:, :, None] * mean0[:, None, :]
    return Moments(now=now, cross=cross, mean=mean, mean_original=mean0)


def refine_by_output(
    model: nn.Module,
    original: nn.Module,
    layer_names: Sequence[str],
    context: Context,
    *,
    samples: int,
) -> dict[str, dict[str, Any]]:
    """Improves shared layers, in the order in which the model runs them.

    Args:
        model: Its layers already have `SharedWeight`, from k-means.
        original: The model before sharing, with the same layers.
        layer_names: The shared layers.
        context: Has the calibration inputs.
        samples: Calibration inputs used.

    Returns:
        For each layer the relative error of its output before and after.
    """
    inputs = context.inputs(samples)
    figures: dict[str, dict[str, Any]] = {}
    for name in call_order(model, layer_names, inputs):
        context.say(f"share by output: {name}")
        layer = model.get_submodule(name)
        moments = input_moments(model, original, name, inputs)
        figures[name] = _refine(layer, original.get_submodule(name), moments)
    return figures


def _refine(layer: nn.Module, original: nn.Module, moments: Moments) -> dict[str, Any]:
    shared = parametrization(layer)
    assert isinstance(shared, SharedWeight)
    groups = len(moments.now)
    weight = weight_of(original).double().cpu()
    source = weight.reshape(groups, len(weight) // groups, -1)
    moment = damped(moments.now.cpu())
    # The weights that would give the original's outputs on today's inputs, drawn to the original.
    ridge = moment - moments.now.cpu()
    wanted = (moments.cross.cpu() + ridge) @ source.mT
    target = torch.linalg.solve(moment, wanted).mT.contiguous()
    order = _order(tuple(weight.shape), channels_last=shared.channels_last)
    target, moment = target[..., order], moment[:, order][:, :, order]
    scale = torch.ones(len(weight)) if shared.scale is None else shared.scale
    start = SharedValues(
        index=shared.index.cpu().long().reshape(*source.shape[:2], -1),
        codebook=shared.values(original_of(layer)).detach().cpu().double(),
        scale=scale.cpu().double().reshape(groups, -1),
    )
    found = improve(target, moment, start, zero=shared.zero, keep_scale=shared.scale is None)
    before = output_error(target, start.weight, moment)
    after = output_error(target, found.weight, moment)
    size = output_error(target, torch.zeros_like(target), moment)
    _store(layer, shared, found)
    _mend_bias(layer, original, moments)
    return {
        "output_error_before": before / max(size, 1e-30),
        "output_error_after": after / max(size, 1e-30),
    }


def _order(shape: tuple[int, ...], *, channels_last: bool) -> Tensor:
    """Numbers of the weights of one output in the order in which groups run over them."""
    numbers = torch.arange(math.prod(shape[1:]))
    return to_groups(numbers.reshape(1, *shape[1:]), 1, channels_last=channels_last)[:, 0]


def _store(layer: nn.Module, shared: SharedWeight, found: SharedValues) -> None:
    like = weight_of(layer)
    renewed = copy.deepcopy(shared)
    renewed.index.copy_(found.index.reshape(-1))
    if renewed.scale is not None:
        renewed.scale.copy_(found.scale.reshape(-1))
    set_shared(layer, renewed.to(like.device), found.codebook.to(like))


def _mend_bias(layer: nn.Module, original: nn.Module, moments: Moments) -> None:
    """Makes each output's mean that of the original; layers without a bias are left."""
    if not isinstance(layer.bias, nn.Parameter) or not isinstance(original.bias, nn.Parameter):
        return
    means = []
    for module, mean in ((original, moments.mean_original), (layer, moments.mean)):
        rows = weight_of(module).double().reshape(len(mean), -1, mean.shape[-1])
        means.append((rows @ mean[:, :, None])[..., 0].reshape(-1))
    with torch.no_grad():
        layer.bias.copy_(original.bias + (means[0] - means[1]).to(original.bias))
