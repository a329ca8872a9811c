"""A small network whose layers hold few values, some of them frequent."""

from functools import cache

import numpy as np
import torch
from torch import nn

from edgefactor.export.ir import Graph, constant
from edgefactor.export.ops.conv import Conv2D
from tests.export.graphs import lowered, to_int8

#: What is left in the layers, and how frequent it is.
KINDS = {
    "values": (np.round(40 * np.linspace(-1, 1, 15) ** 3 + np.arange(15)), 0.5, 0.0),
    "digits": (np.arange(-8, 8) * 3, 0.9, 0.0),
    "two bits": (np.arange(-1, 3) * 20, 0.9, 0.0),
    "zeros": (np.round(40 * np.linspace(-1, 1, 15)), 0.5, 0.92),
}


@cache
def network(kind: str, *, size: int = 8) -> Graph:
    """Convolutions and dense layers whose few values are not equally frequent."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 1), nn.ReLU(),
        nn.Conv2d(24, 13, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(13 * (size // 2) ** 2, 37), nn.ReLU(), nn.Linear(37, 10),
    )  # fmt: skip
    graph = to_int8(lowered(module, (1, 3, size, size)).graph)
    values, steepness, zeros = KINDS[kind]
    middle = len(values) // 2
    odds = np.exp(-np.abs(np.arange(len(values)) - middle) * steepness)
    odds[middle] += zeros / (1 - zeros) * odds.sum()
    generator = np.random.default_rng(1)
    tensors = dict(graph.tensors)
    for op in graph.ops:
        if isinstance(op, Conv2D):
            weights = tensors[op.inputs[1]]
            codes = generator.choice(values, weights.shape, p=odds / odds.sum()).astype(np.int8)
            tensors[weights.name] = constant(weights.name, codes, weights.quantization)
    return graph.edit(tensors=tensors)
