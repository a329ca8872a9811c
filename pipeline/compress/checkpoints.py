"""Checkpoints of the trainings of one compression.

A compression is a deterministic sequence of changes and trainings, so only trainings are saved, by
their number; on resuming, the changes between them are made again and each finished training is
replaced by loading its result. Files hold tensors and numbers only (no code is unpickled).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edgefactor.errors import OptionError

#: Seconds between two checkpoints inside an epoch.
INTERVAL_SECONDS = 60.0
_FINGERPRINT = "fingerprint.txt"


class Checkpoints:
    """Saved states in one folder, or nowhere.

    Args:
        folder: The folder; None keeps nothing.
        fingerprint: Identifies model, data, recipe and seed; a folder of another compression is
            refused, as its states would be mixed in.

    Raises:
        OptionError: If the folder belongs to another compression.
    """

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self._folder = folder
        if folder is None:
            return
        mark = folder / _FINGERPRINT
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A compression that failed before its first checkpoint has left nothing to mix in.
            known = mark.read_text(encoding="utf-8").strip() if self._states() else fingerprint
            mark.write_text(known + "\n", encoding="utf-8")
        except OSError as error:
            raise _unwritable(folder, error) from error
        if known != fingerprint:
            raise OptionError(
                "The checkpoints belong to another model, data, recipe or seed",
                where=str(folder),
                hint="Remove the folder, or name another one with --checkpoints.",
            )

    def _states(self) -> list[Path]:
        return sorted(self._folder.glob("training-*.pt")) if self._folder else []

    def remove_unused(self) -> None:
        """Removes the folder if no training got as far as a checkpoint."""
        if self._folder is not None and not self._states():
            (self._folder / _FINGERPRINT).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._folder.rmdir()

    def path(self, training: int) -> Path | None:
        """The file of training number `training`."""
        return self._folder / f"training-{training:03d}.pt" if self._folder else None

    def load(self, training: int) -> dict[str, Any] | None:
        """The last state of a training, or None if it never got that far.

        Raises:
            OptionError: If the file is damaged.
        """
        path = self.path(training)
        if path is None or not path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise OptionError(
                "The checkpoint cannot be read",
                where=str(path),
                found=str(error).splitlines()[0][:200],
                hint="Remove it; the training starts again.",
            ) from error
        return state

    def save(self, training: int, state: Mapping[str, Any]) -> None:
        """Replaces the state of a training; a kill leaves the old file or the new one whole."""
        path = self.path(training)
        if path is None:
            return
        beside = path.with_suffix(".tmp")
        try:
            torch.save(dict(state), beside)
            os.replace(beside, path)
        except (OSError, RuntimeError) as error:
            # PyTorch's writer reports a full disk as a RuntimeError.
            beside.unlink(missing_ok=True)
            raise _unwritable(path, error) from error


def _unwritable(place: Path, error: Exception) -> OptionError:
    found = error.strerror if isinstance(error, OSError) else None
    return OptionError(
        "The checkpoints cannot be written",
        where=str(place),
        found=found or str(error).splitlines()[0],
        hint="Make room, or name another folder with --checkpoints.",
    )
