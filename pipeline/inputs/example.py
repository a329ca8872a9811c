"""Example inputs for tracing: their shapes, where they come from, and that the model takes them."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgefactor.errors import ModelError, OptionError
from edgefactor.pipeline.config import InputShape
from edgefactor.pipeline.inputs.data import Shape, least_index
from edgefactor.pipeline.load import LoadedModel

_SEED = 0
#: What PyTorch says of a float tensor where an index must be.
_WANTS_INDICES = ("scalar types: Long, Int", "must be long, int, byte or bool", "bitwise_not")
#: Inputs for whose types all choices are tried.
_MOST_TRIED = 4


def input_names(loaded: LoadedModel) -> tuple[str, ...]:
    """The names of the parameters of ``forward`` that must be given."""
    forward = loaded.module.forward
    if isinstance(loaded.program, torch.jit.ScriptModule):
        arguments = getattr(loaded.program.forward, "schema").arguments[1:]  # noqa: B009
        return tuple(_identifier(a.name) for a in arguments if not a.has_default_value())
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return ("x",)
    fixed = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in fixed and p.default is p.empty)


def choose_inputs(
    loaded: LoadedModel,
    shapes: Sequence[InputShape] = (),
    data_shapes: Sequence[Shape] | None = None,
) -> tuple[Tensor, ...]:
    """Inputs of batch 1 to trace the model with.

    Args:
        loaded: The model.
        shapes: What ``--input-shape`` said; used first.
        data_shapes: Shapes of the calibration data; used where the model's file carries no inputs.

    Returns:
        Seeded random tensors of the right shapes, in the order of ``forward``: float32, or of whole
        numbers or truth values for an input that the model takes as such.

    Raises:
        OptionError: If `shapes` does not fit the model's inputs.
        ModelError: If nothing says which shape the inputs have.
    """
    if shapes:
        chosen = _ordered(loaded, shapes)
    elif loaded.example_inputs is not None:
        chosen = tuple((1, *t.shape[1:]) if t.ndim else () for t in loaded.example_inputs)
    elif data_shapes is not None:
        chosen = tuple(data_shapes)
    else:
        raise ModelError(
            "The shape of the model's input is not known",
            where=loaded.source,
            found=f"inputs {', '.join(input_names(loaded))}; {first_layer(loaded)}",
            hint="Give it with the batch first, e.g. --input-shape 1,3,32,32, or give data.",
        )
    generator = torch.Generator().manual_seed(_SEED)
    reals = [torch.randn(shape, generator=generator) for shape in chosen]
    inputs = [
        real if dtype.is_floating_point else torch.zeros(real.shape, dtype=dtype)
        for dtype, real in zip(_types(loaded, reals), reals, strict=True)
    ]
    limits = index_limits(loaded, inputs)
    return tuple(
        torch.randint(least_index(limit), limit, tensor.shape, generator=generator).to(tensor.dtype)
        if limit
        else tensor
        for limit, tensor in zip(limits, inputs, strict=True)
    )


def index_limits(loaded: LoadedModel, inputs: Sequence[Tensor]) -> tuple[int, ...]:
    """For each input of ``choose_inputs`` the limit of its whole numbers; 0 for real ones.

    Indices below it are valid in every embedding of the model. Of what else is whole no more is
    known than the numbers that the model's file carries.
    """
    tables = list(_table_rows(loaded))
    carried = loaded.example_inputs or ()
    named = _rows_of_inputs(loaded)
    limits = []
    for position, tensor in enumerate(inputs):
        own = [int(carried[position].max()) + 1] if len(carried) == len(inputs) else []
        found = named.get(position) or min(tables or own, default=1)
        limit = 2 if tensor.dtype is torch.bool else max(found, 1)
        limits.append(0 if tensor.is_floating_point() else limit)
    return tuple(limits)


def _table_rows(loaded: LoadedModel) -> Iterator[int]:
    """The lengths of the tables that the model chooses rows of."""
    for module in loaded.module.modules():
        # A layer of TorchScript has the name of its class beside it.
        kind = getattr(module, "original_name", type(module).__name__)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) or kind == "Embedding":
            weight = module.weight
            if isinstance(weight, Tensor):
                yield int(weight.shape[0])


def _rows_of_inputs(loaded: LoadedModel) -> dict[int, int]:
    """Of an exported program, the inputs that choose rows of a table, and its length."""
    if not isinstance(loaded.program, torch.export.ExportedProgram):
        return {}
    names = list(loaded.program.graph_signature.user_inputs)
    found: dict[int, int] = {}
    for node in loaded.program.graph.nodes:
        if node.target is not torch.ops.aten.embedding.default:
            continue
        index = node.args[1]
        while index.op == "call_function" and isinstance(index.args[0], torch.fx.Node):
            index = index.args[0]
        if index.name in names:
            rows = int(node.args[0].meta["val"].shape[0])
            place = names.index(index.name)
            found[place] = min(rows, found.get(place, rows))
    return found


def _types(loaded: LoadedModel, reals: Sequence[Tensor]) -> tuple[torch.dtype, ...]:
    """Real inputs, indices, or truth values: as the model's file says, or as an attempt shows."""
    carried = loaded.example_inputs
    if carried is not None and len(carried) == len(reals):
        return tuple(torch.float32 if t.is_floating_point() else t.dtype for t in carried)
    nothing = (torch.float32,) * len(reals)
    if _refused(loaded, reals) not in _WANTS_INDICES:
        return nothing
    kinds = (torch.float32, torch.int64, torch.bool)
    # Ones, as 0 is often padding, and false, as what is true is often hidden.
    for types in itertools.product(
        kinds[: 3 if len(reals) <= _MOST_TRIED else 2], repeat=len(reals)
    ):
        inputs = [
            real
            if dtype.is_floating_point
            else torch.full(real.shape, dtype is torch.int64, dtype=dtype)
            for dtype, real in zip(types, reals, strict=True)
        ]
        if types != nothing and not _refused(loaded, inputs):
            return types
    return nothing


