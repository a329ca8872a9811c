"""What is not a legal Graph, and that the message says which step made it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgefactor.errors import ModelError
from edgefactor.export.ir import DType, Graph, Quantization, constant
from edgefactor.export.validate import validate
from tests.export.graphs import everything


def with_tensor(name: str, **changes: object) -> Callable[[Graph], Graph]:
    def change(graph: Graph) -> Graph:
        tensor = replace(graph.tensors[name], **changes)  # type: ignore[arg-type]
        return replace(graph, tensors={**graph.tensors, name: tensor})

    return change


def with_scale(scale: float) -> Callable[[Graph], Graph]:
    return with_tensor("add", quantization=Quantization(scales=(scale,)))


def with_wide(name: str, scale: float = 0.5) -> Callable[[Graph], Graph]:
    return with_tensor(name, dtype=DType.INT16, quantization=Quantization(scales=(scale,)))


def without(name: str) -> Callable[[Graph], Graph]:
    return lambda graph: replace(
        graph, tensors={n: t for n, t in graph.tensors.items() if n != name}
    )


#: What is wrong -> (change, a word of the message).
FAULTS: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "order": (lambda g: replace(g, ops=g.ops[::-1]), "before it is defined"),
    "twice": (lambda g: replace(g, ops=(*g.ops, g.ops[0])), "defined twice"),
    "shape": (with_tensor("add", shape=(1, 4, 4, 7)), "shape"),
    "float": (with_tensor("add", dtype=DType.FLOAT32), "still float"),
    "no scale": (with_tensor("add", quantization=None), "no scale"),
    "scale of 0": (with_scale(0.0), "not positive"),
    "scale below 0": (with_scale(-1.0), "not positive"),
    "scale that is no number": (with_scale(float("nan")), "not positive"),
    "scale of 64 bits": (with_scale(0.1), "no float32"),
    "zero point of int16": (with_tensor("add", dtype=DType.INT16), "with a zero point"),
    "scale of int16": (with_wide("add", 0.75), "no power of two"),
    "two widths": (with_wide("add"), "activations of int16 and int8"),
    "tensor missing": (without("add"), "no tensor"),
    "output of nothing": (lambda g: replace(g, ops=g.ops[:-1]), "nothing defines it"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str) -> None:
    change, word = FAULTS[name]
    with pytest.raises(ModelError) as caught:
        validate(change(everything()), "some pass", quantized=True)
    assert "some pass" in caught.value.message
    assert word in caught.value.message


def test_a_legal_graph_passes() -> None:
    graph = everything()
    assert validate(graph, "some pass", quantized=True) is graph


def test_constants_cannot_be_written() -> None:
    data = np.zeros(3, np.int8)
    tensor = constant("c", data)
    data[0] = 1
    assert tensor.values[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        tensor.values[0] = 1  # type: ignore[index]
