"""Finds layers by pattern and replaces them: what every method does to a model's modules."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from edgefactor.errors import OptionError


def layers_of(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, nn.Module]:
    """All modules of these kinds by path, each once, in the model's order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def select(
    model: nn.Module,
    patterns: Sequence[str],
    kinds: tuple[type[nn.Module], ...],
    *,
    where: str = "layers",
) -> tuple[str, ...]:
    """Paths of the layers that any pattern matches and no ``!pattern`` does.

    Args:
        model: The model.
        patterns: fnmatch patterns on module paths; only ``!`` patterns mean all others.
        kinds: Modules that count as layers.
        where: The step, for messages.

    Raises:
        OptionError: If a pattern matches no layer, or nothing is left.
    """
    names = tuple(layers_of(model, kinds))
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    listing = ", ".join(name or "(the model itself)" for name in names)
    expected = f"one of {listing}" if names else ""
    for pattern in (*wanted, *unwanted):
        if not any(fnmatchcase(name, pattern) for name in names):
            kind_names = ", ".join(kind.__name__ for kind in kinds)
            raise OptionError(
                f"The pattern matches no layer ({kind_names}) of the model",
                where=where,
                found=pattern,
                expected=expected,
                hint=""
                if names
                else "Give a state dict and its --model: layers of TorchScript and .pt2 "
                "programs cannot be changed.",
            )
    chosen = tuple(
        name
        for name in names
        if any(fnmatchcase(name, pattern) for pattern in wanted)
        and not any(fnmatchcase(name, pattern) for pattern in unwanted)
    )
    if not chosen:
        raise OptionError(
            "The patterns leave no layer", where=where, found=", ".join(patterns), expected=expected
        )
    return chosen


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Puts `new` where the module `name` is; it takes over its training mode.

    Raises:
        OptionError: If `name` is the model itself, which has no place to be replaced in.
    """
    if not name:
        raise OptionError(
            "The model itself is the layer and cannot be replaced",
            hint="Wrap it: torch.nn.Sequential(model).",
        )
    parent_name, _, child = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    new.train(model.get_submodule(name).training)
    setattr(parent, child, new)