def _refused(loaded: LoadedModel, inputs: Sequence[Tensor]) -> str:
    """Why the model does not take inputs; empty if it does."""
    try:
        with torch.no_grad():
            loaded.module(*inputs)
    except Exception as error:
        wanted = (word for word in _WANTS_INDICES if word in str(error))
        return next(wanted, type(error).__name__)
    return ""


def try_model(loaded: LoadedModel, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Runs the model once.

    Returns:
        Its outputs, flattened in order.

    Raises:
        ModelError: If it does not take the inputs (the message says what its first layer takes), or
            returns something else than float tensors, or not a batch of one, or NaN.
    """
    found = ", ".join(str(list(tensor.shape)) for tensor in inputs)
    try:
        with torch.no_grad():
            result = loaded.module(*inputs)
    except Exception as error:
        raise ModelError(
            "The model does not take inputs of this shape",
            where=loaded.source,
            found=f"{found}: {_cause(error)}",
            expected=first_layer(loaded),
            hint=_batch_hint(loaded, inputs)
            or _layout_hint(loaded, inputs)
            or "Correct --input-shape, or the layout of the data.",
        ) from error
    outputs = tuple(_flatten(result))
    if not outputs or not all(isinstance(o, Tensor) and not o.is_complex() for o in outputs):
        raise ModelError(
            "The model returns something else than tensors of real numbers",
            where=loaded.source,
            found=", ".join(_kind(output) for output in outputs) or "nothing",
            hint="Return the tensors alone from forward.",
        )
    if any(not torch.isfinite(output).all() for output in outputs):
        raise ModelError(
            "The model's output is NaN or infinite for a normally distributed input",
            where=loaded.source,
            hint="Check the model for divisions by zero, logarithms and exponentials, and for "
            "attention that a mask leaves nothing to see.",
        )
    return outputs


def first_layer(loaded: LoadedModel) -> str:
    """What the first layer with weights takes, in words, e.g. ``Conv2d takes [N, 3, H, W]``."""
    if not isinstance(loaded.program, nn.Module):
        shapes = [list(tensor.shape) for tensor in loaded.example_inputs or ()]
        return f"it was exported with {', '.join(map(str, shapes))}" if shapes else "any shape"
    for name, module in loaded.program.named_modules():
        kind = getattr(module, "original_name", type(module).__name__)
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor):
            continue
        place = f"{kind} ({name})" if name else kind
        if kind.startswith("Conv") and weight.ndim in (3, 4, 5):
            channels = weight.shape[1] * int(getattr(module, "groups", 1))
            axes = {3: "L", 4: "H, W", 5: "D, H, W"}[weight.ndim]
            return f"its first layer {place} takes [N, {channels}, {axes}]"
        if kind == "Linear":
            return f"its first layer {place} takes [..., {weight.shape[1]}]"
        if kind.startswith("BatchNorm"):
            axes = ", H, W" if kind.endswith("2d") else ""
            return f"its first layer {place} takes [N, {weight.shape[0]}{axes}]"
    return "its layers do not say which shape they take"


def _ordered(loaded: LoadedModel, shapes: Sequence[InputShape]) -> tuple[Shape, ...]:
    names = input_names(loaded)
    for shape in shapes:
        if shape.dims[0] != 1:
            raise OptionError(
                "The batch size must be 1: a microcontroller computes one inference at a time",
                where="--input-shape",
                found=",".join(map(str, shape.dims)),
                expected="1 first, for the batch, then the sizes of one input",
                hint="A state of several layers comes with the batch first too: transpose it in "
                "forward.",
            )
        if shape.name and shape.name not in names:
            raise OptionError(
                "The model has no such input",
                where="--input-shape",
                found=shape.name,
                expected=", ".join(names),
            )
    named = {shape.name: shape.dims for shape in shapes if shape.name}
    rest = iter([shape.dims for shape in shapes if not shape.name])
    if len(shapes) != len(named) and named:
        ordered = [named.get(name) or next(rest, None) for name in names]
    elif named:
        ordered = [named.get(name) for name in names]
    else:
        return tuple(shape.dims for shape in shapes)
    if None in ordered or len(ordered) < len(shapes):
        raise OptionError(
            "--input-shape does not name every input once",
            where="--input-shape",
            expected=" ".join(f"--input-shape {name}=..." for name in names),
        )
    return tuple(dims for dims in ordered if dims is not None)


def _batch_hint(loaded: LoadedModel, inputs: Sequence[Tensor]) -> str:
    carried = loaded.example_inputs
    if carried and any(
        own.shape[1:] == given.shape[1:] and own.shape[:1] != given.shape[:1]
        for own, given in zip(carried, inputs, strict=False)
    ):
        return "It was exported for another batch size: export it with batch 1 or a dynamic batch."
    return ""


def _layout_hint(loaded: LoadedModel, inputs: Sequence[Tensor]) -> str:
    """What would make the only input one that the model takes: tried, not guessed."""
    if len(inputs) != 1:
        return ""
    x = inputs[0]
    last = x.ndim - 1
    axes = (0, last, *range(1, last))
    for changed, hint in (
        (x.permute(axes) if last > 1 else x, f"The channels are last: use x.transpose{axes}."),
        (x[:, None], "The channel axis is missing: use x[:, None]."),
    ):
        try:
            with torch.no_grad():
                loaded.module(changed)
        except Exception:
            continue
        return hint
    return ""


def _flatten(result: Any) -> Iterator[Any]:
    if isinstance(result, Mapping):
        for value in result.values():
            yield from _flatten(value)
    elif isinstance(result, tuple | list):
        for value in result:
            yield from _flatten(value)
    elif result is not None:  # the exporter leaves None out as well
        yield result


def _kind(value: Any) -> str:
    return (
        f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    )


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name.split(".")[0])


def _cause(error: Exception) -> str:
    # TorchScript puts its own stack before the cause; plain errors put nothing.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if "Traceback of TorchScript" in str(error) else (lines or [""])[0])[:200]
