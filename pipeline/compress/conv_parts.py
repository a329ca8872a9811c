"""Convolutions that together take the place of one: each gets its share of stride and padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefactor.errors import OptionError


def as_tensor(array: NDArray[Any], like: Tensor) -> Tensor:
    """The array as a tensor of the type and place of another."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(like)


def weights_of(layer: nn.Conv2d) -> NDArray[np.float64]:
    """Weights [outputs, inputs / groups, rows, columns] in double precision."""
    return layer.weight.detach().cpu().double().numpy()


def conv_part(
    layer: nn.Conv2d,
    weights: NDArray[Any],
    *,
    rows: bool = False,
    columns: bool = False,
    groups: int = 1,
    bias: Tensor | None = None,
) -> nn.Conv2d:
    """A convolution with these weights that takes over part of another's geometry.

    Args:
        layer: The convolution that is replaced.
        weights: [outputs, inputs / groups, rows, columns] of the part.
        rows: Whether it has the stride, padding and dilation of the rows.
        columns: Likewise of the columns.
        groups: Channel groups.
        bias: Its bias; None for none.
    """
    padding: Any = layer.padding
    if not isinstance(padding, str):
        padding = (padding[0] if rows else 0, padding[1] if columns else 0)
    part = nn.Conv2d(
        weights.shape[1] * groups,
        weights.shape[0],
        tuple(weights.shape[2:]),
        stride=(layer.stride[0] if rows else 1, layer.stride[1] if columns else 1),
        padding=padding,
        dilation=(layer.dilation[0] if rows else 1, layer.dilation[1] if columns else 1),
        groups=groups,
        bias=bias is not None,
        padding_mode=layer.padding_mode,
    ).to(layer.weight.device)
    with torch.no_grad():
        part.weight.copy_(as_tensor(weights, layer.weight))
        if bias is not None and part.bias is not None:
            part.bias.copy_(bias)
    return part


def plain_window(layer: nn.Module) -> str:
    """Why a layer is no convolution of all inputs with a window; empty if it is one."""
    if not isinstance(layer, nn.Conv2d):
        return "it is no convolution"
    if layer.groups > 1:
        return f"it has {layer.groups} groups"
    if layer.kernel_size == (1, 1):
        return "its window is 1x1"
    return ""


def check_rank(rank: int, most: int, what: str) -> None:
    """Refuses a rank outside 1..most.

    Raises:
        OptionError: If it is outside.
    """
    if not 1 <= rank <= most:
        raise OptionError(
            "The rank does not fit the layer", where=what, found=str(rank), expected=f"1 to {most}"
        )
