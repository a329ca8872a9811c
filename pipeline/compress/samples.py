"""The order in which training sees its samples, and how they are altered."""

from __future__ import annotations

import torch
from torch import Tensor

from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.inputs.data import Dataset


class Samples:
    """Training data on the device, in an order that follows from seed, training and epoch alone.

    Args:
        data: The training data.
        options: Batch size, samples, augmentation.
        seed: Of this training.
        device: Where batches are made.
    """

    def __init__(
        self, data: Dataset, options: TrainingOptions, seed: int, device: torch.device
    ) -> None:
        self.count = min(options.samples or data.samples, data.samples)
        self._batch = min(options.batch, self.count)
        self._augment = options.augment
        self._seed = seed
        self._inputs = tuple(torch.from_numpy(array).to(device) for array in data.inputs)
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
        return tuple(_moved(x, reach, mirror=mirror) if x.ndim == 4 else x for x in inputs)


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
    return padded[number, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
