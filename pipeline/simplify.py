"""The traced ONNX model made small and regular: onnxsim, then the passes of `canonical`.

What comes out has opset operators only, constants as initializers, a static shape for every value,
and no number that is not finite; anything else is an error here, before a file is written.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from edgefactor.errors import ModelError, UnsupportedOperatorError
from edgefactor.pipeline.passes.canonical import canonicalise
from edgefactor.pipeline.passes.onnx_graph import (
    OnnxGraph,
    infer_shapes,
    static_shapes,
    value_names,
)
from edgefactor.pipeline.passes.unroll_loops import MOST_ROUNDS, unroll_loops
from edgefactor.pipeline.quiet import quiet
from edgefactor.pipeline.trace import Source, TracedModel

_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_MAX_ELEMENTS = 1 << 28
_MAX_RANK = 8


def simplify(traced: TracedModel) -> TracedModel:
    """Simplifies a traced model.

    Returns:
        The model in canonical form, with the sources that its nodes still have.

    Raises:
        UnsupportedOperatorError: If it holds control flow or operators of other domains.
        ModelError: If it refers to files, a shape is not static or absurd, a constant is not
        finite,
            or the simplified model does not compute the same.
    """
    traced = _unrolled(traced)
    check_operators(traced)
    _check_files(traced.model)
    # Before anything is computed: a tensor of gigabytes would be allocated to be folded.
    check_shapes(TracedModel(model=infer_shapes(traced.model)), complete=False)
    simplified = infer_shapes(_run_onnxsim(_constants_to_initializers(traced.model)))
    check_shapes(TracedModel(model=simplified, sources=traced.sources))
    graph = OnnxGraph(simplified)
    canonicalise(graph)
    sources = _kept_sources(traced, graph.to_model())
    _name_weights(graph, sources)
    model = infer_shapes(graph.to_model())
    model.producer_name = "edgefactor"
    model.producer_version = ""
    result = TracedModel(model=model, sources=sources)
    check_operators(result)
    check_shapes(result)
    _check_constants(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ModelError(
            "The simplified ONNX model is not valid", found=str(error).strip().splitlines()[0]
        ) from error
    return result


def _unrolled(traced: TracedModel) -> TracedModel:
    """The model without loops of a fixed number of rounds; their nodes keep the loop's source."""
    model = unroll_loops(traced.model)
    if model is traced.model:
        return traced
    sources = dict(traced.sources)
    for node in traced.model.graph.node:
        found = next((sources[name] for name in node.output if name in sources), None)
        if node.op_type in ("Loop", "Scan") and found is not None:
            prefix = f"{node.name or node.output[0]}/"
            for name in value_names(model.graph.node):
                if name.startswith(prefix):
                    sources.setdefault(name, found)
    return replace(traced, model=model, sources=sources)


def check_operators(traced: TracedModel) -> None:
    """Refuses control flow, sequences and operators outside ONNX's own set.

    Raises:
        UnsupportedOperatorError: The first such node, with its place in the PyTorch source.
    """
    for node in traced.model.graph.node:
        foreign = node.domain not in ("", "ai.onnx")
        if not foreign and node.op_type not in _CONTROL_FLOW:
            continue
        source = traced.source_of(node)
        kind = f"{node.domain}::{node.op_type}" if foreign else node.op_type
        raise UnsupportedOperatorError(
            f"{kind} cannot be exported"
            + ("" if foreign else ": the path through the network must not depend on the data")
            + (
                f", and a loop has a constant number of rounds, at most {MOST_ROUNDS}"
                if node.op_type in ("Loop", "Scan")
                else ""
            ),
            where=f"node {node.name}" + (f", from {source}" if source else ""),
            found=kind,
            expected="standard ONNX operators without control flow",
            hint="Express it with layers of torch.nn."
            if foreign
            else "Unroll the loop, or decide outside of forward.",
        )


