"""From a model in training to plain weights: reads what is stored, and ends all parametrizations.

A layer whose codebook is shared up to one factor a channel keeps those factors in a buffer
``weight_scale`` beside the weight, where the exporter finds them
(``pipeline/sharing_at_export/shared_values.py``).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefactor.pipeline.compress.quantized_weight import QuantizedWeight
from edgefactor.pipeline.compress.records import WeightRecord
from edgefactor.pipeline.compress.shared_weight import (
    MaskedWeight,
    SharedWeight,
    original_of,
    parametrization,
    unparametrize,
)

SCALE_BUFFER = "weight_scale"


def record_of(layer: nn.Module) -> WeightRecord:
    """What is stored of a layer's weight."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    made_by = parametrization(layer)
    if isinstance(made_by, MaskedWeight):
        return made_by.record(weight)
    if isinstance(made_by, SharedWeight):
        return made_by.record(original_of(layer))
    if isinstance(made_by, QuantizedWeight):
        return made_by.record(original_of(layer))
    return WeightRecord(kind="dense", shape=tuple(weight.shape))


def weight_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every module with a weight matrix or kernel, by path."""
    found = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim >= 2:
            found[name] = module
    return found


def records(model: nn.Module) -> dict[str, tuple[WeightRecord, NDArray[np.float32]]]:
    """(what is stored, the values) of every weight of a model, by the layer's path."""
    result = {}
    with torch.no_grad():
        for name, layer in weight_layers(model).items():
            weight = layer.weight
            assert isinstance(weight, Tensor)
            values = weight.detach().cpu().numpy().astype(np.float32)
            result[name] = (record_of(layer), values)
    return result


def freeze(model: nn.Module) -> nn.Module:
    """Ends pruning, sharing and quantization: plain weights with the values they have now.

    Args:
        model: Changed in place.

    Returns:
        The same model.
    """
    for layer in weight_layers(model).values():
        record = record_of(layer)
        if parametrization(layer) is None:
            continue
        unparametrize(layer)
        scale = record.scale
        if scale is None and record.kind == "vector":
            # Vectors may have more single values than a codebook of numbers; the factor says that
            # they are shared all the same.
            scale = np.ones(record.shape[0], np.float32)
        if scale is not None:
            layer.register_buffer(SCALE_BUFFER, torch.from_numpy(scale.copy()))
    return model
