"""Which layers count as clustered, and keep one scale so that their values stay few."""

import numpy as np
import pytest

from edgefactor.export.ir import Graph, Port, Tensor, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.pipeline.sharing_at_export.shared_values import MOST_VALUES, keep_shared_values

GENERATOR = np.random.default_rng(0)


def graph_of(weights) -> Graph:
    outputs, inputs = weights.shape
    shapes = {"x": (1, 1, 1, inputs), "y": (1, 1, 1, outputs)}
    tensors = {name: Tensor(name=name, shape=shape) for name, shape in shapes.items()}
    tensors["w"] = constant("w", weights.astype(np.float32)[:, None, None, :])
    tensors["b"] = constant("b", np.zeros(outputs, np.float32))
    ports = [
        Port(tensor=name, name=name, shape=shape, perm=(0, 1, 2, 3))
        for name, shape in shapes.items()
    ]
    return Graph(
        name="net",
        tensors=tensors,
        ops=(Conv2D(name="y", inputs=("x", "w", "b"), outputs=("y",)),),
        inputs=(ports[0],),
        outputs=(ports[1],),
    )


def values(count: int, size: int):
    return GENERATOR.permutation(np.resize(GENERATOR.standard_normal(count), size))


def sparse(kept):
    weights = np.zeros(512)
    weights[GENERATOR.permutation(512)[: len(kept)]] = kept
    return weights


#: 512 weights, whether they count as clustered.
LAYERS = {
    "16 values": (values(16, 512), True),
    "64 values": (values(MOST_VALUES, 512), True),
    "65 values": (values(MOST_VALUES + 1, 512), False),
    "free": (GENERATOR.standard_normal(512), False),
    "pruned, 8 values": (sparse(values(8, 60)), True),
    "pruned, 63 values": (sparse(values(63, 400)), True),
    "pruned, 64 values": (sparse(values(64, 400)), False),
    "pruned, each value once": (sparse(GENERATOR.standard_normal(40)), False),
}


@pytest.mark.parametrize(("weights", "shared"), LAYERS.values(), ids=LAYERS.keys())
def test_layers_of_few_values_keep_one_scale(weights, shared):
    graph = keep_shared_values(graph_of(weights.reshape(8, 64)), {})
    assert graph.ops[0].channel_scale == ((1.0,) * 8 if shared else ())
