"""The Graph as a file: JSON with constants in base64, so that a bundle can be checked again later.

No pickle, no date; the same Graph gives the same bytes.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import numpy as np

from edgefactor.errors import ModelError
from edgefactor.export import ops
from edgefactor.export.ir import DType, Graph, Op, Port, Quantization, State, Tensor, constant

FORMAT = "edgefactor-graph"
VERSION = 1


def _tensor_to_dict(tensor: Tensor) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype),
    }
    if tensor.quantization is not None:
        entry["quantization"] = dataclasses.asdict(tensor.quantization)
    if tensor.data is not None:
        raw = np.ascontiguousarray(tensor.data)
        little_endian = raw.astype(raw.dtype.newbyteorder("<"))
        entry["data"] = base64.b64encode(little_endian.tobytes()).decode()
    return entry


def _tensor_from_dict(entry: dict[str, Any]) -> Tensor:
    quantization = None
    if "quantization" in entry:
        fields = entry["quantization"]
        quantization = Quantization(
            scales=tuple(fields["scales"]), zero_point=fields["zero_point"], axis=fields["axis"]
        )
    dtype = DType(entry["dtype"])
    if "data" in entry:
        flat = np.frombuffer(
            base64.b64decode(entry["data"]), np.dtype(str(dtype)).newbyteorder("<")
        )
        return constant(
            entry["name"], flat.astype(str(dtype)).reshape(entry["shape"]), quantization
        )
    return Tensor(
        name=entry["name"], shape=tuple(entry["shape"]), dtype=dtype, quantization=quantization
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def to_json(graph: Graph) -> str:
    """Write a Graph as text."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": graph.name,
        "metadata": dict(graph.metadata),
        "inputs": [dataclasses.asdict(port) for port in graph.inputs],
        "outputs": [dataclasses.asdict(port) for port in graph.outputs],
        "states": [dataclasses.asdict(state) for state in graph.states],
        "ops": [{"type": type(op).__name__, **dataclasses.asdict(op)} for op in graph.ops],
        "tensors": [_tensor_to_dict(tensor) for tensor in graph.tensors.values()],
    }
    return json.dumps(document, indent=1) + "\n"


def from_json(text: str, where: str) -> Graph:
    """Read a Graph back.

    Args:
        text: What ``to_json`` wrote.
        where: The file's name, for errors.

    Raises:
        ModelError: The text is not a Graph of a version that this release reads.
    """
    try:
        document = json.loads(text)
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise KeyError("format")
        graph_ops = []
        for entry in document["ops"]:
            fields = {key: _tuples(value) for key, value in entry.items() if key != "type"}
            graph_ops.append(_op(entry["type"], fields))
        tensors = {tensor["name"]: _tensor_from_dict(tensor) for tensor in document["tensors"]}
        graph = Graph(
            name=document["name"],
            tensors=tensors,
            ops=tuple(graph_ops),
            inputs=tuple(Port(**_port(entry)) for entry in document["inputs"]),
            outputs=tuple(Port(**_port(entry)) for entry in document["outputs"]),
            states=tuple(State(**entry) for entry in document["states"]),
            metadata=document["metadata"],
        )
        _require_tensors(graph)
        return graph
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            "The file does not hold a network of this version of edgefactor.",
            where=where,
            found=f"{type(error).__name__}: {error}",
            expected=f"format {FORMAT}, version {VERSION}",
            hint="export the model again with this version",
        ) from error


def _require_tensors(graph: Graph) -> None:
    """Raise a KeyError if a port or an operator names a tensor that is not there."""
    named = {port.tensor for port in (*graph.inputs, *graph.outputs)}
    for op in graph.ops:
        named.update((*op.inputs, *op.outputs))
    for name in sorted(named - graph.tensors.keys()):
        raise KeyError(f"no tensor {name}")


def _port(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: _tuples(value) for key, value in entry.items()}


def _op(kind: str, fields: dict[str, Any]) -> Op:
    return ops.OP_TYPES[kind](**fields)
