"""Runs a bundle's C over samples and returns its tensors, wherever the C is executed."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from edgefactor.errors import DataError, ToolError
from edgefactor.runtime.build import Builder
from edgefactor.runtime.exchange import Answer, Mode, Samples, ask
from edgefactor.runtime.model_source import read_model_source
from edgefactor.targets.description import Target

CHUNK_BYTES = 64 * 2**20
"""Most bytes of tensors that are held at once."""


class TracingRunner(ABC):
    """A bundle's C, compiled once for outputs alone and once with every tensor reported.

    It builds and runs in a temporary folder that ``close`` removes, and never writes into the
    bundle. Use it in a ``with`` statement.

    Attributes:
        name: Name of the rung for people.
    """

    name: str

    def __init__(
        self, folder: Path, target: Target, *, sanitize: bool = False, timeout_seconds: float
    ) -> None:
        """Prepare to build.

        Args:
            folder: The C folder of a bundle.
            target: What it is compiled for.
            sanitize: Compile with the address and undefined-behaviour sanitizers.
            timeout_seconds: Limit for one run of the harness, which serves one chunk of samples.

        Raises:
            DataError: The folder is not the C folder of a bundle.
        """
        self.source = read_model_source(folder)
        self.target = target
        self.timeout_seconds = timeout_seconds
        self._folder = tempfile.TemporaryDirectory(prefix="edgefactor-")
        self.work = Path(self._folder.name)
        self.builder = Builder(self.source, target, self.work, sanitize=sanitize)
        self._programs: dict[bool, Path] = {}

    def close(self) -> None:
        """Remove the temporary folder."""
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _launch(self, program: Path) -> None:
        """Run the harness in the work folder and wait for its end."""

    def ask(self, mode: Mode, inputs: Samples, *, traced: bool) -> Answer:
        """Have one of the two programs run over samples; builds it first if need be."""
        if traced not in self._programs:
            self._programs[traced] = self.builder.check_harness(traced=traced)
        program = self._programs[traced]
        return ask(mode, inputs, self.work, lambda: self._launch(program))

    def outputs(self, inputs: Samples) -> Samples:
        """The model's outputs, as its function returns them in a build without tracing.

        Args:
            inputs: int8 (samples, bytes), the inputs of each sample one after another.

        Returns:
            int8 (samples, bytes), the outputs of each sample one after another.
        """
        chunk = max(1, CHUNK_BYTES // max(1, inputs.shape[1]))
        parts = []
        for start in range(0, len(inputs), chunk):
            part = inputs[start : start + chunk]
            answer = self.ask(Mode.OUTPUTS, part, traced=False)
            parts.append(_table(answer, len(part), answer.output_bytes))
        return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.int8)

    def stream(
        self, inputs: Samples, tensors: Sequence[str] | None = None
    ) -> Iterator[dict[str, Samples]]:
        """Every traced tensor, some samples at a time, so that memory stays bounded.

        Args:
            inputs: int8 (samples, bytes), the inputs of each sample one after another.
            tensors: Names of those to return; all of them if None.

        Yields:
            int8 (samples of the chunk, bytes) by name, in the order in which they are computed.
        """
        steps = self.source.trace
        unknown = set(tensors or ()) - {step.tensor for step in steps}
        if unknown:
            raise DataError(
                "the C code does not report these tensors",
                where=str(self.source.folder / "trace.json"),
                found=", ".join(sorted(unknown)),
            )
        chunk = max(1, CHUNK_BYTES // max(1, self.source.sample_trace_bytes))
        for start in range(0, len(inputs), chunk):
            part = inputs[start : start + chunk]
            answer = self.ask(Mode.TRACE, part, traced=True)
            table = _table(answer, len(part), self.source.sample_trace_bytes)
            found: dict[str, Samples] = {}
            offset = 0
            for step in steps:
                if tensors is None or step.tensor in tensors:
                    found[step.tensor] = table[:, offset : offset + step.bytes]
                offset += step.bytes
            yield found

    def run(self, inputs: Samples, tensors: Sequence[str] | None = None) -> dict[str, Samples]:
        """Every traced tensor of all samples at once; ``stream`` with less memory."""
        parts = list(self.stream(inputs, tensors))
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in (parts or [{}])[0]}


def _table(answer: Answer, samples: int, sample_bytes: int) -> Samples:
    if answer.payload.size != samples * sample_bytes:
        raise ToolError(
            "the C code reported another number of bytes than its list of tensors says",
            found=f"{answer.payload.size} bytes",
            expected=f"{samples} samples of {sample_bytes} bytes",
            hint="write the bundle again",
        )
    return answer.payload.view(np.int8).reshape(samples, sample_bytes)
