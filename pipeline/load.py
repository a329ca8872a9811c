"""Loads a PyTorch model from any of its files, running no code that the user did not name.

State dicts and modules made of torch.nn's own classes go through PyTorch's restricted unpickler,
TorchScript through its own interpreter, .pt2 archives through `archive`. Anything else needs
``--trust-pickle``.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgefactor.errors import EdgefactorError, ModelError
from edgefactor.pipeline.files import factory as factories
from edgefactor.pipeline.files.archive import checked_archive
from edgefactor.pipeline.files.formats import Format, ModelFile, identify
from edgefactor.pipeline.files.pickles import (
    find_foreign_attribute,
    foreign_globals,
    module_globals,
    named_globals,
    torch_nn_classes,
)
from edgefactor.pipeline.files.settled import settle
from edgefactor.pipeline.files.weights import (
    check_finite,
    describe_state,
    find_state_dict,
    fit,
    to_float32,
)
from edgefactor.pipeline.quiet import quiet

Kind = Literal["state dict", "module", "TorchScript", "ExportedProgram"]

_SAFER_WAYS = (
    "Save the weights alone, torch.save(model.state_dict(), 'model.pt'), and name the code that "
    "builds the network with --model file.py:factory; or use torch.export.save. If you trust "
    "whoever made the file and its code is importable, pass --trust-pickle."
)
_SCRIPT_FILE_ACCESS = re.compile(r"\btorch\.(?:save|from_file)\(")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model in evaluation mode, with float32 weights that are all finite.

    Attributes:
        kind: What the file was.
        program: The module, script module or exported program.
        example_inputs: Inputs that the file itself carries; None if it does not.
        notes: What was done to it that the user should know.
        source: The file's name, without its folder.
    """

    kind: Kind
    program: nn.Module | ExportedProgram
    example_inputs: tuple[Tensor, ...] | None = None
    notes: tuple[str, ...] = ()
    source: str = ""

    @property
    def module(self) -> nn.Module:
        """Something to call, whatever the kind."""
        if isinstance(self.program, ExportedProgram):
            return self.program.module()
        return self.program


def load(path: Path, *, factory: str | None = None, trust_pickle: bool = False) -> LoadedModel:
    """Loads the model in `path`.

    Args:
        path: A state dict, pickled module, TorchScript file or .pt2.
        factory: ``file.py:function`` or ``package.module:function`` that returns the module which a
            state dict belongs to. The code is imported and called.
        trust_pickle: Whether a file may be unpickled in full, which runs whatever code it names.

    Raises:
        ModelError: If the file is missing, damaged, no model, needs code or trust that was not
            given, or holds weights that do not fit or are not finite.
        OptionError: If `factory` names nothing.
    """
    file = identify(path)
    if file.format is Format.TORCHSCRIPT:
        loaded = _load_torchscript(file)
    elif file.format in (Format.EXPORTED_PROGRAM, Format.OLD_EXPORTED_PROGRAM):
        loaded = _load_exported(file, trust_pickle)
    else:
        loaded = _load_pickle(file, factory, trust_pickle)
    if factory is not None and loaded.kind != "state dict":
        note = f"The file is a {loaded.kind} and holds its own code: --model was not needed."
        loaded = replace(loaded, notes=(*loaded.notes, note))
    return replace(loaded, source=path.name)


def _load_pickle(file: ModelFile, factory: str | None, trust_pickle: bool) -> LoadedModel:
    names = named_globals(file)
    foreign = foreign_globals(names)
    if foreign and not trust_pickle:
        raise _untrusted(file, foreign)
    builder = factories.resolve(factory, option="--model") if factory is not None else None
    # A legacy file stores the source of module classes too, which only full unpickling reads.
    trusted = trust_pickle and (bool(foreign) or file.format is Format.LEGACY_PICKLE)
    content = _unpickle(file, trusted=trusted, module_classes=module_globals(names))
    where = str(file.path)
    if isinstance(content, nn.Module):
        if not trusted:
            foreign_attribute = find_foreign_attribute(content)
            if foreign_attribute:
                raise ModelError(
                    "The pickled module holds hooks or code in its attributes",
                    where=f"{where}, {foreign_attribute}",
                    hint=_SAFER_WAYS,
                )
        return _ready("module", content, where)
    state, notes = find_state_dict(content, where, empty=builder is not None)
    if builder is None or factory is None:
        raise ModelError(
            "The file holds weights only, so the code that builds the network is needed",
            where=where,
            found=describe_state(state),
            hint="Name it with --model file.py:factory (a function without required arguments that "
            "returns the module).",
        )
    module = factories.call(builder, factory, option="--model")
    if not isinstance(module, nn.Module):
        raise ModelError(
            "The factory returned no torch.nn.Module",
            where=f"--model {factory}",
            found=f"an object of type {type(module).__name__}",
            hint="Name a class derived from nn.Module, or a function that returns an instance.",
        )
    # Checked before fitting as well: load_state_dict would copy the values over finite ones.
    check_finite(state.items(), where)
    fit(module, state, where)
    return _ready("state dict", module, where, notes + to_notes(state))


