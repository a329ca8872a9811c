"""What a layer sees: statistics of its inputs on calibration data, for data-aware methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgefactor.pipeline.compress.context import evaluating

_BATCH = 64


def columns(layer: nn.Module, x: Tensor) -> Tensor:
    """The inputs of each weight: ``[groups, positions, weights of one output]``.

    A dense layer and a convolution both compute ``columns @ weight.reshape(outputs, -1).T``, group
    by group.
    """
    if not isinstance(layer, nn.Conv2d):
        return x.reshape(1, -1, x.shape[-1])
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode=_mode(layer))
        padding: tuple[int, ...] = (0, 0)
    else:
        padding = tuple(layer.padding)
    patches = F.unfold(
        x,
        tuple(layer.kernel_size),
        dilation=tuple(layer.dilation),
        padding=padding,
        stride=tuple(layer.stride),
    )
    groups, size = layer.groups, patches.shape[1] // layer.groups
    split = patches.reshape(len(x), groups, size, -1).permute(1, 0, 3, 2)
    return split.reshape(groups, -1, size)


def _mode(layer: nn.Conv2d) -> str:
    return "constant" if layer.padding_mode == "zeros" else layer.padding_mode


def run_with_inputs(
    model: nn.Module,
    names: Sequence[str],
    inputs: tuple[Tensor, ...],
    look: Callable[[str, Tensor], None],
) -> None:
    """Runs `model` on `inputs` in batches and shows what each named layer gets.

    Args:
        model: Run in evaluation mode, without gradients.
        names: Paths of layers.
        inputs: One tensor a model input.
        look: Called with (path, the layer's input) for each layer and batch.
    """
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, args, name=name: look(name, args[0])
        )
        for name in names
    ]
    try:
        with evaluating(model), torch.no_grad():
            for start in range(0, len(inputs[0]), _BATCH):
                model(*(tensor[start : start + _BATCH] for tensor in inputs))
    finally:
        for handle in handles:
            handle.remove()


def second_moments(
    model: nn.Module, names: Sequence[str], inputs: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    """Mean square of the input of each weight, in the shape of the layer's weight."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def look(name: str, x: Tensor) -> None:
        seen = columns(model.get_submodule(name), x)
        total = seen.square().sum(1)
        sums[name] = sums[name] + total if name in sums else total
        counts[name] = counts.get(name, 0) + seen.shape[1]

    run_with_inputs(model, names, inputs, look)
    result = {}
    for name in names:
        weight = model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        mean = sums[name] / counts[name]
        per_output = mean.repeat_interleave(weight.shape[0] // len(mean), 0)
        result[name] = per_output.reshape(weight.shape)
    return result
