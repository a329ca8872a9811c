"""The same methods inside a user's own training loop.

ef.share(model, values=16, scale="rms")   # the model trains on, through its codebooks
...                                       # any loop, any optimizer made after this line
ef.freeze(model)                          # plain weights again
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.engine import apply_step, check_recipe
from edgefactor.pipeline.compress.freezing import freeze as _freeze
from edgefactor.pipeline.compress.recipe import Recipe, parse_step
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.inputs.data import Dataset


def apply(
    model: nn.Module,
    method: str,
    *,
    layers: str | Sequence[str] = "*",
    inputs: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    seed: int = 0,
    **options: Any,
) -> nn.Module:
    """Applies one method of a recipe to a model, in place.

    Args:
        model: Any module; its weights become trainable.
        method: A name of ``edgefactor recipes --methods``.
        layers: Patterns on module paths.
        inputs: Samples, where the method looks at inputs or trains.
        labels: Their classes.
        seed: Of everything random.
        **options: As in a recipe, with underscores.

    Returns:
        The same model.

    Raises:
        OptionError, DataError: As a recipe's step would.
    """
    table = {"method": method, "layers": layers, **options}
    step = parse_step(table, BY_NAME, where=method)
    train = None
    if inputs is not None:
        classes = None if labels is None else np.asarray(labels, np.int64)
        train = Dataset(inputs=(np.asarray(inputs, np.float32),), labels=classes, source="inputs")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    context = Context(trainer=TorchTrainer(), train=train, seed=seed, device=device)
    check_recipe(model, Recipe(name=method, steps=(step,)), BY_NAME, context)
    mode = model.training
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    apply_step(model, step, BY_NAME[method], context)
    return model.train(mode)


def share(model: nn.Module, **options: Any) -> nn.Module:
    """Gives each layer of a model few values (method "share"), in place; it trains on.

    Args:
        model: Any module. Make the optimizer after this call: the parameters are new.
        **options: `share.ShareOptions`, and ``layers``, ``inputs``, ``seed`` as in `apply`.
    """
    return apply(model, "share", **options)


def freeze(model: nn.Module) -> nn.Module:
    """Ends pruning, sharing and quantization: plain weights with the values they have now."""
    return _freeze(model)
