"""The C of a bundle on this computer, with or without sanitizers."""

from __future__ import annotations

from pathlib import Path

from edgefactor.runtime.toolchain import run
from edgefactor.runtime.tracing import TracingRunner
from edgefactor.targets.catalogue import load_target

HOST_SECONDS = 600


class HostRunner(TracingRunner):
    """Compiles a bundle's C for this computer and runs it over samples."""

    def __init__(
        self,
        folder: Path,
        *,
        sanitize: bool = False,
        timeout_seconds: float = HOST_SECONDS,
    ) -> None:
        """Prepare to build.

        Args:
            folder: The C folder of a bundle.
            sanitize: Compile with the address and undefined-behaviour sanitizers; an error of
                theirs ends the run with a ToolError.
            timeout_seconds: Limit for one run of the harness, which serves one chunk of samples.
        """
        super().__init__(
            folder,
            load_target("host"),
            sanitize=sanitize,
            timeout_seconds=timeout_seconds,
        )
        self.name = "C on the host" + (" with sanitizers" if sanitize else "")

    def _launch(self, program: Path) -> None:
        run((program,), timeout_seconds=self.timeout_seconds, folder=self.work)
