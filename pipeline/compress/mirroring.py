"""Mirrors channels whose batch norm has a negative factor, so that folding it keeps their values.

A codebook serves a layer's channels up to one positive factor each. A negative factor of the batch
norm would mirror the values of its channel on the device, and a layer with both signs would have up
to twice as many. Negating a channel's weights, its running mean and its factor is the same
function, to the bit. Once a layer is shared this is no longer possible: then training keeps the
factors from falling below 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from edgefactor.pipeline.compress.channels import trace
from edgefactor.pipeline.compress.context import BATCH_NORMS
from edgefactor.pipeline.compress.quantized_weight import QuantizedWeight
from edgefactor.pipeline.compress.shared_weight import SharedWeight, parametrization


@torch.no_grad()
def mirror_negative_channels(model: nn.Module) -> None:
    """Makes the factors of batch norms positive that follow a plain layer; changes in place.

    Args:
        model: Models whose code depends on values, and layers that are read by more than their
            batch norm, stay as they are.
    """
    for layer, norm in _normalised(model):
        if parametrization(layer) is None:
            _mirror(layer, norm)


def factors_of_shared_layers(model: nn.Module) -> list[nn.Parameter]:
    """Factors of batch norms behind layers whose values are shared or quantized already."""
    return [
        norm.weight
        for layer, norm in _normalised(model)
        if isinstance(parametrization(layer), SharedWeight | QuantizedWeight)
        and isinstance(norm.weight, nn.Parameter)
    ]


def _normalised(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Layers that only their batch norm reads, with it."""
    graph = trace(model)
    if graph is None:
        return
    nodes = [node for node in graph.graph.nodes if node.op == "call_module"]
    called = [str(node.target) for node in nodes]
    for node in nodes:
        if len(node.users) != 1 or called.count(str(node.target)) != 1:
            continue
        (reader,) = node.users
        if reader.op != "call_module" or called.count(str(reader.target)) != 1:
            continue
        layer = model.get_submodule(str(node.target))
        norm = model.get_submodule(str(reader.target))
        if isinstance(layer, nn.Conv2d | nn.Linear) and isinstance(norm, BATCH_NORMS):
            yield layer, norm


def _mirror(layer: nn.Module, norm: nn.Module) -> None:
    weight, mean = norm.weight, norm.running_mean
    if not isinstance(weight, nn.Parameter) or not isinstance(mean, torch.Tensor):
        return
    negative = weight < 0
    if len(negative) != len(layer.get_parameter("weight")):
        return
    for tensor in (layer.get_parameter("weight"), layer.bias, mean, weight):
        if isinstance(tensor, torch.Tensor):
            tensor[negative] = -tensor[negative]
