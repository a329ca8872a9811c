"""Bits over the layers: how many shared values each may have under a budget of flash.

What a number of values costs a layer in quality is measured, one layer at a time: the distance of
the model's outputs from the original's on calibration inputs with only that layer shared. The
distances are added, as in most work on mixed precision (Dong et al. 2019, HAWQ, arXiv 1905.03696);
the choice of least sum within the budget is then exact, by merging the layers' trade-offs one after
the other and keeping what nothing else beats.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from edgefactor.errors import BudgetError
from edgefactor.pipeline.compress.context import evaluating, first_output
from edgefactor.pipeline.compress.layers import replace_module
from edgefactor.pipeline.compress.shared_weight import weight_of

#: Values a layer may have: 1 to 6 bits, what the device's codebooks hold.
CHOICES = (2, 4, 8, 16, 32, 64)
#: Trade-offs kept after each merge; more than real networks reach.
_FRONT = 4096


def layer_bytes(weights: int, values: int) -> int:
    """Flash of one layer: packed indices and a table of int8 values."""
    bits = max(1, (values - 1).bit_length())
    packed = -(-weights * bits // 8)
    return packed + (1 << bits)


def allocate(
    losses: Mapping[str, Mapping[int, float]],
    sizes: Mapping[str, Mapping[int, int]],
    budget_bytes: int,
) -> dict[str, int]:
    """One choice a layer, of least summed loss within the budget.

    Args:
        losses: Layer -> choice -> loss.
        sizes: Layer -> choice -> bytes.
        budget_bytes: For all layers together.

    Raises:
        BudgetError: If even the smallest choices do not fit.
    """
    smallest = sum(min(options.values()) for options in sizes.values())
    if smallest > budget_bytes:
        raise BudgetError(
            "The budget is too small for any choice of bits",
            where="budget_bytes",
            found=f"{budget_bytes} bytes",
            expected=f"at least {smallest} bytes for these layers",
        )
    front: list[tuple[int, float, tuple[int, ...]]] = [(0, 0.0, ())]
    for layer, options in losses.items():
        merged = sorted(
            (size + sizes[layer][choice], loss + options[choice], (*chosen, choice))
            for size, loss, chosen in front
            for choice in options
        )
        front = []
        for entry in merged:
            if entry[0] <= budget_bytes and (not front or entry[1] < front[-1][1]):
                front.append(entry)
        if len(front) > _FRONT:
            keep = torch.linspace(0, len(front) - 1, _FRONT).long().tolist()
            front = [front[i] for i in keep]
    return dict(zip(losses, front[-1][2], strict=True))


def allocate_values(
    model: nn.Module,
    layer_names: Sequence[str],
    inputs: tuple[Tensor, ...],
    budget_bytes: int,
    share_layer: Callable[[nn.Module, str, int], None],
) -> dict[str, int]:
    """Values of each layer for a model as it is, under a budget.

    Args:
        model: Not changed.
        layer_names: The layers that the budget is for.
        inputs: Calibration inputs.
        budget_bytes: Indices and tables of these layers.
        share_layer: Shares one layer: (the layer, its path, number of values).

    Raises:
        BudgetError: If even 1 bit a weight does not fit.
    """
    probe = copy.deepcopy(model)
    losses: dict[str, dict[int, float]] = {}
    sizes: dict[str, dict[int, int]] = {}
    with evaluating(probe), torch.no_grad():
        wanted = first_output(probe(*inputs))
        power = float(wanted.var()) or 1.0
        for name in layer_names:
            original = probe.get_submodule(name)
            weights = weight_of(original).numel()
            losses[name], sizes[name] = {}, {}
            for values in CHOICES:
                if values > max(weights // 2, CHOICES[0]):
                    break
                shared = copy.deepcopy(original)
                share_layer(shared, name, values)
                replace_module(probe, name, shared)
                outputs = first_output(probe(*inputs))
                losses[name][values] = float((outputs - wanted).square().mean()) / power
                sizes[name][values] = layer_bytes(weights, values)
            replace_module(probe, name, original)
    return allocate(losses, sizes, budget_bytes)
