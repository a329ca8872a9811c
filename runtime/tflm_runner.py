"""TFLite models in TensorFlow Lite Micro: the pip package tflite-micro, its real kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgefactor.errors import DataError, MissingToolError, ToolError
from edgefactor.runtime.sample_runner import Array, SampleRunner

MOST_TENSORS = 1000
"""Computed tensors that TFLM can preserve: its planner takes 1024 buffers, scratch included."""

_SPARE_BYTES = 2**20
"""For TFLM's own structures. When the arena is too small the package ends the whole process, so
the estimate is generous."""

_TENSOR_BYTES = 512
"""Most that TFLM keeps for a tensor beside its data, per-channel tables excepted."""


class TflmRunner(SampleRunner):
    """Runs a TFLite model with TFLM's interpreter.

    Attributes:
        keeps_tensors: Whether every tensor can be had: of very long models only the outputs.
    """

    def __init__(self, model: Path | bytes) -> None:
        """Load the model.

        Args:
            model: A TFLite file, or its bytes.

        Raises:
            MissingToolError: tflite-micro is not installed.
            ToolError: It refuses the model.
        """
        try:
            from tflite_micro.python.tflite_micro import runtime
        except ImportError as error:
            raise MissingToolError(
                "tflite-micro is not installed",
                hint="pip install --pre tflite-micro (Linux on x86-64 only)",
            ) from error
        self.name = f"tflm (tflite-micro {metadata.version('tflite-micro')})"
        content = model.read_bytes() if isinstance(model, Path) else model
        stored = runtime.convert_bytearray_to_object(bytearray(content))
        subgraphs = stored.subgraphs
        graph = subgraphs[0]
        tensors = list(graph.tensors)
        every = [tensor for subgraph in subgraphs for tensor in subgraph.tensors]
        self._index = {_name(tensor): index for index, tensor in enumerate(tensors)}
        arena_bytes = _SPARE_BYTES + 2 * sum(_tensor_bytes(tensor) for tensor in every)
        computed = sum(stored.buffers[tensor.buffer].data is None for tensor in every)
        self.keeps_tensors = computed <= MOST_TENSORS
        config = runtime.InterpreterConfig
        while True:
            try:
                self._interpreter = runtime.Interpreter.from_bytes(
                    content,
                    arena_size=arena_bytes,
                    intrepreter_config=config.kPreserveAllTensors
                    if self.keeps_tensors
                    else config.kAllocationRecording,
                )
                break
            except RuntimeError as error:
                if self.keeps_tensors and computed > MOST_TENSORS // 2:
                    # What kernels ask for as scratch may be what is too many.
                    self.keeps_tensors = False
                    continue
                raise ToolError(
                    "TensorFlow Lite Micro refuses the model", where=self.name, found=str(error)
                ) from error
        names = [_name(tensors[index]) for index in graph.inputs]
        self._order = tuple(names)
        self.inputs = {name: self._port(index) for index, name in enumerate(names)}
        self.outputs = tuple(_name(tensors[index]) for index in graph.outputs)

    def _port(self, index: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
        details = self._interpreter.get_input_details(index)
        return tuple(int(size) for size in details["shape"]), np.dtype(details["dtype"])

    def run(
        self, inputs: Mapping[str, Array], tensors: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Run all samples; see ``Runner``. Of ``tensors`` those that it keeps are returned."""
        if tensors is not None and not self.keeps_tensors:
            tensors = [name for name in tensors if name in self.outputs]
        return super().run(inputs, tensors)

    def _infer(self, sample: Mapping[str, Array], tensors: Sequence[str]) -> list[Array]:
        unknown = [name for name in tensors if name not in self._index]
        if unknown:
            raise DataError("the TFLite model has no such tensors", found=", ".join(unknown))
        for index, name in enumerate(self._order):
            self._interpreter.set_input(sample[name], index)
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise ToolError(
                "TensorFlow Lite Micro cannot run the model", where=self.name, found=str(error)
            ) from error
        if not self.keeps_tensors:
            return [np.array(self._interpreter.get_output(self.outputs.index(n))) for n in tensors]
        # A copy: the array lies in the interpreter's arena.
        return [
            np.array(self._interpreter.GetTensor(self._index[name], 0)["tensor_data"])
            for name in tensors
        ]


def _name(tensor: Any) -> str:
    return tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name)


def _tensor_bytes(tensor: Any) -> int:
    """Upper bound of what TFLM keeps for a tensor, constants included (they cost it nothing)."""
    elements = int(np.prod(tensor.shape)) if tensor.shape is not None else 1
    scales = tensor.quantization.scale if tensor.quantization is not None else None
    channels = 0 if scales is None else len(scales)
    # 8 bytes: the largest element type. Per channel: multiplier, shift, scale, zero point.
    return 8 * elements + _TENSOR_BYTES + 32 * channels
