"""Between the arrays of the PyTorch model and the codes of the int8 Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.ir import Graph

#: int8; states may be int16.
Codes = NDArray[Any]
Reals = NDArray[np.float32]


def encode_inputs(graph: Graph, inputs: Sequence[Reals]) -> dict[str, Codes]:
    """Real inputs ``[n, ...]`` in PyTorch's layout -> codes ``[n, *Graph shape]``, by tensor."""
    codes = {}
    for port, array in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[port.tensor]
        stored = port.to_graph(array, tensor.shape).reshape(len(array), *tensor.shape)
        codes[tensor.name] = numerics.quantize(stored, tensor.quant, tensor.dtype)
    return codes


def decode_outputs(graph: Graph, values: Mapping[str, Codes]) -> tuple[Reals, ...]:
    """Codes ``[n, ...]`` of the output tensors -> real outputs ``[n, ...]`` in PyTorch's layout."""
    return tuple(
        port.from_graph(
            numerics.dequantize(values[port.tensor], graph.tensors[port.tensor].quant)
        ).astype(np.float32)
        for port in graph.outputs
    )


def input_rows(graph: Graph, codes: Mapping[str, Codes]) -> Codes:
    """All inputs of a sample one after the other, as the C harness reads them: ``[n, bytes]``."""
    parts = [
        np.ascontiguousarray(codes[port.tensor].reshape(len(codes[port.tensor]), -1)).view(np.int8)
        for port in graph.inputs
    ]
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def split_outputs(graph: Graph, rows: Codes) -> dict[str, Codes]:
    """The reverse for outputs: ``[n, bytes]`` -> codes by tensor name."""
    result, start = {}, 0
    for port in graph.outputs:
        tensor = graph.tensors[port.tensor]
        part = np.ascontiguousarray(rows[:, start : start + tensor.bytes])
        result[tensor.name] = part.view(str(tensor.dtype)).reshape(len(rows), *tensor.shape)
        start += tensor.bytes
    return result
