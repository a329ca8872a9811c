"""The interface of the runners of model files, and what they share: one sample after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgefactor.errors import DataError

Array = npt.NDArray[Any]


class Runner(Protocol):
    """Anything that executes a model and returns its tensors by name."""

    @property
    def name(self) -> str:
        """The runtime and its version, for people."""

    def run(
        self, inputs: Mapping[str, Array], tensors: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Run all samples.

        Args:
            inputs: One array per model input, ``[n, ...]`` with one sample's elements in each
                ``[i]``; any shape with the right number of elements.
            tensors: Names of the tensors to return; the model's outputs if None.

        Returns:
            One array per tensor, ``[n, ...]``: the tensor's shape with n for a leading 1, or
            with n in front of it where the first dimension is another.
        """


class SampleRunner(ABC):
    """A runtime that takes one sample at a time.

    Attributes:
        name: The runtime and its version, for people.
        inputs: Shape and type of each model input.
        outputs: Names of the model's outputs.
    """

    name: str
    inputs: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
    outputs: tuple[str, ...]

    @abstractmethod
    def _infer(self, sample: Mapping[str, Array], tensors: Sequence[str]) -> list[Array]:
        """Run one sample, given in the shapes of ``inputs``; copies of the tensors asked for."""

    def run(
        self, inputs: Mapping[str, Array], tensors: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Run all samples; see ``Runner``.

        Raises:
            DataError: The inputs do not fit the model, or it has no such tensor.
        """
        names = tuple(self.outputs if tensors is None else tensors)
        ready = {name: self._prepare(name, inputs.get(name)) for name in self.inputs}
        counts = {len(array) for array in ready.values()}
        if len(counts) != 1 or set(inputs) != set(self.inputs):
            raise DataError(
                f"the inputs do not fit the model in {self.name}",
                found=_describe({name: np.shape(array) for name, array in inputs.items()}),
                expected=_describe({name: shape for name, (shape, _) in self.inputs.items()})
                + ", each for the same number of samples",
            )
        found: list[list[Array]] = [[] for _ in names]
        for index in range(counts.pop()):
            sample = {name: array[index] for name, array in ready.items()}
            for values, value in zip(found, self._infer(sample, names), strict=True):
                values.append(value[0] if value.ndim and value.shape[0] == 1 else value)
        return {
            name: np.stack(values) if values else np.zeros((0,))
            for name, values in zip(names, found, strict=True)
        }

    def _prepare(self, name: str, array: Array | None) -> Array:
        shape, dtype = self.inputs[name]
        size = int(np.prod(shape))
        if array is None or not len(array) or array[0].size != size:
            raise DataError(
                f"the input {name!r} does not fit the model in {self.name}",
                found="nothing" if array is None else str(np.shape(array)),
                expected=f"samples of {size} elements",
            )
        return np.ascontiguousarray(array, dtype=dtype).reshape(len(array), *shape)


def _describe(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
