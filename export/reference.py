"""Runs an integer Graph in NumPy: the definition that every other runtime is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edgefactor.export import ops
from edgefactor.export.ir import Array, Graph, Tensor

#: int8 or int16, as the tensor says.
Codes = NDArray[Any]


def run_reference(graph: Graph, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
    """Compute every activation for one sample.

    Args:
        graph: int8 Graph.
        inputs: Input tensor name -> codes in the Graph's layout and shape.

    Returns:
        Tensor name -> codes, inputs included.
    """
    values: dict[str, Array] = {
        name: tensor.data for name, tensor in graph.tensors.items() if tensor.data is not None
    }
    values.update(inputs)
    results = dict(inputs)
    for op in graph.ops:
        tensors = [graph.tensors[name] for name in op.inputs]
        output = graph.tensors[op.outputs[0]]
        codes = ops.family_of(op).reference(op, tensors, output, [values[n] for n in op.inputs])
        values[output.name] = results[output.name] = codes
    return results


def find_fatal(graph: Graph, values: Mapping[str, Codes]) -> str:
    """Why LiteRT's reference kernels or TFLM would end the process on these values, or "".

    Args:
        graph: int8 Graph.
        values: Every activation by tensor name, ``[n, *tensor shape]``.
    """
    for op in graph.ops:
        tensors = [graph.tensors[name] for name in op.inputs]
        found = [values[t.name] if t.data is None else t.data for t in tensors]
        reason = ops.family_of(op).fatal(op, tensors, found)
        if reason:
            return reason
    return ""


def run_samples(graph: Graph, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
    """Compute every activation for ``n`` samples.

    For a network with states the samples are steps of one sequence: its states begin as zeros, and
    each sample gets what the one before returned.

    Args:
        graph: int8 Graph.
        inputs: Input tensor name -> codes ``[n, *tensor shape]``; those of states are not looked
            at.

    Returns:
        Tensor name -> codes ``[n, *tensor shape]``, inputs included.
    """
    count = len(next(iter(inputs.values())))
    states = {name: zero_codes(graph.tensors[name]) for name, _ in graph.state_tensors}
    rows = []
    # The products are small: threads of the BLAS cost more than they give, on a busy machine a
    # hundred times as much.
    with threadpool_limits(1):
        for index in range(count):
            given = {name: codes[index] for name, codes in inputs.items()}
            rows.append(run_reference(graph, {**given, **states}))
            states = {
                takes: rows[-1][returns].reshape(graph.tensors[takes].shape)
                for takes, returns in graph.state_tensors
            }
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def zero_codes(tensor: Tensor) -> Codes:
    """The codes that stand for zeros."""
    return np.full(tensor.shape, tensor.quant.zero_point, str(tensor.dtype))