def check_shapes(traced: TracedModel, *, complete: bool = True) -> None:
    """Checks that every value has a static shape of a size that can be meant.

    Args:
        traced: The model, after shape inference.
        complete: Whether a value without a static shape is an error.

    Raises:
        ModelError: The first value that has not.
    """
    shapes = static_shapes(traced.model)
    graph = traced.model.graph
    sources = {
        name: traced.source_of(node) or node.name for node in graph.node for name in node.output
    }
    names = [value.name for value in graph.input] + list(value_names(graph.node))
    for name in names:
        shape = shapes.get(name)
        place = f"value {name}" + (f", from {sources[name]}" if sources.get(name) else "")
        if shape is None and not complete:
            continue
        if shape is None:
            raise ModelError(
                "A value of the model has no static shape",
                where=place,
                expected="sizes that do not depend on the data",
                hint="Avoid nonzero, masks as index, and sizes computed from values.",
            )
        if len(shape) > _MAX_RANK or min(shape, default=1) < 1 or math.prod(shape) > _MAX_ELEMENTS:
            raise ModelError(
                "A value of the model has an absurd shape",
                where=place,
                found=str(list(shape)),
                expected=f"at most {_MAX_RANK} axes, sizes from 1, {_MAX_ELEMENTS} elements in all",
            )


def _constants_to_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    kept = []
    for node in graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = graph.initializer.add()
            tensor.CopyFrom(value.t)
            tensor.name = node.output[0]
        else:
            kept.append(node)
    kept_copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(kept_copies)
    return result


def _run_onnxsim(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxsim

    try:
        with quiet(streams=True):
            simplified, same = onnxsim.simplify(model, check_n=1)
    except Exception as error:
        raise ModelError(
            "The ONNX model cannot be simplified",
            found=str(error).strip().splitlines()[0] if str(error).strip() else repr(error),
        ) from error
    if not same:
        raise ModelError(
            "The simplified ONNX model does not compute the same as the traced one",
            hint="Please report it with the model: onnxsim changed its meaning.",
        )
    return simplified  # type: ignore[no-any-return]


def _check_files(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location = next((e.value for e in tensor.external_data if e.key == "location"), "")
            raise ModelError(
                "The ONNX model keeps a tensor in another file",
                where=f"tensor {tensor.name}",
                found=location,
                hint="Save the model with its weights inside.",
            )


def _check_constants(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        # The bounds of an open Clip are the one place where infinity has a meaning.
        if array.dtype.kind == "f" and array.size > 1 and not np.isfinite(array).all():
            raise ModelError(
                "A constant of the model is NaN or infinite",
                where=f"tensor {tensor.name}",
                found=f"{int((~np.isfinite(array)).sum())} of {array.size} values",
                expected="finite numbers",
                hint="A batch norm with a variance below 0 does this too.",
            )


def _kept_sources(traced: TracedModel, model: onnx.ModelProto) -> dict[str, Source]:
    """Sources by output tensor; a node that a rewrite made has the source of what it leads to."""
    sources: dict[str, Source] = {}
    for node in reversed(model.graph.node):
        own = next((traced.sources[name] for name in node.output if name in traced.sources), None)
        if own is None:
            readers = (n for n in model.graph.node if set(n.input).intersection(node.output))
            own = next((sources[n.output[0]] for n in readers if n.output[0] in sources), None)
        if own is not None:
            sources.update(dict.fromkeys(node.output, own))
    return sources


def _name_weights(graph: OnnxGraph, sources: dict[str, Source]) -> None:
    """Gives weights and biases, and the modules in `sources`, their names in the PyTorch network.

    The name of a weight says best which layer it is: the exporter gives a convolution with a batch
    norm folded into it the batch norm's place.
    """
    read_by = Counter(name for node in graph.nodes for name in node.input)
    for node in graph.nodes:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        source = sources.get(node.output[0], Source())
        original = re.sub(r"(?:_T|_folded|_\d+)+$", "", node.input[1])
        module = original.removesuffix(".weight") if "." in original else source.module
        if not module or module.startswith("onnx::"):
            continue
        sources[node.output[0]] = replace(source, module=module)
        for position, kind in enumerate(("weight", "bias")[: len(node.input) - 1], start=1):
            old, new = node.input[position], f"{module}.{kind}"
            if old in graph.constants and read_by[old] == 1 and not read_by[new]:
                graph.constants[new] = graph.constants.pop(old)
                graph.shapes.pop(old, None)
                node.input[position] = new
                read_by[new] = 1
