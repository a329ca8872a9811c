"""What every operator family provides, and the builders that the rooms around it offer.

A family is one file in this folder with all the faces of one kind of operator side by side: how it
is lowered from ONNX, its shape rule, how it is quantized, its integer arithmetic in NumPy, and how
it is written as ONNX, as TFLite and as C. Padding, zero points and rounding have to be the same in
all of them; side by side a reader sees where they differ. A face that is missing fails at import,
because the families are instances of an abstract class.

The protocols below are all that a family knows of the outside: no torch, no ONNX or TFLite schema.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor, constant

Shape = tuple[int, ...]
#: How an output gets its scale: from its own calibrated range, the same as the activations it is
#: computed from, or a fixed one that the TFLite operator demands.
OutputRule = Literal["free", "same"] | Quantization
#: TensorProto.FLOAT, INT32, INT64 and BOOL.
ONNX_FLOAT, ONNX_INT32, ONNX_INT64, ONNX_BOOL = 1, 6, 7, 9
#: Of truth values: the codes 0 and 1.
BOOLEAN = Quantization(scales=(1.0,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An ONNX node as the families see it."""

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def input(self, index: int) -> str:
        """The name of an input; empty if it is optional and absent."""
        return self.inputs[index] if index < len(self.inputs) else ""


class Lowering(Protocol):
    """Turns ONNX nodes into Graph operators (implemented in ``pipeline/lower.py``).

    ONNX values are looked up by their ONNX name and shape; the Graph tensor behind one may be
    stored in another order of axes, which ``plain`` and ``channels_last`` settle.
    """

    def shape(self, value: str) -> Shape:
        """The static ONNX shape of a value."""

    def element_type(self, value: str) -> int:
        """The ONNX type of a value's elements, a number of TensorProto.DataType."""

    def constant(self, value: str) -> NDArray[Any] | None:
        """The array behind a value that is constant, in ONNX layout; None for an activation."""

    def is_read(self, value: str) -> bool:
        """Whether a node reads a value or the network returns it."""

    def plain(self, value: str) -> str:
        """The Graph tensor of an activation, stored in ONNX order and with the ONNX shape."""

    def channels_last(self, value: str) -> str:
        """The Graph tensor of an activation as NHWC: rank 2 [N,1,1,C], rank 3 [N,1,L,C]."""

    def features_last(self, value: str) -> str:
        """The Graph tensor of an activation in ONNX order, viewed as [1, rows, 1, last axis]."""

    def stored(self, value: str) -> tuple[str, tuple[int, ...]]:
        """The Graph tensor as it happens to be stored, and its permutation of the ONNX axes."""

    def stored_like(self, value: str, perm: tuple[int, ...]) -> str:
        """The Graph tensor with the axes of the ONNX value in the order ``perm``."""

    def graph_shape(self, tensor: str) -> Shape:
        """The shape of a Graph tensor."""

    def view(self, tensor: str, shape: Shape) -> str:
        """A Graph tensor's elements in the same order under another shape (a free Reshape)."""

    def add_constant(self, data: Array, hint: str) -> str:
        """Add a constant in Graph layout and return its tensor name."""

    def emit(
        self,
        op_type: type[Op],
        inputs: Sequence[str],
        shape: Shape,
        *,
        hint: str = "",
        **fields: Any,
    ) -> str:
        """Append an operator with one float output of ``shape``; return the output's name."""

    def bind_channels_last(self, value: str, tensor: str) -> None:
        """Say that an ONNX value is this NHWC tensor."""

    def bind_plain(self, value: str, tensor: str) -> None:
        """Say that an ONNX value is this tensor, stored in ONNX order."""

    def bind(self, value: str, tensor: str, perm: tuple[int, ...]) -> None:
        """Say that an ONNX value is this tensor, stored with its axes in the order ``perm``."""

    def unsupported(self, node: Node, reason: str, hint: str) -> NoReturn:
        """Raise the typed error that names the node and its place in the source."""


