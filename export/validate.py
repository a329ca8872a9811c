"""What a legal Graph is; run after every pass."""

from __future__ import annotations

import numpy as np

from edgefactor.errors import ModelError
from edgefactor.export import ops
from edgefactor.export.ir import DType, Graph, Op
from edgefactor.export.numerics import float32


def _fail(graph: Graph, step: str, message: str, where: str) -> None:
    raise ModelError(
        f"The network is not consistent after step '{step}': {message}.",
        where=f"{where} of {graph.name}",
        hint="this is a fault of edgefactor; please report it with the model",
    )


def validate(graph: Graph, step: str, *, quantized: bool = False) -> Graph:
    """Check names, order, shapes and, for an int8 Graph, types and scales; return the Graph.

    Args:
        graph: The Graph to check.
        step: The pass that made it, for the message.
        quantized: Whether no float tensor may be left.

    Raises:
        ModelError: The Graph breaks a rule; names the pass, the tensor or the operator.
    """
    defined = {port.tensor for port in graph.inputs}
    defined.update(name for name, tensor in graph.tensors.items() if tensor.data is not None)
    for op in graph.ops:
        for name in (*op.inputs, *op.outputs):
            if name not in graph.tensors:
                _fail(graph, step, f"there is no tensor {name}", f"operator {op.name}")
        for name in op.inputs:
            if name not in defined:
                _fail(graph, step, f"{name} is read before it is defined", f"operator {op.name}")
        inputs = [graph.tensors[name] for name in op.inputs]
        shape = ops.family_of(op).output_shape(op, inputs)
        found = graph.tensors[op.outputs[0]].shape
        if tuple(shape) != found:
            _fail(graph, step, f"shape {found} where {tuple(shape)} follows", f"operator {op.name}")
        for name in op.outputs:
            if name in defined:
                _fail(graph, step, f"{name} is defined twice", f"operator {op.name}")
            defined.add(name)
    for port in graph.outputs:
        if port.tensor not in defined:
            _fail(graph, step, "nothing defines it", f"output {port.name}")
    if quantized:
        _check_integers(graph, step)
        for op in graph.ops:
            _check_widths(graph, step, op)
    return graph


def _check_widths(graph: Graph, step: str, op: Op) -> None:
    """All activations of an operator have one type, which its family can compute.

    But for inputs of which it says the type, such as conditions.
    """
    family = ops.family_of(op)
    found = {graph.tensors[name].dtype for name in op.outputs}
    for index, name in enumerate(op.inputs):
        tensor, asked = graph.tensors[name], family.input_width(op, index)
        if tensor.data is None and asked is None:
            found.add(tensor.dtype)
        elif tensor.data is None and asked is not tensor.dtype:
            _fail(graph, step, f"{name} is {tensor.dtype}, not {asked}", f"operator {op.name}")
    words = " and ".join(sorted(found))
    if not found <= set(family.widths(op)):
        _fail(graph, step, f"it has activations of {words}", f"operator {op.name}")
    if len(found) > 1 and not family.mixes_widths:
        _fail(graph, step, f"it mixes activations of {words}", f"operator {op.name}")


def _check_integers(graph: Graph, step: str) -> None:
    for name, tensor in graph.tensors.items():
        if tensor.dtype is DType.FLOAT32:
            _fail(graph, step, "it is still float", f"tensor {name}")
        if tensor.quantization is None:
            _fail(graph, step, "it has no scale", f"tensor {name}")
        if any(not np.isfinite(s) or s <= 0 for s in tensor.quant.scales):
            _fail(graph, step, "it has a scale that is not positive", f"tensor {name}")
        if any(s != float32(s) for s in tensor.quant.scales):
            _fail(graph, step, "it has a scale that is no float32", f"tensor {name}")
        if tensor.dtype is DType.INT16 and tensor.quant.zero_point:
            _fail(graph, step, "it is int16 with a zero point", f"tensor {name}")
        if tensor.dtype is DType.INT16 and np.frexp(tensor.quant.scale)[0] != 0.5:
            _fail(graph, step, "it is int16 at no power of two", f"tensor {name}")
