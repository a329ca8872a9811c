"""Data parallelism as torchrun sets it up: every process takes its part of each batch."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


def world() -> tuple[int, int]:
    """(rank, processes); joins torchrun's group on the first call. (0, 1) without torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or not distributed.is_available():
        return 0, 1
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return distributed.get_rank(), distributed.get_world_size()


def device() -> torch.device:
    """This process's GPU, the only GPU, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def share_of(indices: Tensor, rank: int, processes: int) -> Tensor:
    """This process's part of a batch; parts have equal sizes, so that means stay means."""
    size = max(1, len(indices) // processes)
    return indices[rank * size : (rank + 1) * size]


def average_gradients(parameters: Iterable[Tensor], processes: int) -> None:
    """Replaces every gradient by its mean over the processes."""
    if processes < 2:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= processes


def align_buffers(model: nn.Module, processes: int) -> None:
    """Gives every process the running statistics of the first."""
    if processes < 2:
        return
    for buffer in model.buffers():
        distributed.broadcast(buffer, src=0)