class Quantizer(Protocol):
    """Settles constants once the activations have their scales (``pipeline/quantize.py``)."""

    def tensor(self, name: str) -> Tensor:
        """A tensor; activations have their final quantization, constants are still float."""

    def put(self, tensor: Tensor) -> str:
        """Add or replace a tensor; returns its name."""

    def range(self, name: str) -> tuple[float, float]:
        """Lowest and highest real value of an activation or of a probe of the family."""


class OnnxBuilder(Protocol):
    """Writes ONNX nodes on real (float) values; rank-4 Graph tensors appear as NCHW.

    With an int8 Graph every value is followed by QuantizeLinear and DequantizeLinear.
    """

    def read(self, tensor: str) -> str:
        """The ONNX value of an activation or per-tensor constant, NCHW if its rank is 4."""

    def read_weights(self, tensor: str, perm: tuple[int, ...]) -> str:
        """A constant with its axes permuted, dequantized along its quantization axis."""

    def literal(self, data: Array) -> str:
        """An unquantized constant: shapes, axes, attributes that ONNX takes as inputs."""

    def node(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""

    def node_of(
        self, op_type: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Append a node with several outputs and return their names."""

    def write(self, tensor: str, value: str) -> None:
        """Say that an ONNX value is this Graph tensor (NCHW if its rank is 4)."""

    @property
    def wants_probes(self) -> bool:
        """Whether values inside of operators are asked for: while ranges are measured."""

    def probe(self, name: str, value: str) -> None:
        """Say that an ONNX value is a probe of the operator that is written."""


class TfliteBuilder(Protocol):
    """Writes TFLite operators; tensors of the Graph are referred to by name."""

    def tensor(self, name: str) -> int:
        """Index of a Graph tensor."""

    def int32(self, data: Sequence[Any] | NDArray[Any], name: str) -> int:
        """Index of a new int32 constant: paddings, shapes, axes."""

    def int8(self, data: NDArray[np.int8], quantization: Quantization, name: str) -> int:
        """Index of a new int8 constant."""

    def constant(self, data: Array, quantization: Quantization | None, name: str) -> int:
        """Index of a new constant of the array's type; None: plain numbers."""

    def temporary(
        self,
        shape: Shape,
        quantization: Quantization | None,
        name: str,
        dtype: DType = DType.INT8,
    ) -> int:
        """Index of a new activation that the Graph does not hold."""

    def int32_temporary(self, shape: Shape, name: str) -> int:
        """Index of a new int32 activation: indices into a table."""

    def bool_temporary(self, shape: Shape, name: str) -> int:
        """Index of a new activation of truth values."""

    def op(
        self,
        code: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        *,
        version: int = 1,
        **fields: Any,
    ) -> None:
        """Append an operator: BuiltinOperator name, option table name and the table's fields."""

    def loop(
        self,
        name: str,
        steps: int,
        first: Sequence[int],
        results: Sequence[int | None],
        body: Callable[[TfliteBuilder, int, Sequence[int]], Sequence[int]],
    ) -> None:
        """Append a WHILE that runs ``steps`` times.

        Args:
            name: Of its tensors.
            steps: How often.
            first: Indices of the values that the first step gets.
            results: For each, where its last value goes; None for nowhere.
            body: Writes a step into the builder it is given: (builder, index of the step's int32
                number as a tensor of one element, indices of the values) -> indices of the new
                values. The builder numbers tensors on its own.
        """


class Family(ABC):
    """All faces of one operator."""

    op: ClassVar[type[Op]]
    #: ONNX operators that ``lower`` takes; empty for operators that only passes create.
    onnx_ops: ClassVar[tuple[str, ...]] = ()
    #: Whether activations of different types may meet in one operator.
    mixes_widths: ClassVar[bool] = False

    @abstractmethod
    def lower(self, node: Node, lowering: Lowering) -> None:
        """Emit Graph operators for an ONNX node and bind its outputs."""

    @abstractmethod
    def output_shape(self, op: Any, inputs: Sequence[Tensor]) -> Shape:
        """The shape of the output, from attributes and input shapes."""

    @abstractmethod
    def output_rule(self, op: Any) -> OutputRule:
        """How the output's quantization is decided."""

    def probes(self, op: Any) -> tuple[str, ...]:
        """Names of values inside of the operator whose ranges quantization needs."""
        return ()

    def one_scale(self, op: Any) -> tuple[str, ...]:
        """The tensors that share one scale: those of an operator whose output rule is "same"."""
        return (*op.inputs, *op.outputs) if self.output_rule(op) == "same" else ()

    def input_rule(self, op: Any, index: int) -> Quantization | None:
        """The quantization that an input must have; None if any will do."""
        return None

    def wide_output_rule(self, op: Any) -> OutputRule:
        """``output_rule`` for 16-bit activations."""
        return self.output_rule(op)

    def input_width(self, op: Any, index: int) -> DType | None:
        """The type that an input must have; None for that of the operator, or any if it mixes."""
        return None

    def always_wide(self, op: Any) -> bool:
        """Whether the output is int16 in any case."""
        return False

    def wide_input_rule(self, op: Any, index: int) -> Quantization | None:
        """The quantization that an int16 input must have; None for any."""
        return None

    def finest_scale(self, op: Any, inputs: Sequence[float], shapes: Sequence[Shape]) -> float:
        """The smallest scale that a 16-bit output may have, from those of the inputs."""
        return 0.0

    def is_settled(self, op: Any, inputs: Sequence[Tensor], output: Tensor) -> bool:
        """Whether the scales leave every runtime the same codes; else the output's is moved."""
        return True

    def widths(self, op: Any) -> tuple[DType, ...]:
        """The types that its activations may have, all of them the same one."""
        return (DType.INT8,)

    def width_is_given(self, op: Any) -> bool:
        """Whether the types of its activations follow from what they are: nothing to choose."""
        return False

    def whole_numbers(self, op: Any) -> tuple[str, ...]:
        """The activations of indices that need 16 bits: they keep their type at every border."""
        return ()

    def quantize(self, op: Any, quantizer: Quantizer) -> Op:
        """Make the float constants of an operator integer; by default each per tensor.

        They get the type of its activations.
        """
        dtype = quantizer.tensor(op.outputs[0]).dtype
        names = []
        for name in op.inputs:
            tensor = quantizer.tensor(name)
            if tensor.data is not None and tensor.dtype == "float32":
                real = np.asarray(tensor.data, np.float32)
                chosen = numerics.choose_for(dtype, float(real.min()), float(real.max()))
                quantizer.put(constant(name, numerics.quantize(real, chosen, dtype), chosen))
            names.append(name)
        return replace_inputs(op, tuple(names))

    @abstractmethod
    def reference(
        self, op: Any, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        """The integer result, in plain NumPy: what every other implementation must equal.

        Its type is the output's: int8, or int16 where ``widths`` says so.
        """

    def fatal(self, op: Any, inputs: Sequence[Tensor], values: Sequence[Array]) -> str:
        """Why the kernels of LiteRT and TFLM would end the whole process on these values.

        Empty where they run: by default. ``values`` may hold many samples.
        """
        return ""

    @abstractmethod
    def write_onnx(self, op: Any, graph: Graph, builder: OnnxBuilder) -> None:
        """Write the operator on real values."""

    @abstractmethod
    def write_tflite(self, op: Any, graph: Graph, builder: TfliteBuilder) -> None:
        """Write the operator as TFLite builtins, bit-exact with ``reference``."""

    @abstractmethod
    def layer_code(self, op: Any, graph: Graph, target: CTarget) -> LayerCode:
        """The C kernel that runs the operator, with its data."""


def put_at_scale(op: Op, quantizer: Quantizer, like: Tensor) -> Op:
    """Make the float constants of an operator integer as the activations that share a scale are."""
    for name in op.inputs:
        tensor = quantizer.tensor(name)
        if tensor.data is not None and tensor.dtype is DType.FLOAT32:
            codes = numerics.quantize(np.asarray(tensor.data, np.float32), like.quant, like.dtype)
            quantizer.put(constant(name, codes, like.quant))
    return op


def replace_inputs(op: Op, inputs: tuple[str, ...]) -> Op:
    """The same operator reading other tensors."""
    return op if inputs == op.inputs else replace(op, inputs=inputs)
