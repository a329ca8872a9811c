"""Small random networks of all claimed operators, as ONNX models.

Several inputs and outputs, branches that meet again, odd sizes, tensors that several operators
read, constants of every broadcast shape, any order of axes, loops, token ids. What is drawn comes
from hypothesis, which can shrink it, or from a seed.
"""

from collections.abc import Callable

import numpy as np
import onnx

from tests.zoo.networks import axes, maps, sequences, values
from tests.zoo.networks.network import Draw, Network

#: What may follow a value, by its rank.
STEPS: dict[int, tuple[Callable[[Network, str], None], ...]] = {}
_ANY = (
    values.dense, values.product, values.table, values.unary, values.unary_with_numbers,
    values.softmax, values.reduce, values.binary, values.binary, values.where,
    values.with_constant, values.places, values.norm,
    axes.transpose, axes.reshape, axes.slice_, axes.take, axes.split, axes.concat, axes.pad,
    sequences.running_sum, sequences.embedding,
)  # fmt: skip
STEPS[2] = _ANY
_MAPS = (
    *_ANY, maps.conv, maps.conv, maps.conv_transpose, maps.pool, maps.batch_norm, maps.global_pool
)  # fmt: skip
STEPS[3] = (*_MAPS, *3 * [sequences.recurrent], *2 * [sequences.recurrence])
STEPS[4] = (*_MAPS, maps.conv, maps.conv, maps.resize, maps.blocks)


def random_network(draw: Draw, seed: int) -> onnx.ModelProto:
    """A model of one to three inputs and one to eight steps; what nothing reads is an output."""
    net = Network(draw, np.random.default_rng(seed))
    for index in range(draw.integer(1, 3)):
        rank = net.choose([4, 4, 3, 2])
        shape = (1, *(draw.integer(1, 7) for _ in range(rank - 1)))
        if index and net.flag():
            shape = net.shape(net.inputs[0])
        net.inputs.append(f"x{index}")
        net.shapes[f"x{index}"] = shape
    if draw.integer(0, 3) == 3:
        sequences.tokens(net)
    for _ in range(draw.integer(1, 8)):
        ready = [name for name, shape in net.numbers.items() if 2 <= len(shape) <= 4]
        # The newest values more often, so that networks are deep as well as wide.
        value = net.choose([*ready, *ready[-2:], ready[-1]])
        net.choose(STEPS[len(net.shape(value))])(net, value)
    if not net.nodes:
        net.node("Relu", [net.inputs[0]], net.shape(net.inputs[0]))
    read = {name for node in net.nodes for name in node.input}
    computed = [n for node in net.nodes for n in node.output if n not in net.truths]
    outputs = [name for name in computed if name not in read or draw.integer(0, 5) == 5]
    net.inputs = [name for name in net.inputs if name in read]
    return net.model(outputs)