def to_notes(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """A note when a state dict holds other floats than float32: copying converted them."""
    kinds = {str(t.dtype) for t in state.values() if t.is_floating_point()} - {"torch.float32"}
    return (f"Weights of type {', '.join(sorted(kinds))} were converted to float32.",) * bool(kinds)


def _unpickle(file: ModelFile, *, trusted: bool, module_classes: tuple[str, ...]) -> Any:
    allowed = [(torch_nn_classes()[name], name) for name in module_classes]
    try:
        with quiet(), torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            return torch.load(file.path, map_location="cpu", weights_only=not trusted)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            "The code of the pickled module is not importable",
            where=str(file.path),
            found=str(error),
            hint="Run edgefactor where that code can be imported (PYTHONPATH), or save the weights "
            "alone and use --model.",
        ) from error
    except Exception as error:
        raise ModelError(
            "PyTorch cannot load the file",
            where=str(file.path),
            found=_first_line(error),
            expected=file.format.value if trusted else "a pickle of tensors and torch.nn modules",
            hint=_SAFER_WAYS,
        ) from error


def _load_torchscript(file: ModelFile) -> LoadedModel:
    where = str(file.path)
    prefix = f"{file.root}/" if file.root else ""
    with zipfile.ZipFile(file.path) as archive:
        for name in file.members:
            if name.startswith("code/") and name.endswith(".py"):
                if _SCRIPT_FILE_ACCESS.search(
                    archive.read(prefix + name).decode("utf-8", "replace")
                ):
                    raise ModelError(
                        "The TorchScript reads or writes files, so it is not loaded",
                        where=f"{where}, {name}",
                        hint="Remove torch.save and torch.from_file from the scripted code.",
                    )
    try:
        with quiet():
            module = torch.jit.load(where, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:
        raise ModelError(
            "PyTorch cannot load the TorchScript file", where=where, found=_first_line(error)
        ) from error
    return _ready("TorchScript", module, where)


def _load_exported(file: ModelFile, trust_pickle: bool) -> LoadedModel:
    where = str(file.path)
    source: Any = where
    if not trust_pickle:
        source = checked_archive(file)
    try:
        with quiet():
            program = torch.export.load(source)
    except EdgefactorError:
        raise
    except Exception as error:
        raise ModelError(
            "PyTorch cannot load the .pt2 file",
            where=where,
            found=_first_line(error),
            hint=f"Save it again with torch.export.save; this is PyTorch {torch.__version__}.",
        ) from error
    tensors = {**program.state_dict, **program.constants}
    floats = [(n, t) for n, t in tensors.items() if isinstance(t, Tensor) and t.is_floating_point()]
    check_finite(floats, where)
    for name, tensor in floats:
        if tensor.dtype is not torch.float32:
            raise ModelError(
                "The exported program does not compute in float32",
                where=f"{where}, tensor {name}",
                found=str(tensor.dtype),
                hint="Call model.float() before torch.export.export.",
            )
    args, kwargs = program.example_inputs or ((), {})
    values = (*args, *kwargs.values())
    examples = tuple(v for v in values if isinstance(v, Tensor))
    usable = bool(examples) and len(examples) == len(values)
    return LoadedModel(
        kind="ExportedProgram", program=program, example_inputs=examples if usable else None
    )


def _ready(kind: Kind, module: nn.Module, where: str, notes: tuple[str, ...] = ()) -> LoadedModel:
    check_finite([*module.named_parameters(), *module.named_buffers()], where)
    notes = notes + to_float32(module)
    # A frozen TorchScript module is in evaluation mode for good and has no such switch.
    if hasattr(module, "training") or kind != "TorchScript":
        module.eval()
    if not isinstance(module, torch.jit.ScriptModule):
        notes = notes + settle(module, where)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return LoadedModel(kind=kind, program=module, notes=tuple(dict.fromkeys(notes)))


def _untrusted(file: ModelFile, foreign: tuple[str, ...]) -> ModelError:
    some = ", ".join(foreign[:6]) + (f" and {len(foreign) - 6} more" if len(foreign) > 6 else "")
    return ModelError(
        "The file is a pickle that names code of its own, so it was not loaded",
        where=str(file.path),
        found=f"classes or functions {some}",
        expected="tensors, or modules of torch.nn's own classes",
        hint=_SAFER_WAYS,
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    # torch colours its messages and puts advice for its own API around the cause.
    cause = next((line for line in lines if "WeightsUnpickler error:" in line), lines[0])
    return cause.split("WeightsUnpickler error:")[-1].split("Please use")[0].strip()[:300]
