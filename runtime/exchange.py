"""The two files by which the check harness and this side talk; runtime/harness/check.c is the twin.

All words are little-endian and unsigned, 32 bits.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefactor.errors import DataError, ToolError

MAGIC = 0x4B434645
VERSION = 1
HEADER_BYTES = 24
INPUT_FILE = "check_input.bin"
OUTPUT_FILE = "check_output.bin"

Samples = npt.NDArray[np.int8]
"""int8, shape (samples, bytes): the raw bytes of all inputs of a sample, one after another."""


class Mode(enum.IntEnum):
    """What the harness is asked for."""

    OUTPUTS = 0
    TRACE = 1
    MEMORY = 2
    COUNT = 3
    STEPS = 4
    START_UP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the harness wrote.

    Attributes:
        output_bytes: Bytes of all outputs of one sample.
        steps: Traced tensors of one inference.
        payload: The bytes after the header; their layout depends on the mode.
    """

    output_bytes: int
    steps: int
    payload: npt.NDArray[np.uint8]

    def words(self) -> list[int]:
        """The payload as words."""
        return [int(word) for word in self.payload.view("<u4")]


def ask(mode: Mode, inputs: Samples, work: Path, launch: Callable[[], None]) -> Answer:
    """Have the harness run over samples.

    Args:
        mode: What to do with each sample.
        inputs: The samples.
        work: The harness's working directory; both files are removed afterwards.
        launch: Starts the harness there and waits for its end.

    Raises:
        ToolError: The harness failed, or its output is not whole.
    """
    inputs = np.ascontiguousarray(inputs)
    if inputs.ndim != 2 or inputs.dtype != np.int8:
        raise DataError(
            "samples for the C code have the wrong form",
            found=f"{inputs.dtype} of shape {inputs.shape}",
            expected="int8 of shape (samples, bytes)",
        )
    header = np.array([MAGIC, VERSION, mode, len(inputs), inputs.shape[1], 0], dtype="<u4")
    question, answer = work / INPUT_FILE, work / OUTPUT_FILE
    try:
        with question.open("wb") as file:
            file.write(header.tobytes())
            file.write(inputs.tobytes())
        launch()
        written = np.fromfile(answer, dtype=np.uint8)
    except OSError as error:
        raise ToolError(
            "the check harness and this program cannot exchange files",
            where=str(work),
            found=str(error),
        ) from error
    finally:
        question.unlink(missing_ok=True)
        answer.unlink(missing_ok=True)
    return _parse(written, mode, len(inputs))


def _parse(written: npt.NDArray[np.uint8], mode: Mode, samples: int) -> Answer:
    if len(written) >= HEADER_BYTES + 4:
        words = written[:HEADER_BYTES].view("<u4")
        end = int(written[-4:].copy().view("<u4")[0])
        if [int(word) for word in words[:4]] == [MAGIC, VERSION, mode, samples] and end == MAGIC:
            return Answer(
                output_bytes=int(words[4]),
                steps=int(words[5]),
                payload=written[HEADER_BYTES:-4].copy(),
            )
    raise ToolError(
        "the check harness ended without writing its whole output",
        found=f"{len(written)} bytes",
    )
