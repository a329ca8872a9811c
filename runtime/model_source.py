"""The C of a bundle as the builders see it: sources, kernels and the list of traced tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edgefactor.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStep:
    """One tensor that the model reports when it is compiled with EF_TRACE.

    Attributes:
        step: Number of the report, from 0.
        tensor: Name of the tensor.
        layer: Name of the layer that made it; empty for an input.
        bytes: Its size.
    """

    step: int
    tensor: str
    layer: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A folder with the C of one model.

    Attributes:
        folder: The folder itself.
        model: The model's own C files.
        kernels: The C files of its kernels.
        trace: What it reports, in order.
    """

    folder: Path
    model: tuple[Path, ...]
    kernels: tuple[Path, ...]
    trace: tuple[TraceStep, ...]

    @property
    def sample_trace_bytes(self) -> int:
        """Bytes of all reports of one inference."""
        return sum(step.bytes for step in self.trace)


def read_model_source(folder: Path) -> ModelSource:
    """Look at the C folder of a bundle.

    Raises:
        DataError: A file that belongs there is missing or wrong.
    """
    folder = folder.resolve()
    for name in ("model_glue.h", "trace.json"):
        if not (folder / name).is_file():
            raise DataError(
                "this is not the C folder of a bundle", where=str(folder), expected=name
            )
    path = folder / "trace.json"
    try:
        trace = tuple(
            TraceStep(
                step=int(entry["step"]),
                tensor=str(entry["tensor"]),
                layer=str(entry["layer"] or ""),
                bytes=int(entry["bytes"]),
            )
            for entry in json.loads(path.read_text(encoding="utf-8"))
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("the list of traced tensors is damaged", where=str(path)) from error
    if [step.step for step in trace] != list(range(len(trace))):
        raise DataError("the steps of the trace are not 0, 1, 2, ...", where=str(path))
    return ModelSource(
        folder=folder,
        model=tuple(sorted(folder.glob("*.c"))),
        kernels=tuple(sorted(folder.glob("kernels/*.c"))),
        trace=trace,
    )
