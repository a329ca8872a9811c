"""The Graph: tensors and operators as immutable values, the one source of truth of an export.

The same classes hold a network before quantization (float tensors) and after it (int8 weights,
int8 or int16 activations, int32 or int64 biases). Passes are plain functions ``Graph -> Graph``;
the writers of ONNX, TFLite and C read a Graph and derive no number themselves.

Layout: activations of convolution-like operators have rank 4, batch 1, channels last (NHWC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


class DType(StrEnum):
    """Element types a Graph may hold."""

    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"

    @property
    def bytes(self) -> int:
        """Size of one element in bytes."""
        return np.dtype(str(self)).itemsize

    @property
    def code_range(self) -> tuple[int, int]:
        """Lowest and highest value of an integer type."""
        info = np.iinfo(str(self))
        return int(info.min), int(info.max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Affine quantization, ``real = scale * (code - zero_point)``.

    Attributes:
        scales: One scale, or one per index of ``axis``. Each is exactly representable in float32,
            because that is what a TFLite file stores.
        zero_point: Code of the real value 0; 0 for weights and biases.
        axis: The axis that ``scales`` runs over; None for one scale.
    """

    scales: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None

    @property
    def scale(self) -> float:
        """The only scale of a per-tensor quantization."""
        if len(self.scales) != 1:
            raise ValueError(f"{len(self.scales)} scales where one was asked for")
        return self.scales[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """One value of the Graph: an activation, or a constant if ``data`` is set."""

    name: str
    shape: tuple[int, ...]
    dtype: DType = DType.FLOAT32
    quantization: Quantization | None = None
    data: Array | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Size in bytes, unpacked."""
        return self.elements * self.dtype.bytes

    @property
    def quant(self) -> Quantization:
        """The quantization of a tensor that must have one."""
        if self.quantization is None:
            raise ValueError(f"tensor {self.name} is not quantized")
        return self.quantization

    @property
    def values(self) -> Array:
        """The data of a tensor that must be a constant."""
        if self.data is None:
            raise ValueError(f"tensor {self.name} is not a constant")
        return self.data


def constant(name: str, data: Array, quantization: Quantization | None = None) -> Tensor:
    """A constant tensor that owns a read-only copy of ``data``."""
    dtype = DType(str(data.dtype))
    owned = np.array(data, order="C")
    owned.setflags(write=False)
    return Tensor(
        name=name, shape=tuple(owned.shape), dtype=dtype, quantization=quantization, data=owned
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operator; each family in ``export/ops`` defines its own subclass with its attributes.

    Attributes:
        name: Unique in the Graph; becomes the layer's name in reports and in C.
        inputs: Names of the tensors it reads, constants included, in the family's order.
        outputs: Names of the tensors it defines.
        source: Where in the PyTorch code it comes from, if the exporter knew.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output of the network, as PyTorch and as the Graph see it.

    ``original.transpose(perm).reshape(graph tensor's shape)`` gives the Graph's value; ``perm``
    leads from the axes of the PyTorch array (``shape``) to the order in which they are stored.
    """

    tensor: str
    name: str
    shape: tuple[int, ...]
    perm: tuple[int, ...]

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample: without the batch axis, if the array has one."""
        return self.shape[1:] if self.shape[:1] == (1,) else self.shape

    def to_graph(self, array: Array, graph_shape: tuple[int, ...]) -> Array:
        """Bring an array ``[n, *shape[1:]]`` in PyTorch's layout into the Graph's, ``n`` kept."""
        stored = np.transpose(array, self.perm)
        return stored.reshape(array.shape[0] // self.shape[0] * graph_shape[0], *graph_shape[1:])

    def from_graph(self, array: Array) -> Array:
        """Bring a stack ``[n, ...]`` of Graph values back: ``[n, *sample_shape]`` as in PyTorch."""
        stored_shape = tuple(self.shape[axis] for axis in self.perm)
        stored = array.reshape(len(array), *stored_shape)
        inverse = tuple(int(axis) + 1 for axis in np.argsort(self.perm))
        return np.transpose(stored, (0, *inverse)).reshape(len(array), *self.sample_shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a network keeps from one run to the next.

    Attributes:
        input: Name of the input port that takes it.
        output: Name of the output port that returns it, at the same shape and scale.
    """

    input: str
    output: str


def _frozen_map(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return MappingProxyType(dict(tensors))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A network: operators in execution order over named tensors.

    Attributes:
        name: Of the network.
        tensors: All tensors by name.
        ops: In execution order.
        inputs: What it takes, states included.
        outputs: What it returns, states included.
        states: Which of these are kept from one run to the next; zeros before the first.
        metadata: What passes have to say.
    """

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[State, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", _frozen_map(self.tensors))

    def producer(self, tensor: str) -> Op | None:
        """The operator that defines a tensor; None for an input or a constant."""
        return next((op for op in self.ops if tensor in op.outputs), None)

    def consumers(self, tensor: str) -> tuple[Op, ...]:
        """The operators that read a tensor, in execution order."""
        return tuple(op for op in self.ops if tensor in op.inputs)

    def is_output(self, tensor: str) -> bool:
        """Whether a tensor leaves the network."""
        return any(port.tensor == tensor for port in self.outputs)

    @property
    def state_tensors(self) -> tuple[tuple[str, str], ...]:
        """For every state the tensor that takes it and the one that returns it."""
        takes = {port.name: port.tensor for port in self.inputs}
        returns = {port.name: port.tensor for port in self.outputs}
        return tuple((takes[state.input], returns[state.output]) for state in self.states)

    @property
    def activations(self) -> tuple[Tensor, ...]:
        """All tensors that are computed, inputs first, then in execution order."""
        names = [port.tensor for port in self.inputs]
        names += [name for op in self.ops for name in op.outputs]
        return tuple(self.tensors[name] for name in dict.fromkeys(names))

    def edit(
        self,
        *,
        ops: tuple[Op, ...] | None = None,
        tensors: Mapping[str, Tensor] | None = None,
        inputs: tuple[Port, ...] | None = None,
        outputs: tuple[Port, ...] | None = None,
    ) -> Graph:
        """A copy with other operators or tensors; tensors that nothing uses are dropped."""
        new_ops = self.ops if ops is None else ops
        new_inputs = self.inputs if inputs is None else inputs
        new_outputs = self.outputs if outputs is None else outputs
        pool = self.tensors if tensors is None else tensors
        used = {port.tensor for port in (*new_inputs, *new_outputs)}
        for op in new_ops:
            used.update(op.inputs)
            used.update(op.outputs)
        kept = {name: tensor for name, tensor in pool.items() if name in used}
        return replace(self, ops=new_ops, tensors=kept, inputs=new_inputs, outputs=new_outputs)
