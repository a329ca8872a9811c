"""A module that moves the channels of a map by whole pixels; it has no parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgefactor.export.ops.shift import Move, one_hot_kernels


class ShiftMap(nn.Module):
    """``out[:, c, y, x] = in[:, c, y + rows, x + columns]``, 0 outside.

    Runs as a depthwise convolution with a single 1 in each kernel. The kernels are a buffer, so
    that no training changes them; an export recognises them and moves bytes.
    """

    taps: Tensor

    def __init__(self, moves: Sequence[Move]) -> None:
        super().__init__()
        self.moves = tuple((int(rows), int(columns)) for rows, columns in moves)
        self.register_buffer("taps", torch.from_numpy(one_hot_kernels(self.moves)).float()[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        reach = self.taps.shape[-1] // 2
        return F.conv2d(x, self.taps, padding=reach, groups=len(self.moves))

    def extra_repr(self) -> str:
        """For printing."""
        return f"{len(self.moves)} channels, {len(set(self.moves))} moves"
