"""Many int8 Graphs as one, so that each runtime starts and each compiler runs once for all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.ir import Graph, Port

Codes = NDArray[np.int8]


def side_by_side(graphs: Sequence[Graph]) -> Graph:
    """One Graph with the tensors and operators of all, named ``n0.x``, ``n1.x`` and so on."""
    tensors, ops = {}, []
    inputs: list[Port] = []
    outputs: list[Port] = []
    for index, graph in enumerate(graphs):
        for name, tensor in graph.tensors.items():
            tensors[prefixed(index, name)] = replace(tensor, name=prefixed(index, name))
        for op in graph.ops:
            ops.append(
                replace(
                    op,
                    name=prefixed(index, op.name),
                    inputs=tuple(prefixed(index, name) for name in op.inputs),
                    outputs=tuple(prefixed(index, name) for name in op.outputs),
                )
            )
        inputs += [_renamed(port, index) for port in graph.inputs]
        outputs += [_renamed(port, index) for port in graph.outputs]
    return Graph(
        name="many",
        tensors=tensors,
        ops=tuple(ops),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
    )


def prefixed(index: int, name: str) -> str:
    """The name that a tensor or operator of the ``index``-th Graph gets."""
    return f"n{index}.{name}"


def all_codes(codes: Sequence[Mapping[str, Codes]]) -> dict[str, Codes]:
    """The inputs of all Graphs under their new names."""
    return {
        prefixed(index, name): array
        for index, arrays in enumerate(codes)
        for name, array in arrays.items()
    }


def _renamed(port: Port, index: int) -> Port:
    return replace(port, tensor=prefixed(index, port.tensor), name=prefixed(index, port.name))
