"""TFLite models in LiteRT: its reference kernels, or its default with XNNPACK.

The package is ai-edge-litert, or tflite-runtime where that is what is installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgefactor.errors import DataError, MissingToolError, ToolError
from edgefactor.runtime.sample_runner import Array, SampleRunner


class LiteRtRunner(SampleRunner):
    """Runs a TFLite model; with the reference kernels every tensor can be had.

    Attributes:
        library: The package that runs it, with its version.
    """

    def __init__(self, model: Path | bytes, *, reference: bool = True) -> None:
        """Load the model.

        Args:
            model: A TFLite file, or its bytes.
            reference: True for the plain reference kernels, whose integers are exact; False for
                what applications get by default, which requantizes in float.

        Raises:
            MissingToolError: Neither package is installed.
            ToolError: The runtime refuses the model.
        """
        interpreter, self.library = _import_interpreter()
        self._reference = reference
        resolver = interpreter.OpResolverType
        kind = resolver.BUILTIN_REF if reference else resolver.AUTO
        self.name = f"litert ({self.library})"
        try:
            with _silent():
                self._interpreter = interpreter.Interpreter(
                    model_content=model.read_bytes() if isinstance(model, Path) else model,
                    experimental_op_resolver_type=kind,
                    experimental_preserve_all_tensors=reference,
                    num_threads=1,
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ToolError(
                "the TFLite runtime refuses the model", where=self.library, found=str(error)
            ) from error
        ports = self._interpreter.get_input_details()
        self.inputs = {
            port["name"]: (tuple(int(size) for size in port["shape"]), np.dtype(port["dtype"]))
            for port in ports
        }
        self._input_index = {port["name"]: port["index"] for port in ports}
        ends = self._interpreter.get_output_details()
        self.outputs = tuple(port["name"] for port in ends)
        seen = self._interpreter.get_tensor_details() if reference else (*ports, *ends)
        self._index = {detail["name"]: detail["index"] for detail in seen}

    def run(
        self, inputs: Mapping[str, Array], tensors: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Run all samples; see ``Runner``.

        The default kernels keep only the model's inputs and outputs: of ``tensors`` they return
        those. The reference kernels return all, or it is an error.
        """
        kept = None if tensors is None else [name for name in tensors if name in self._index]
        if self._reference and kept is not None and len(kept) != len(tensors or ()):
            unknown = [name for name in tensors or () if name not in self._index]
            raise DataError("the TFLite model has no such tensors", found=", ".join(unknown))
        return super().run(inputs, kept)

    def _infer(self, sample: Mapping[str, Array], tensors: Sequence[str]) -> list[Array]:
        for name, array in sample.items():
            self._interpreter.set_tensor(self._input_index[name], array)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(self._index[name]) for name in tensors]


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps the C++ library's own log from the terminal: errors arrive as exceptions too."""
    try:
        kept = os.dup(2)
    except OSError:
        yield  # there is no stderr
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _import_interpreter() -> tuple[Any, str]:
    """The module with the interpreter, and the package's name and version."""
    try:
        from ai_edge_litert import interpreter

        return interpreter, f"ai-edge-litert {metadata.version('ai-edge-litert')}"
    except ImportError:
        pass
    try:
        from tflite_runtime import interpreter

        return interpreter, f"tflite-runtime {metadata.version('tflite-runtime')}"
    except ImportError as error:
        raise MissingToolError(
            "no TFLite runtime is installed", hint="pip install ai-edge-litert"
        ) from error
