"""Writes a compressed model: a .pt2 that holds program, weights and what was done, no pickle.

`pipeline.load` reads it without flags. The scale that a layer's codebook is shared up to is the
buffer ``weight_scale`` beside its weight (`freezing`), which export finds; everything else is JSON
in the archive's extra file ``edgefactor.json``.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgefactor.errors import ModelError, OptionError
from edgefactor.pipeline.compress.engine import Outcome
from edgefactor.pipeline.compress.recipe import Recipe
from edgefactor.pipeline.quiet import quiet

EXTRA_FILE = "edgefactor.json"
SCHEMA = "edgefactor.compressed/1"


def metadata(outcome: Outcome, recipe: Recipe) -> dict[str, Any]:
    """What is written beside the program."""
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "accuracy_before": outcome.accuracy_before,
        "accuracy_after": outcome.accuracy_after,
        "storage": outcome.storage.to_dict(),
        "steps": [step.to_dict() for step in outcome.steps],
    }


def save(
    model: nn.Module,
    outcome: Outcome,
    recipe: Recipe,
    example: Sequence[NDArray[np.float32]],
    path: Path,
) -> None:
    """Writes the result; an interrupted write leaves what was there.

    Args:
        model: Frozen.
        outcome: What was done.
        recipe: What was asked for.
        example: One sample an input, batch 1.
        path: Ends in .pt2.

    Raises:
        ModelError: If PyTorch cannot export the model.
        OptionError: If the file cannot be written.
    """
    model = model.cpu().eval()
    inputs = tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in example)
    text = json.dumps(metadata(outcome, recipe), default=_plain)
    beside = path.with_name(f".{path.stem}.writing.pt2")
    try:
        with quiet():
            program = torch.export.export(model, inputs)
    except Exception as error:
        raise ModelError(
            "PyTorch cannot export the compressed model",
            where=str(path),
            found=str(error).splitlines()[0][:300] if str(error) else type(error).__name__,
            hint="The model must be one that torch.export.export takes.",
        ) from error
    try:
        with quiet():
            torch.export.save(program, beside, extra_files={EXTRA_FILE: text})
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:
        # PyTorch's writer reports a full disk as a RuntimeError.
        beside.unlink(missing_ok=True)
        raise OptionError(
            "The compressed model cannot be written",
            where=str(path),
            found=str(error).splitlines()[0],
            hint="Make room, or choose another place with -o.",
        ) from error


def read_metadata(path: Path) -> dict[str, Any] | None:
    """What `save` wrote beside the program; None for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [n for n in archive.namelist() if n.endswith(f"/extra/{EXTRA_FILE}")]
            if len(members) != 1:
                return None
            content = json.loads(archive.read(members[0]))
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return content if isinstance(content, dict) else None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no plain data")
