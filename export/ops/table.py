"""Functions of one tensor that TFLite has no exact int8 builtin for: a table of 256 codes.

Exponential, logarithm, roots, powers, error function, GELU, Mish, ELU and whatever is composed of
them. The function is an expression in postfix notation, ``"x x softplus tanh mul"`` for Mish; its
values are computed in double precision and rounded once. In TFLite the code is cast to int32, moved
to 0..255 and gathers its result from the table, so every runtime looks up the same numbers. Smooth
functions of int16 codes are interpolated (``export/functions/interpolation16.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.c_code.unary_code import CODES, unary_code
from edgefactor.export.functions import interpolation16
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor
from edgefactor.export.numerics import IntArray
from edgefactor.export.ops.family import (
    BOOLEAN,
    ONNX_BOOL,
    ONNX_FLOAT,
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.parts.interpolated_table import (
    interpolated_table_code,
    write_interpolated_table,
)

Reals = NDArray[np.float64]
#: Float types of TensorProto.
_ONNX_FLOATS = {1, 10, 11, 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Op):
    """Input: activation of any shape.

    Attributes:
        expression: Words in postfix order: ``x``, numbers, the names in UNARY, BINARY and
            COMPARISONS, and ``where`` for a condition and two values.
        boolean: Whether the values are 0 and 1 and stand for truth.
    """

    expression: str
    boolean: bool = False


def _erf(x: Reals) -> Reals:
    return np.array([math.erf(value) for value in x.reshape(-1)]).reshape(x.shape)


#: Word -> its function and its ONNX operator.
UNARY: Mapping[str, tuple[Callable[[Reals], Reals], str]] = {
    "abs": (np.abs, "Abs"),
    "acos": (np.arccos, "Acos"),
    "acosh": (np.arccosh, "Acosh"),
    "asin": (np.arcsin, "Asin"),
    "asinh": (np.arcsinh, "Asinh"),
    "atan": (np.arctan, "Atan"),
    "atanh": (np.arctanh, "Atanh"),
    "ceil": (np.ceil, "Ceil"),
    "cos": (np.cos, "Cos"),
    "cosh": (np.cosh, "Cosh"),
    "erf": (_erf, "Erf"),
    "exp": (np.exp, "Exp"),
    "floor": (np.floor, "Floor"),
    "log": (np.log, "Log"),
    "neg": (np.negative, "Neg"),
    "reciprocal": (np.reciprocal, "Reciprocal"),
    "round": (np.rint, "Round"),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), "Sigmoid"),
    "sign": (np.sign, "Sign"),
    "sin": (np.sin, "Sin"),
    "sinh": (np.sinh, "Sinh"),
    "softplus": (lambda x: np.logaddexp(x, 0), "Softplus"),
    "sqrt": (np.sqrt, "Sqrt"),
    "tan": (np.tan, "Tan"),
    "tanh": (np.tanh, "Tanh"),
}
BINARY: Mapping[str, tuple[Callable[[Reals, Reals], Reals], str]] = {
    "add": (np.add, "Add"),
    "div": (np.divide, "Div"),
    "max": (np.maximum, "Max"),
    "min": (np.minimum, "Min"),
    "mul": (np.multiply, "Mul"),
    "pow": (np.power, "Pow"),
    "sub": (np.subtract, "Sub"),
}
#: Their values are 1 and 0.
COMPARISONS: Mapping[str, tuple[Callable[[Reals, Reals], Reals], str]] = {
    "equal": (np.equal, "Equal"),
    "greater": (np.greater, "Greater"),
    "less": (np.less, "Less"),
}
#: Whether a value is not 0.
TRUTH = "1 x 0 equal sub"

_ELU = "x 0 max x exp 1 sub {alpha} mul 0 min add"
_ROOT_2_OVER_PI = math.sqrt(2 / math.pi)
#: ONNX operator -> expression; braces hold attributes.
_FROM_ONNX: Mapping[str, str] = {
    **{operator: f"x {word}" for word, (_, operator) in UNARY.items()},
    "Celu": "x 0 max x {alpha} div exp 1 sub {alpha} mul 0 min add",
    "Elu": _ELU,
    "Gelu": "x 0.5 mul x 2 sqrt div erf 1 add mul",
    # No code stands for a value that is not finite.
    "IsInf": "x 0 mul",
    "IsNaN": "x 0 mul",
    "Mish": "x x softplus tanh mul",
    "Not": "1 x sub",
    "Selu": f"{_ELU} {{gamma}} mul",
    "Shrink": ("x {bias} sub x {lambd} greater mul x {bias} add 0 {lambd} sub x greater mul add"),
    "Softsign": "x x abs 1 add div",
    "ThresholdedRelu": "x x {alpha} greater mul",
}
#: Those whose results are truth values.
_TRUTHS = {"IsInf", "IsNaN", "Not"}
#: What families of their own do.
_ELSEWHERE = {"Abs", "Neg", "Sigmoid", "Tanh"}
_TANH_GELU = f"x 0.5 mul x 3 pow 0.044715 mul x add {_ROOT_2_OVER_PI!r} mul tanh 1 add mul"
_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "Celu": {"alpha": 1.0},
    "Elu": {"alpha": 1.0},
    "Shrink": {"bias": 0.0, "lambd": 0.5},
    "ThresholdedRelu": {"alpha": 1.0},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
}


def substitute(outer: str, inner: str) -> str:
    """The expression that applies ``outer`` to the value of ``inner``."""
    return " ".join(inner if word == "x" else word for word in outer.split())


def evaluate(expression: str, x: Reals) -> Reals:
    """The value of an expression; NaN where it is not defined."""
    stack: list[Reals] = []
    with np.errstate(all="ignore"):
        for word in expression.split():
            if word in UNARY:
                stack.append(UNARY[word][0](stack.pop()))
            elif word in BINARY:
                right = stack.pop()
                stack.append(BINARY[word][0](stack.pop(), right))
            elif word in COMPARISONS:
                right = stack.pop()
                stack.append(COMPARISONS[word][0](stack.pop(), right).astype(np.float64))
            elif word == "where":
                other, value = stack.pop(), stack.pop()
                stack.append(np.where(stack.pop() != 0, value, other))
            else:
                stack.append(x if word == "x" else np.full_like(x, float(word)))
    (value,) = stack
    return value


def table_codes(op: Table, x: Quantization, output: Quantization) -> IntArray:
    """The output codes of the codes -128 to 127; where the function is not defined, that of 0."""
    real = evaluate(op.expression, (CODES - x.zero_point).astype(np.float64) * x.scale)
    # Ends far outside of int8 keep infinity within an integer.
    steps = np.clip(np.nan_to_num(real / output.scale, nan=0.0), -1e6, 1e6)
    codes = numerics.round_half_away(steps) + output.zero_point
    return np.asarray(np.clip(codes, numerics.INT8_MIN, numerics.INT8_MAX))


@cache
def _is_smooth(expression: str) -> bool:
    """Whether int16 codes may be interpolated."""
    return interpolation16.is_smooth(partial(evaluate, expression))


def _knots(op: Table, x: Tensor, output: Tensor) -> IntArray:
    """What int16 codes are interpolated from."""
    function = partial(evaluate, op.expression)
    return interpolation16.knots(function, x.quant.scale, output.quant.scale)


#: The name of an input of whole numbers once it has its type (``pipeline/trace.py``).
TYPED_SUFFIX = "_typed"


def _changes_values(node: Node, lowering: Lowering) -> bool:
    """Whether a Cast does anything to real values: truncate them or ask whether they are 0.

    An input of whole numbers, such as token ids, is a real one that tracing casts back.
    """
    kind = int(node.attributes["to"])
    if kind == ONNX_BOOL:
        return lowering.element_type(node.input(0)) != ONNX_BOOL
    if kind in _ONNX_FLOATS or node.outputs[0] == node.input(0) + TYPED_SUFFIX:
        return False
    return lowering.element_type(node.input(0)) in _ONNX_FLOATS


class TableFamily(Family):
    """Exp, Log, Sqrt, Erf, Gelu, Mish, Elu, Selu, Softplus and others; Pow; Not; Cast."""

    op = Table
    onnx_ops = (*sorted(set(_FROM_ONNX) - _ELSEWHERE), "Cast", "Pow")

    def lower(self, node: Node, lowering: Lowering) -> None:
        tensor, perm = lowering.stored(node.input(0))
        if node.op_type == "Cast" and not _changes_values(node, lowering):
            lowering.bind(node.outputs[0], tensor, perm)
            return
        result = lowering.emit(
            Table,
            [tensor],
            lowering.graph_shape(tensor),
            expression=self._expression(node, lowering),
            boolean=node.op_type in _TRUTHS or node.attributes.get("to") == ONNX_BOOL,
        )
        lowering.bind(node.outputs[0], result, perm)

    def _expression(self, node: Node, lowering: Lowering) -> str:
        if node.op_type == "Pow":
            exponent = lowering.constant(node.input(1))
            if (
                exponent is None
                or exponent.size != 1
                or lowering.constant(node.input(0)) is not None
            ):
                lowering.unsupported(
                    node, "its exponent is no single number", "use a constant exponent"
                )
            return f"x {float(exponent.reshape(())[()])!r} pow"
        if node.op_type == "Cast":
            return TRUTH if node.attributes["to"] == ONNX_BOOL else "x sign x abs floor mul"
        if node.attributes.get("approximate", "none") == "tanh":
            return _TANH_GELU
        numbers = dict(_DEFAULTS.get(node.op_type, {}))
        numbers |= {key: float(node.attributes[key]) for key in numbers if key in node.attributes}
        if numbers.get("alpha", 1.0) <= 0 and node.op_type != "ThresholdedRelu":
            lowering.unsupported(node, "its alpha is not positive", "use a positive alpha")
        return _FROM_ONNX[node.op_type].format(**numbers)

    def output_shape(self, op: Table, inputs: Sequence[Tensor]) -> Shape:
        return inputs[0].shape

    def widths(self, op: Table) -> tuple[DType, ...]:
        smooth = not op.boolean and _is_smooth(op.expression)
        return (DType.INT8, DType.INT16) if smooth else (DType.INT8,)

    def output_rule(self, op: Table) -> OutputRule:
        return BOOLEAN if op.boolean else "free"

    def reference(
        self, op: Table, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        if output.dtype is DType.INT16:
            found = interpolation16.interpolate(
                values[0].astype(np.int64), _knots(op, inputs[0], output)
            )
            return found.astype(np.int16)
        codes = table_codes(op, inputs[0].quant, output.quant).astype(np.int8)
        return codes[values[0].astype(np.int64) - int(CODES[0])]

    def write_onnx(self, op: Table, graph: Graph, builder: OnnxBuilder) -> None:
        stack: list[str] = []
        for word in op.expression.split():
            if word in UNARY:
                stack.append(builder.node(UNARY[word][1], [stack.pop()]))
            elif word in BINARY:
                right = stack.pop()
                stack.append(builder.node(BINARY[word][1], [stack.pop(), right]))
            elif word in COMPARISONS:
                right = stack.pop()
                holds = builder.node(COMPARISONS[word][1], [stack.pop(), right])
                stack.append(builder.node("Cast", [holds], to=ONNX_FLOAT))
            elif word == "where":
                choices = [stack.pop(), stack.pop()][::-1]
                holds = builder.node("Cast", [stack.pop()], to=ONNX_BOOL)
                stack.append(builder.node("Where", [holds, *choices]))
            elif word == "x":
                stack.append(builder.read(op.inputs[0]))
            else:
                stack.append(builder.literal(np.array(float(word), np.float32)))
        builder.write(op.outputs[0], stack.pop())

    def write_tflite(self, op: Table, graph: Graph, builder: TfliteBuilder) -> None:
        x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        if output.dtype is DType.INT16:
            write_interpolated_table(builder, op.name, x, output, _knots(op, x, output))
            return
        wide = builder.int32_temporary(x.shape, f"{op.name}/wide")
        index = builder.int32_temporary(x.shape, f"{op.name}/index")
        codes = table_codes(op, x.quant, output.quant).astype(np.int8)
        table = builder.int8(codes, output.quant, f"{op.name}/table")
        offset = builder.int32([-int(CODES[0])], f"{op.name}/offset")
        fields: dict[str, Any] = {"inDataType": "INT8", "outDataType": "INT32"}
        builder.op("CAST", [builder.tensor(x.name)], [wide], "CastOptions", **fields)
        builder.op("ADD", [wide, offset], [index], "AddOptions", fusedActivationFunction="NONE")
        result = [builder.tensor(output.name)]
        builder.op("GATHER", [table, index], result, "GatherOptions", version=2, axis=0)

    def layer_code(self, op: Table, graph: Graph, target: CTarget) -> LayerCode:
        x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        if output.dtype is DType.INT16:
            return interpolated_table_code(x, _knots(op, x, output))
        return unary_code(table_codes(op, x.quant, output.quant), x.name, x.elements, 0.0, target)


FAMILY = TableFamily()
