"""The order in which training sees its samples, and how they are altered."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgefactor.pipeline.compress.context import TrainingOptions, evaluating
from edgefactor.pipeline.inputs.data import Dataset


class Samples:
    """Training data on the device, in an order that follows from seed, training and epoch alone.

    Args:
        data: The training data.
        options: Batch size, samples, augmentation.
        seed: Of this training.
        device: Where batches are made.
        channels_last: Whether images lie with their channels last in memory.
    """

    def __init__(
        self,
        data: Dataset,
        options: TrainingOptions,
        seed: int,
        device: torch.device,
        *,
        channels_last: bool = False,
    ) -> None:
        self.count = min(options.samples or data.samples, data.samples)
        self._batch = min(options.batch, self.count)
        self._augment = options.augment
        self._seed = seed
        inputs = tuple(torch.from_numpy(array).to(device) for array in data.inputs)
        self._channels_last = channels_last
        self._inputs = tuple(map(_channels_last, inputs)) if channels_last else inputs
        self._all = data.samples

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass; a smaller last batch is left out."""
        return max(1, self.count // self._batch)

    @property
    def batch(self) -> int:
        """Samples a step."""
        return self._batch

    def order(self, epoch: int) -> Tensor:
        """Sample indices of one epoch; a subset is drawn anew each epoch."""
        generator = torch.Generator().manual_seed(self._seed * 100_003 + epoch)
        return torch.randperm(self._all, generator=generator)[: self.count]

    def take(self, indices: Tensor) -> tuple[Tensor, ...]:
        """The inputs of these samples, augmented with torch's global generator."""
        inputs = tuple(tensor[indices.to(tensor.device)] for tensor in self._inputs)
        if self._augment == "none":
            return inputs
        reach, mirror = (4, True) if self._augment == "crop-flip" else (2, False)
        moved = tuple(_moved(x, reach, mirror=mirror) if x.ndim == 4 else x for x in inputs)
        return moved if self._channels_last else tuple(x.contiguous() for x in moved)


def _moved(images: Tensor, reach: int, *, mirror: bool) -> Tensor:
    """Images [N, C, H, W] moved by up to `reach` pixels (zeros come in), half of them mirrored."""
    count, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (reach,) * 4)
    down, right = torch.randint(0, 2 * reach + 1, (2, count, 1))
    rows = down + torch.arange(height)
    columns = right + torch.arange(width)
    if mirror:
        flips = torch.rand(count, 1) < 0.5
        columns = torch.where(flips, columns.flip(1), columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    number = torch.arange(count, device=images.device)[:, None, None]
    # Indexing puts the channel last, between advanced indices.
    return padded[number, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.to(memory_format=torch.channels_last) if x.ndim == 4 else x


def takes_channels_last(model: nn.Module, inputs: tuple[Tensor, ...]) -> bool:
    """Whether a model runs on images that lie with their channels last in memory.

    PyTorch's convolutions and pools train up to a third faster so on a CPU, with the same results
    but for rounding. A model that views its maps as rows cannot.

    Args:
        model: Any model.
        inputs: A few samples.
    """
    if not any(x.ndim == 4 and x.device.type == "cpu" for x in inputs):
        return False
    try:
        with evaluating(model), torch.no_grad():
            model(*map(_channels_last, inputs))
    except RuntimeError:
        return False
    return True
