"""Whole channels physically removed: the layer, its batch norm and its readers become smaller.

A channel counts by the sum of the magnitudes of its kernel (Li et al. 2017, arXiv 1608.08710), here
times its batch norm's factor where one follows (Liu et al. 2017, arXiv 1708.06519). Dense results:
no masks, no indices, fewer multiplications on any device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress.channels import Channels, follow, trace
from edgefactor.pipeline.compress.context import Context, TrainingOptions
from edgefactor.pipeline.compress.method import (
    Method,
    Need,
    Options,
    PerLayer,
    StepResult,
    check_range,
)
from edgefactor.pipeline.compress.shared_weight import parametrization, weight_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneChannelsOptions(Options):
    """Options of ``prune-channels``.

    Attributes:
        keep: Fraction of output channels kept, one number or by layer.
        multiple: Channels are kept in multiples of this, as kernels like them.
        training: After it; none by default.
    """

    keep: PerLayer = field(default_factory=lambda: PerLayer.of(0.5))
    multiple: int = 1
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        for number in self.keep.numbers:
            check_range("keep", number, 0, 1, open_low=True)
        check_range("multiple", self.multiple, 1, 64)


class PruneChannels(Method):
    """Takes the least important output channels out of layers."""

    name: ClassVar[str] = "prune-channels"
    summary: ClassVar[str] = "take whole channels out, leaving smaller dense layers"
    options: ClassVar[type[Options]] = PruneChannelsOptions

    def needs(self, options: PruneChannelsOptions) -> Need:
        """What its training needs."""
        return options.training.need

    def apply(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        options: PruneChannelsOptions,
        context: Context,
    ) -> StepResult:
        """Shrinks the layers; those whose channels cannot go are left, with a note."""
        graph = trace(model)
        if graph is None:
            raise OptionError(
                "The model's code depends on values, so its channels cannot be followed",
                where=self.name,
                hint="Prune single weights (method prune) instead.",
            )
        layers: dict[str, dict[str, Any]] = {}
        notes = []
        for name in layer_names:
            layer = model.get_submodule(name)
            channels = follow(graph, name)
            touched = (name, *channels.norms, *channels.depthwise, *channels.readers)
            if any(parametrization(model.get_submodule(other)) for other in touched):
                channels.blocked = "it or a reader is pruned, shared or quantized already"
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                channels.blocked = "it is grouped"
            if channels.blocked:
                notes.append(f"{name} was left: {channels.blocked}")
                continue
            before = len(weight_of(layer))
            count = round(before * options.keep.value(name) / options.multiple) * options.multiple
            count = min(before, max(count, options.multiple))
            kept = most_important(model, channels, count)
            remove(model, channels, kept)
            layers[name] = {"channels": before, "kept": len(kept)}
        if not layers:
            raise OptionError(
                "No layer of the step can lose channels", where=self.name, found="; ".join(notes)
            )
        context.trainer.fit(model, options.training, context, label=self.name)
        return StepResult(layers=layers, notes=tuple(notes))


def most_important(model: nn.Module, channels: Channels, count: int) -> Tensor:
    """Numbers of the `count` most important channels, ascending."""
    weight = weight_of(model.get_submodule(channels.producer))
    size = weight.reshape(len(weight), -1).abs().sum(1)
    for name in channels.norms:
        norm = model.get_submodule(name)
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and len(norm.weight) == len(size):
            assert norm.running_var is not None
            size = size * norm.weight.detach().abs() / (norm.running_var + norm.eps).sqrt()
    order = torch.sort(size, descending=True, stable=True).indices
    return order[:count].sort().values


def remove(model: nn.Module, channels: Channels, kept: Tensor) -> None:
    """Leaves only the channels `kept` of a layer, in everything that they pass or reach."""
    layer = model.get_submodule(channels.producer)
    total = len(weight_of(layer))
    _rows(layer, kept)
    _set_outputs(layer, len(kept))
    for name in channels.norms:
        norm = model.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        repeat = norm.num_features // total
        _rows(norm, _spread(kept, repeat))
        norm.num_features = len(kept) * repeat
    for name in channels.depthwise:
        depthwise = model.get_submodule(name)
        assert isinstance(depthwise, nn.Conv2d)
        _rows(depthwise, kept)
        depthwise.groups = depthwise.in_channels = len(kept)
        _set_outputs(depthwise, len(kept))
    for name, values in channels.readers.items():
        reader = model.get_submodule(name)
        columns = weight_of(reader)[:, _spread(kept, values)].clone()
        reader.weight = nn.Parameter(columns)
        if isinstance(reader, nn.Linear):
            reader.in_features = columns.shape[1]
        else:
            assert isinstance(reader, nn.Conv2d)
            reader.in_channels = columns.shape[1]


def _spread(kept: Tensor, values: int) -> Tensor:
    return (kept[:, None] * values + torch.arange(values, device=kept.device)).reshape(-1)


def _set_outputs(layer: nn.Module, count: int) -> None:
    if isinstance(layer, nn.Linear):
        layer.out_features = count
    elif isinstance(layer, nn.Conv2d):
        layer.out_channels = count


def _rows(module: nn.Module, kept: Tensor) -> None:
    """Keeps these entries of every vector and matrix of a module that has one a channel."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, nn.Parameter(parameter.detach()[kept].clone()))
    for name, buffer in list(module.named_buffers(recurse=False)):
        if buffer.ndim:
            module.register_buffer(name, buffer[kept].clone())
