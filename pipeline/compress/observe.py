"""Looks at single layers while a model runs: shapes, inputs, outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgefactor.pipeline.compress.context import evaluating

#: Samples that run at a time.
BATCH = 64

Seen = Callable[[Tensor, Tensor], None]


@contextmanager
def watching(layer: nn.Module, see: Seen) -> Iterator[None]:
    """Calls ``see(input, output)`` whenever the layer runs."""

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        see(inputs[0].detach(), output.detach())

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def run_model(model: nn.Module, inputs: Sequence[Tensor]) -> Iterator[Any]:
    """The model's results batch by batch, in evaluation mode, without gradients."""
    with evaluating(model), torch.no_grad():
        for start in range(0, len(inputs[0]), BATCH):
            yield model(*(tensor[start : start + BATCH] for tensor in inputs))


def input_shapes(
    model: nn.Module, names: Sequence[str], inputs: Sequence[Tensor]
) -> dict[str, tuple[int, ...]]:
    """Shape of the input of each named layer for one sample; layers that do not run are missing."""
    shapes: dict[str, tuple[int, ...]] = {}
    handles = []
    for name in names:

        def hook(module: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
            shapes[name] = tuple(args[0].shape)

        handles.append(model.get_submodule(name).register_forward_pre_hook(hook))
    try:
        for _ in run_model(model, [tensor[:1] for tensor in inputs]):
            pass
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def second_moment(model: nn.Module, name: str, inputs: Sequence[Tensor]) -> Tensor:
    """Mean of ``x x'`` over all vectors of channels (or features) that enter a layer."""
    sums: list[Tensor] = []
    counts: list[int] = []

    def see(x: Tensor, _: Tensor) -> None:
        rows = (
            x.movedim(1, -1).flatten(0, -2).double() if x.ndim == 4 else x.flatten(0, -2).double()
        )
        sums.append(rows.T @ rows)
        counts.append(len(rows))

    with watching(model.get_submodule(name), see):
        for _ in run_model(model, inputs):
            pass
    return torch.stack(sums).sum(0) / sum(counts)
