"""Every operator's example on emulated cores, in 8 bits and in 16, exact in every tensor.

The examples of docs/operators.md stand side by side in one image a core: M0+ (plain C), M4 (SMLAD),
M55 (vectors). What they do not reach (odd sizes, all codes) is tested operator by operator.
"""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export import ops
from edgefactor.export.ir import Graph
from tests.export.ops.every_runtime import Codes, check_on_board
from tests.zoo.networks import sequences
from tests.zoo.networks.network import Network
from tests.zoo.operator_table import (
    EXAMPLES,
    Example,
    float_example,
    lowered_example,
    quantized_example,
    widened_example,
)
from tests.zoo.side_by_side import all_codes, side_by_side


def _table(rows: int) -> Example:
    """Rows of a table by the whole part of a value."""

    def add(net: Network, x: str, z: str) -> str:
        found = net.node("Cast", [net.node("Abs", [x], net.shape(x))], net.shape(x), to=7)
        return net.node("Gather", [net.normal(rows, 3), found], (*net.shape(x), 3))

    return add


def _resized(**attributes: str) -> Example:
    def add(net: Network, x: str, z: str) -> str:
        sizes = net.constant(np.array([1, 4, 11, 9], np.int64))
        return net.node("Resize", [x, "", "", sizes], (1, 4, 11, 9), mode="linear", **attributes)

    return add


def _with_state(net: Network, x: str, z: str) -> str:
    """An LSTM in both directions from states that are no zeros; all results and the last ones."""
    weights = [net.normal(2, 12, 4), net.normal(2, 12, 3), net.normal(2, 24)]
    first = [net.constant(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 1, 3))] * 2
    shapes = [(5, 2, 1, 3), (2, 1, 3), (2, 1, 3)]
    operands = [x, *weights, "", *first]
    return net.node("LSTM", operands, *shapes, hidden_size=3, direction="bidirectional")


def _loop(net: Network, x: str, z: str) -> str:
    sequences.recurrence(net, x)
    return net.nodes[-1].output[0]


#: What no operator of ONNX stands for, with the shape of its input.
FURTHER: dict[str, tuple[tuple[int, ...], Example]] = {
    "short table": ((1, 4, 5), _table(9)),
    "long table": ((1, 4, 5), _table(300)),
    "bilinear, half pixels": ((1, 4, 6, 6), _resized()),
    "bilinear, corners": (
        (1, 4, 6, 6), _resized(coordinate_transformation_mode="align_corners"),
    ),
    "states": ((5, 1, 4), _with_state),
    "recurrence": ((1, 6, 5), _loop),
}  # fmt: skip
#: Families that only passes make, of networks larger than an example.
_MADE_BY_PASSES = {"Shift"}


def examples() -> list[Graph]:
    found = []
    floats = [float_example(kind) for kind in EXAMPLES]
    floats += [lowered_example(*further) for further in FURTHER.values()]
    for example in floats:
        able, wide = widened_example(example)
        found.append(quantized_example(example))
        if able:
            found.append(wide)
    return [graph for graph in found if graph.ops]


def codes_of(graph: Graph, generator: np.random.Generator) -> dict[str, Codes]:
    return {
        port.tensor: generator.integers(-128, 128, graph.tensors[port.tensor].shape, np.int8)
        for port in graph.inputs
    }


def test_every_family_has_an_example() -> None:
    found = {type(op) for graph in examples() for op in graph.ops}
    missing = {family.op.__name__ for family in ops.FAMILIES if family.op not in found}
    assert missing <= _MADE_BY_PASSES


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_exact_on_the_board(target: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    graphs = examples()
    codes = [codes_of(graph, generator) for graph in graphs]
    check_on_board(side_by_side(graphs), all_codes(codes), tmp_path, target)
