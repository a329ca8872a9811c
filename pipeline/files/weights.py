"""State dicts: found inside checkpoints, fitted to a module, and checked for NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgefactor.errors import ModelError

_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "ema", "weights")
_NAMED = 4
#: Factors of a layer's channels, that `compress.freezing` leaves beside a shared weight.
_SCALE = "weight_scale"


def find_state_dict(
    loaded: object, where: str, *, empty: bool = False
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The mapping of names to tensors in what a file held, and notes on where it was found.

    A checkpoint that wraps the state dict is looked into, and the ``module.`` prefix that
    DataParallel leaves is removed.

    Args:
        loaded: The content of the file.
        where: The file, for messages.
        empty: Whether a mapping without tensors is one, of a network without weights.

    Raises:
        ModelError: If there is no state dict, or one of weights that PyTorch has quantized.
    """
    notes: list[str] = []
    state = loaded
    if empty and isinstance(state, Mapping) and not state:
        return {}, ()
    if isinstance(state, Mapping) and not _is_state_dict(state):
        for key in _CHECKPOINT_KEYS:
            if isinstance(state.get(key), Mapping) and _is_state_dict(state[key]):
                notes.append(f"The state dict was found under the key '{key}' of a checkpoint.")
                state = state[key]
                break
    if isinstance(state, Mapping) and _is_quantized(state):
        raise ModelError(
            "The weights were quantized by PyTorch already",
            where=where,
            found=_describe(state),
            expected="the float weights",
            hint="Save the state dict before torch.ao.quantization's convert() or "
            "quantize_dynamic(): edgefactor quantizes by itself.",
        )
    if not isinstance(state, Mapping) or not _is_state_dict(state):
        raise ModelError(
            "The file holds no module and no state dict",
            where=where,
            found=_describe(loaded),
            expected="a mapping of names to tensors, as model.state_dict() returns it",
        )
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
        notes.append("The prefix 'module.' (DataParallel) was removed from the names.")
    return tensors, tuple(notes)


def fit(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Loads `state` into `module`; the factors of shared weights become buffers of their layers.

    Raises:
        ModelError: If names or shapes do not fit; the first few are named.
    """
    _add_scales(module, state)
    own = module.state_dict()
    problems: list[str] = []
    missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} is {list(state[name].shape)} in the file, {list(own[name].shape)} in the module"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    if missing:
        problems.append(f"not in the file: {_some(missing)}")
    if unexpected:
        problems.append(f"not in the module: {_some(unexpected)}")
    if shapes:
        problems.append(_some(shapes, separator="; "))
    if problems:
        raise ModelError(
            "The state dict does not fit the module that the factory builds",
            where=where,
            found="; ".join(problems),
            expected=f"the {len(own)} tensors of {type(module).__name__}",
            hint="Name the factory, and the arguments in it, that the weights were trained with.",
        )
    module.load_state_dict(dict(state), strict=False)


def _add_scales(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    layers = dict(module.named_modules())
    for name, value in state.items():
        path, _, last = name.rpartition(".")
        layer = layers.get(path)
        weight = getattr(layer, "weight", None)
        if last != _SCALE or layer is None or hasattr(layer, _SCALE):
            continue
        if isinstance(weight, Tensor) and value.shape == weight.shape[:1]:
            layer.register_buffer(_SCALE, torch.empty_like(value))


def describe_state(state: Mapping[str, Tensor]) -> str:
    """The number of tensors and the first names with their shapes, for messages."""
    first = [f"{name} {list(value.shape)}" for name, value in state.items()]
    return f"a state dict of {len(state)} tensors: {_some(first)}"


def check_finite(tensors: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Refuses weights that hold NaN or infinity.

    Raises:
        ModelError: The first such tensor, with how many of its values are not finite.
    """
    for name, tensor in tensors:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        bad = int((~torch.isfinite(tensor.detach())).sum())
        if bad:
            raise ModelError(
                "A weight of the model is NaN or infinite",
                where=f"{where}, tensor {name}",
                found=f"{bad} of {tensor.numel()} values",
                expected="finite numbers",
                hint="The training diverged, or the file is not what was meant to be saved.",
            )


def to_float32(module: nn.Module) -> tuple[str, ...]:
    """Turns half, bfloat16 and double weights into float32; says which there were."""
    tensors = [*module.parameters(), *module.buffers()]
    others = sorted(
        {str(t.dtype) for t in tensors if t.is_floating_point() and t.dtype is not torch.float32}
    )
    if not others:
        return ()
    module.float()
    return (f"Weights of type {', '.join(others)} were converted to float32.",)


def _is_state_dict(value: Mapping[Any, Any]) -> bool:
    tensors = sum(isinstance(item, Tensor) for item in value.values())
    # Extra state (get_extra_state) may stand beside the tensors; an optimizer's lists are no
    # tensors.
    return tensors > 0 and all(
        isinstance(item, Tensor) or str(name).endswith("_extra_state")
        for name, item in value.items()
    )


def _is_quantized(state: Mapping[Any, Any]) -> bool:
    return any(
        str(name).endswith("_packed_params._packed_params")
        or (isinstance(value, Tensor) and value.is_quantized)
        for name, value in state.items()
    )


def _describe(value: object) -> str:
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {_some([repr(key) for key in value])}"
    if isinstance(value, Tensor):
        return f"one tensor {list(value.shape)}"
    return f"a {type(value).__name__}"


def _some(items: list[str], separator: str = ", ") -> str:
    rest = len(items) - _NAMED
    return separator.join(items[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
