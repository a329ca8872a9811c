"""Parameters, multiplications and memory of a model, layer by layer, before any export.

The model is run once and every operator that PyTorch's dispatcher sees is noted, so modules,
TorchScript and exported programs are looked at in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from edgefactor.pipeline.config import ModelOptions
from edgefactor.pipeline.inputs.example import choose_inputs, input_names, try_model
from edgefactor.pipeline.load import LoadedModel, load

#: Operators that only look at memory in another way.
_VIEWS = frozenset(
    "view _unsafe_view reshape t transpose permute expand squeeze unsqueeze slice select split "
    "split_with_sizes chunk detach alias as_strided flatten unbind lift_fresh "
    "_reshape_alias".split()
)
#: Operators whose result can take the place of their input, as the C does it.
_IN_PLACE = frozenset(
    "relu relu_ hardtanh hardtanh_ clamp clamp_min clamp_max sigmoid tanh hardswish hardswish_ "
    "silu hardsigmoid leaky_relu gelu elu threshold mul add add_ mul_ sub native_batch_norm "
    "batch_norm _native_batch_norm_legit_no_training _prelu_kernel clone dropout "
    "native_dropout".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSummary:
    """One operator of the network.

    Attributes:
        name: Path of the module it belongs to, or the operator's name.
        operator: The PyTorch operator, e.g. ``convolution``.
        output_shape: Shape of its first output.
        parameters: Parameters it reads.
        macs: Multiplications with a weight or between two activations.
        output_bytes: Bytes of its outputs in int8.
        live_bytes: Bytes of all activations that must be in memory while it runs, in int8.
    """

    name: str
    operator: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    output_bytes: int
    live_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a model costs, counted in PyTorch.

    Attributes:
        source: The model file's name.
        kind: What the file was.
        inputs: Name and shape of every input.
        outputs: Shape of every output.
        layers: The operators in the order in which they run.
        parameters: All parameters; running statistics of batch norm, which are folded, left out.
        weight_bytes: Their bytes on a device: 1 for a weight, 4 for a bias.
        macs: Multiplications of one inference.
        peak_bytes: Largest sum of live activations, in int8; a lower bound of the arena.
        peak_layer: The layer at which it is reached.
        notes: What was found out or changed while loading.
    """

    source: str
    kind: str
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[int, ...], ...]
    layers: tuple[LayerSummary, ...]
    parameters: int
    weight_bytes: int
    macs: int
    peak_bytes: int
    peak_layer: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {"schema": "edgefactor.inspection/1", **asdict(self)}


def inspect(options: ModelOptions) -> Inspection:
    """Loads a model and counts what it costs.

    Raises:
        ModelError, OptionError: If the model cannot be loaded or run.
    """
    path = Path(options.model)
    loaded = load(path, factory=options.factory, trust_pickle=options.trust_pickle)
    return inspect_loaded(loaded, choose_inputs(loaded, options.input_shapes))


def inspect_loaded(loaded: LoadedModel, inputs: Sequence[Tensor]) -> Inspection:
    """Counts what a loaded model costs for inputs of the shapes of `inputs`."""
    try_model(loaded, inputs)
    module = loaded.module
    weights = dict(_weights(loaded, module))
    parameters = dict(module.named_parameters())
    recorder = _Recorder(
        {tensor.data_ptr(): name for name, tensor in weights.items()}, set(parameters)
    )
    with torch.no_grad(), recorder:
        result = module(*inputs)
    outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    layers = recorder.layers(inputs, outputs)
    peak = max(layers, key=lambda layer: layer.live_bytes, default=None)
    names = [*input_names(loaded), *(f"input{i}" for i in range(len(inputs)))]
    return Inspection(
        source=loaded.source,
        kind=loaded.kind,
        inputs=tuple((n, tuple(t.shape)) for n, t in zip(names, inputs, strict=False)),
        outputs=tuple(tuple(output.shape) for output in outputs),
        layers=layers,
        parameters=sum(t.numel() for t in parameters.values()),
        weight_bytes=sum(t.numel() * (1 if t.ndim > 1 else 4) for t in parameters.values()),
        macs=sum(layer.macs for layer in layers),
        peak_bytes=peak.live_bytes if peak else 0,
        peak_layer=peak.name if peak else "",
        notes=loaded.notes,
    )


