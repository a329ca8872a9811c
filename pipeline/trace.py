"""PyTorch to ONNX, with the place in the PyTorch source that every node came from.

Modules and exported programs go through ``torch.onnx.export(dynamo=True)``, TorchScript through the
older exporter, which is the only one that takes it. The model that results has a batch of 1, no
metadata, and so no path and no date: the same network gives the same bytes.
"""

from __future__ import annotations

import io
import logging
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnx.inliner
import torch
from torch import Tensor

from edgefactor.errors import ModelError, UnsupportedOperatorError, missing_package
from edgefactor.export.ops.table import TYPED_SUFFIX
from edgefactor.pipeline.inputs.example import input_names
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.passes.explicit_padding import make_padding_explicit
from edgefactor.pipeline.passes.safe_softmax import make_softmax_safe
from edgefactor.pipeline.quiet import quiet
from edgefactor.pipeline.translations import TRANSLATIONS

OPSET = 18
_UNKNOWN_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in ([^\n]+)(?:\n\s+([^\n]+))?')
_SCRIPT_FRAME = re.compile(r"^(\S+\.py)\((\d+)\): (\S+)", re.MULTILINE)
#: What PyTorch runs attention with where no gradient is asked for.
_FAST_PATHS = ("_transformer_encoder_layer_fwd", "_native_multi_head_attention")
_SCOPE_KEY = "pkg.torch.onnx.name_scopes"
_STACK_KEY = "pkg.torch.onnx.stack_trace"
_TORCH_FOLDER = str(Path(torch.__file__).parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a node comes from.

    Attributes:
        place: ``file.py:line in function: code``; empty if it is not known.
        module: Path of the module in the network, e.g. ``features.0.1``; empty for the network.
    """

    place: str = ""
    module: str = ""

    def __str__(self) -> str:
        module = f"module {self.module}" if self.module else ""
        return ", ".join(part for part in (self.place, module) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedModel:
    """An ONNX model and where its nodes come from.

    Attributes:
        model: The model; every node, value and initializer is in its one graph.
        sources: For the output tensors of nodes, the place in the PyTorch code.
    """

    model: onnx.ModelProto
    sources: Mapping[str, Source] = field(default_factory=dict)

    def source_of(self, node: onnx.NodeProto) -> str:
        """``file.py:line in function: code, module path``; empty if it is not known."""
        return str(next((self.sources[name] for name in node.output if name in self.sources), ""))


def to_onnx(loaded: LoadedModel, example_inputs: Sequence[Tensor]) -> TracedModel:
    """Traces the model.

    Args:
        loaded: The model, in evaluation mode.
        example_inputs: Its inputs with batch 1; `example.choose_inputs` makes them.

    Returns:
        The ONNX model. Inputs are named as the parameters of ``forward``, the output ``output``, or
        ``output0``, ``output1`` and so on.

    Raises:
        ModelError: If PyTorch cannot trace or convert the model; with the last line of the cause.
    """
    names = input_names(loaded)
    try:
        with quiet(level=logging.ERROR, streams=True):
            if isinstance(loaded.program, torch.jit.ScriptModule):
                model = _trace_script(loaded.program, example_inputs, names)
            else:
                model = _trace_dynamo(loaded.program, example_inputs)
    except ModelError:
        raise
    except Exception as error:
        missing = _cause(error)
        if isinstance(missing, ModuleNotFoundError):
            raise missing_package(missing) from error
        if isinstance(missing, UnsupportedOperatorError):
            raise missing from error
        raise _failure(loaded, error) from error
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    _fix_shapes(model, example_inputs)
    make_padding_explicit(model)
    make_softmax_safe(model)
    _take_reals(model)
    sources = {
        name: source
        for node in model.graph.node
        if str(source := _source(node))
        for name in node.output
        if name
    }
    renamed = _rename_outputs(model)
    _strip(model)
    sources = {renamed.get(name, name): source for name, source in sources.items()}
    return TracedModel(model=model, sources=sources)


def _trace_dynamo(
    program: torch.nn.Module | torch.export.ExportedProgram, inputs: Sequence[Tensor]
) -> onnx.ModelProto:
    result = torch.onnx.export(
        _with_projections_written_out(program, tuple(inputs)),
        tuple(inputs),
        dynamo=True,
        opset_version=OPSET,
        verbose=False,
        custom_translation_table=dict(TRANSLATIONS),
    )
    if result is None:
        raise ModelError("The exporter of PyTorch returned nothing")
    return result.model_proto


def _with_projections_written_out(
    program: torch.nn.Module | torch.export.ExportedProgram, inputs: tuple[Tensor, ...]
) -> torch.nn.Module | torch.export.ExportedProgram:
    """The steps of LSTM layers with ``proj_size``, which the exporter takes for plain ones."""
    if isinstance(program, torch.nn.Module):
        layers = [part for part in program.modules() if isinstance(part, torch.nn.LSTM)]
        if not any(layer.proj_size for layer in layers):
            return program
        program = torch.export.export(program, inputs, strict=False)
    lstm = torch.ops.aten.lstm.input
    found = [node for node in program.graph.nodes if node.target is lstm]
    # A direction of a layer has 2 or 4 tensors (weights, biases), and one more with a projection.
    # The arguments are input, states, tensors, has_biases, layers, dropout, train, bidirectional.
    if not any(len(n.args[2]) // (n.args[4] * (1 + n.args[7])) % 2 for n in found):
        return program
    written_out: torch.export.ExportedProgram = program.run_decompositions(
        {lstm: torch.export.default_decompositions()[lstm]}
    )
    return written_out


def _trace_script(
    program: torch.jit.ScriptModule, inputs: Sequence[Tensor], names: Sequence[str]
) -> onnx.ModelProto:
    # A copy: exporting inlines the methods, and a second time the modules' names would be lost.
    fresh = torch.jit.load(io.BytesIO(program.save_to_buffer()))  # type: ignore[no-untyped-call]
    buffer = io.BytesIO()
    torch.onnx.export(
        fresh,
        tuple(inputs),
        buffer,  # type: ignore[arg-type]
        dynamo=False,
        opset_version=OPSET,
        input_names=list(names)[: len(inputs)],
        verbose=False,
    )
    model = onnx.load_from_string(buffer.getvalue())
    _number_values(model)
    return model


def _number_values(model: onnx.ModelProto) -> None:
    """Numbers the values without a name of their own in order.

    The older exporter counts on from one run of a script module to the next.
    """
    graph = model.graph
    order = [t.name for t in graph.initializer]
    order += [name for node in graph.node for name in (*node.input, *node.output)]
    loose = dict.fromkeys(name for name in order if re.fullmatch(r"\d+|onnx::\w+", name))
    renamed = {name: f"value_{index}" for index, name in enumerate(loose)}
    for node in graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = renamed.get(name, name)
    for item in (*graph.initializer, *graph.output, *graph.value_info):
        item.name = renamed.get(item.name, item.name)


def _cause(error: BaseException) -> BaseException:
    """The first of the exceptions that led to this one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _failure(loaded: LoadedModel, error: Exception) -> ModelError:
    cause = _cause(error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    frames = _FRAME.findall(str(error)) + _FRAME.findall(str(cause))
    own = [f for f in frames if not f[0].startswith(_TORCH_FOLDER)]
    place = f"{loaded.source}, {Path(own[-1][0]).name}:{own[-1][1]}" if own else loaded.source
    return ModelError(
        "PyTorch cannot turn the model into ONNX",
        where=place,
        found=f"{type(cause).__name__}: {lines[0][:300] if lines else 'no message'}",
        hint=_way_out(cause),
    )


def _way_out(cause: BaseException) -> str:
    """What to do about a failure."""
    unknown = _UNKNOWN_OPERATOR.search(str(cause))
    if unknown:
        return (
            f"PyTorch's ONNX exporter does not know {unknown[1]}: compute it with other operators."
        )
    if any(name in str(cause) for name in _FAST_PATHS):
        return (
            "Attention was traced in the form that PyTorch runs faster: save the model with "
            "torch.export, or call torch.backends.mha.set_fastpath_enabled(False) before it is "
            "traced."
        )
    if "data-dependent" in str(cause) or "GuardOnDataDependent" in str(cause):
        if _looks_at_a_mask(cause):
            return (
                "Say whether the masks are causal, tgt_is_causal=... or is_causal=..., so that "
                "PyTorch does not look at their values."
            )
        return "The path through forward must not depend on the values of tensors."
    return (
        "Check that torch.onnx.export(model, inputs, dynamo=True) works on it; code in forward "
        "that is not made of torch operations is the usual cause."
    )


def _looks_at_a_mask(cause: BaseException) -> bool:
    """Whether it is a Transformer's layer of PyTorch that wanted to know if its mask is causal."""
    frames = traceback.extract_tb(cause.__traceback__)
    return any(frame.name == "_detect_is_causal_mask" for frame in frames)


def _source(node: onnx.NodeProto) -> Source:
    metadata = {entry.key: entry.value for entry in node.metadata_props}
    place = ""
    frames = [f for f in _FRAME.findall(metadata.get(_STACK_KEY, ""))]
    own = [f for f in frames if not _is_library(f[0])]
    if own:
        file, line, function, code = own[-1]
        place = f"{Path(file).name}:{line} in {function}" + (f": {code.strip()}" if code else "")
    elif match := _SCRIPT_FRAME.search(node.doc_string):
        place = f"{Path(match[1]).name}:{match[2]} in {match[3]}"
    scopes = [s for s in re.findall(r"'([^']*)'", metadata.get(_SCOPE_KEY, "")) if s]
    # The last scope is the operator, the one before it the module; each holds the path to it.
    module = scopes[-2] if len(scopes) > 1 else ""
    if not module and node.name.startswith("/"):
        module = ".".join(node.name.strip("/").split("/")[:-1])
    return Source(place=place, module=module)


def _is_library(file: str) -> bool:
    return file.startswith((_TORCH_FOLDER, "<")) or "/site-packages/torch/" in file


def _fix_shapes(model: onnx.ModelProto, inputs: Sequence[Tensor]) -> None:
    """Writes the static shapes of `inputs` over symbolic ones (a .pt2 with a dynamic batch)."""
    dynamic = False
    for value, tensor in zip(model.graph.input, inputs, strict=True):
        for dim, size in zip(value.type.tensor_type.shape.dim, tensor.shape, strict=True):
            dynamic |= dim.HasField("dim_param")
            dim.dim_value = size
    if dynamic:
        del model.graph.value_info[:]
        for value in model.graph.output:
            for dim in value.type.tensor_type.shape.dim:
                if dim.HasField("dim_param"):
                    dim.Clear()


def _take_reals(model: onnx.ModelProto) -> None:
    """Makes every input float: indices are whole numbers, and the device has their codes."""
    for value in model.graph.input:
        kind = value.type.tensor_type.elem_type
        if kind == onnx.TensorProto.FLOAT:
            continue
        typed = value.name + TYPED_SUFFIX
        for node in model.graph.node:
            for position, name in enumerate(node.input):
                if name == value.name:
                    node.input[position] = typed
        cast = onnx.helper.make_node("Cast", [value.name], [typed], name=typed, to=kind)
        model.graph.node.insert(0, cast)
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def _rename_outputs(model: onnx.ModelProto) -> dict[str, str]:
    graph = model.graph
    taken = {value.name for value in graph.input} | {i.name for i in graph.initializer}
    produced = {name for node in graph.node for name in node.output}
    mapping: dict[str, str] = {}
    for index, value in enumerate(graph.output):
        name = "output" if len(graph.output) == 1 else f"output{index}"
        while name in taken or (name in produced and name != value.name):
            name += "_"
        # An input handed through, or a tensor returned twice, keeps its name.
        if value.name not in taken and value.name not in mapping:
            mapping[value.name] = name
    for node in graph.node:
        for field_names in (node.input, node.output):
            for position, name in enumerate(field_names):
                field_names[position] = mapping.get(name, name)
    for info in (*graph.output, *graph.value_info):
        info.name = mapping.get(info.name, info.name)
    return mapping


def _strip(model: onnx.ModelProto) -> None:
    model.producer_name = "edgefactor"
    model.producer_version = ""
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    graph.name = "model"
    graph.doc_string = ""
    del graph.metadata_props[:]
    described: Iterator[onnx.ValueInfoProto | onnx.TensorProto | onnx.NodeProto] = iter(
        (*graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.node)
    )
    for item in described:
        item.doc_string = ""
        del item.metadata_props[:]
