"""What ``edgefactor demo`` exports: the digits example, which the package brings along."""

from __future__ import annotations

import shlex
from pathlib import Path

from edgefactor import errors
from edgefactor.pipeline.config import DEFAULT_TARGET, ExportOptions

#: examples/digits of the repository, which lies beside the modules of the front door.
FOLDER = Path(errors.__file__).parent / "digits"
OUTPUT = Path("digits-demo")


def demo_options(*, target: str = DEFAULT_TARGET, output: Path = OUTPUT) -> ExportOptions:
    """The export of a small trained network on real data, handwritten digits of 8 x 8 pixels.

    Args:
        target: What it is exported for.
        output: The bundle's folder.

    Raises:
        ModelError: The package was installed without the example.
    """
    if not (FOLDER / "model.pt").is_file():
        raise errors.ModelError(
            "the demo's network is not part of this installation",
            where=str(FOLDER),
            expected="model.pt, model.py and data.py",
            hint="install edgefactor again",
        )
    return ExportOptions(
        model=FOLDER / "model.pt",
        factory=f"{FOLDER / 'model.py'}:digits",
        target=target,
        calibration=f"{FOLDER / 'data.py'}:calibration",
        data=f"{FOLDER / 'data.py'}:test",
        name="digits",
        output=output,
    )


def command_line(options: ExportOptions) -> str:
    """The same as an ``edgefactor export`` that a user can start from."""
    words = (
        *("edgefactor", "export", options.model, "--model", options.factory),
        *("--target", options.target, "--calibration", options.calibration),
        *("--data", options.data, "--name", options.name, "-o", options.output),
    )
    return shlex.join(str(word) for word in words)