def _weights(loaded: LoadedModel, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()
    if isinstance(loaded.program, ExportedProgram):
        for name, value in loaded.program.constants.items():
            if isinstance(value, Tensor):
                yield name, value


@dataclass(slots=True)
class _Step:
    operator: str
    name: str
    reads: list[int]
    writes: dict[int, int]
    shape: tuple[int, ...]
    parameters: int
    macs: int


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators of one run, with the storages they read and write."""

    def __init__(self, weights: Mapping[int, str], parameters: Set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = weights
        self._parameters = parameters
        self._steps: list[_Step] = []
        self._aliases: dict[int, int] = {}
        # Storages are told apart by address; holding on to them keeps addresses from being reused.
        self._held: list[Tensor] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs the operator and notes it."""
        result = func(*args, **(kwargs or {}))
        operator = str(func.overloadpacket.__name__)
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        self._held += outputs + read
        if operator in _VIEWS or not outputs:
            return result
        if operator == "constant_pad_nd":
            # The C kernels read beyond the edge by themselves.
            self._aliases[_storage(outputs[0])] = self._place(read[0])
            return result
        weights = [t for t in read if t.data_ptr() in self._weights]
        activations = [t for t in read if t.data_ptr() not in self._weights]
        if not activations:
            return result
        owner = self._weights[weights[0].data_ptr()].rpartition(".")[0] if weights else ""
        # Operators with several outputs (batch norm, max pooling) have the one that is used first.
        used = outputs if operator.startswith(("split", "unbind", "chunk")) else outputs[:1]
        self._steps.append(
            _Step(
                operator=operator,
                name=owner or operator,
                reads=[self._place(tensor) for tensor in activations],
                writes={self._place(tensor): tensor.numel() for tensor in used},
                shape=tuple(outputs[0].shape),
                parameters=sum(
                    t.numel() for t in weights if self._weights[t.data_ptr()] in self._parameters
                ),
                macs=_macs(operator, read, outputs[0]),
            )
        )
        return result

    def _place(self, tensor: Tensor) -> int:
        storage = _storage(tensor)
        return self._aliases.get(storage, storage)

    def layers(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> tuple[LayerSummary, ...]:
        """The operators with the memory that is alive at each."""
        last_use = {self._place(tensor): len(self._steps) for tensor in outputs}
        for index, step in enumerate(self._steps):
            for storage in step.reads:
                last_use[storage] = max(last_use.get(storage, 0), index)
        live = {self._place(tensor): tensor.numel() for tensor in inputs}
        layers: list[LayerSummary] = []
        for index, step in enumerate(self._steps):
            dying = [s for s in set(step.reads) if s in live and last_use[s] == index]
            written = {s: size for s, size in step.writes.items() if s not in live}
            reused = 0
            if step.operator in _IN_PLACE and written:
                size = max(written.values())
                reused = max((live[s] for s in dying if live[s] >= size), default=0)
            need = sum(live.values()) + sum(written.values()) - min(reused, sum(written.values()))
            layers.append(
                LayerSummary(
                    name=step.name,
                    operator=step.operator,
                    output_shape=step.shape,
                    parameters=step.parameters,
                    macs=step.macs,
                    output_bytes=sum(step.writes.values()),
                    live_bytes=need,
                )
            )
            live |= written
            live = {s: size for s, size in live.items() if last_use.get(s, -1) > index}
        return tuple(layers)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _macs(operator: str, read: Sequence[Tensor], output: Tensor) -> int:
    """Multiply-accumulate steps of convolutions and matrix products; 0 for everything else."""
    if "convolution" in operator or operator.startswith("conv"):
        return output.numel() * math.prod(read[1].shape[1:])
    if operator in ("addmm", "mm", "bmm", "matmul", "linear", "baddbmm"):
        first = read[1] if operator in ("addmm", "baddbmm") else read[0]
        return output.numel() * first.shape[-1]
    return 0
