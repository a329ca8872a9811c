"""ONNX models in ONNX Runtime, float or with Q/DQ pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgefactor.errors import DataError, MissingToolError, ToolError
from edgefactor.runtime.sample_runner import Array, SampleRunner

_TYPES = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}


class OnnxRuntimeRunner(SampleRunner):
    """Runs an ONNX model on the CPU.

    Tensors inside the model are made outputs on demand. That keeps ONNX Runtime from fusing across
    them, so that a run for tensors may round otherwise than one for the outputs alone.
    """

    def __init__(self, model: Path | bytes) -> None:
        """Load the model.

        Args:
            model: An ONNX file, or its bytes.

        Raises:
            MissingToolError: ONNX Runtime is not installed.
            ToolError: It refuses the model.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingToolError(
                "ONNX Runtime is not installed", hint="pip install onnxruntime"
            ) from error
        self._library = onnxruntime
        self._model = model.read_bytes() if isinstance(model, Path) else model
        self._sessions: dict[tuple[str, ...], Any] = {}
        session = self._session(())
        self.name = f"onnxruntime {onnxruntime.__version__}"
        self.inputs = {
            port.name: (_fixed(port.shape), np.dtype(_TYPES.get(port.type, np.float32)))
            for port in session.get_inputs()
        }
        self.outputs = tuple(port.name for port in session.get_outputs())

    def _infer(self, sample: Mapping[str, Array], tensors: Sequence[str]) -> list[Array]:
        inner = tuple(name for name in tensors if name not in self.outputs)
        values: list[Array] = self._session(inner).run(list(tensors), dict(sample))
        return values

    def _session(self, inner: tuple[str, ...]) -> Any:
        if inner in self._sessions:
            return self._sessions[inner]
        options = self._library.SessionOptions()
        # More threads cost more than they bring in networks of this size.
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        content = self._with_outputs(inner)
        try:
            session = self._library.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own classes share no base but this
            raise ToolError(
                "ONNX Runtime refuses the model",
                where=f"onnxruntime {self._library.__version__}",
                found=str(error),
            ) from error
        self._sessions[inner] = session
        return session

    def _with_outputs(self, inner: tuple[str, ...]) -> bytes:
        if not inner:
            return self._model
        import onnx

        model = onnx.load_from_string(self._model)
        known = {name for node in model.graph.node for name in node.output}
        known |= {port.name for port in model.graph.input}
        unknown = [name for name in inner if name not in known]
        if unknown:
            raise DataError("the ONNX model has no such tensors", found=", ".join(unknown))
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
        content: bytes = model.SerializeToString()
        return content


def _fixed(shape: Sequence[int | str | None]) -> tuple[int, ...]:
    """One sample's shape: a free dimension is the batch."""
    return tuple(size if isinstance(size, int) else 1 for size in shape)
