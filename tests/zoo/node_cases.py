"""The ONNX project's own node tests, taken through lowering and quantization.

The ``onnx`` package carries a test or more for each operator: a model of one node, inputs, and what
must come out. Each whose operators are all claimed here (``CLAIMED``) becomes an int8 Graph,
calibrated on its own inputs; the rest of a claim's tests are left out with the reason that the
export itself gives. Two comparisons say whether the result is right within quantization error:

- the float Graph, on the inputs and constants that the codes stand for, against the int8 result:
  half a step of the output's scale for each operator that rounds, and one more;
- the same values against what ONNX expects: at least 20 dB.

``python -m tests.zoo.node_cases`` writes docs/onnx-node-tests.md.
"""

import functools
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from edgefactor.errors import EdgefactorError
from edgefactor.export import numerics, ops
from edgefactor.export.ir import DType, Graph, Port, Tensor
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.pool import Pool2D
from edgefactor.export.ops.reshape import Reshape, Transpose
from edgefactor.export.reference import run_reference
from edgefactor.export.validate import validate
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.decompose import DECOMPOSED
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.simplify import simplify
from edgefactor.pipeline.trace import TracedModel
from tests.tools import REPOSITORY

Real = NDArray[np.float32]
Codes = NDArray[np.int8]
TABLE = REPOSITORY / "docs" / "onnx-node-tests.md"
COMMAND = "python -m tests.zoo.node_cases"
MIN_SQNR_DB = 20.0
#: Operators whose inputs are all data; of the others the first one is, the rest are parameters.
_ALL_DATA = {
    "Add", "And", "Concat", "Einsum", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
    "MatMul", "Max", "Mean", "Min", "Mul", "Or", "Sub", "Sum", "Where", "Xor",
}  # fmt: skip
#: Operators whose further inputs are numbers like the first one.
_NUMBERS = {"Clip", "Div", "Pow"}
#: What the onnx package on this machine may be newer than what ONNX Runtime runs.
_OPSETS = range(7, 24)
_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
}
#: Tests that int8 cannot follow, whatever computes it.
_BEYOND_INT8 = {
    "test_logsoftmax_large_number": "its inputs span 10,003, so one step of int8 is 39, and the "
    "result hangs on differences of 1",
    **{
        f"test_div_{kind}": "a division of integers, which truncates"
        for kind in ("int8", "int16", "int32_trunc", "uint8", "uint16", "uint32", "uint64")
    },
    **{
        name: "two inputs differ by less than a step of int8, and the result hangs on the order"
        for name in (
            "test_greater_equal",
            "test_greater_equal_expanded",
            "test_hardmax_axis_0",
            "test_hardmax_axis_1",
            "test_less",
        )
    },
    "test_round": "its inputs lie at halves, where the result jumps, and int8 moves them",
    "test_thresholdedrelu_example": "an input lies on the threshold, and int8 moves it",
    "test_softmax_large_number": "its inputs span 10,003, so one step of int8 is 39, and the "
    "result hangs on differences of 1",
}


CLAIMED = frozenset({*ops.BY_ONNX, *DECOMPOSED})


class LeftOutError(Exception):
    """A test that does not apply, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One node test, ready to be lowered."""

    name: str
    kinds: tuple[str, ...]
    model: onnx.ModelProto
    inputs: tuple[NDArray[Any], ...]
    expected: tuple[NDArray[Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A test that ran.

    Attributes:
        graph: int8 Graph.
        codes: Its inputs.
        values: Every activation by the NumPy reference.
        steps: Largest distance of an output from the float Graph's, in steps of its scale.
        allowed: How large it may be.
        sqnr_db: Of the outputs against what ONNX expects.
    """

    graph: Graph
    codes: Mapping[str, Codes]
    values: Mapping[str, Codes]
    steps: float
    allowed: float
    sqnr_db: float

    @property
    def passed(self) -> bool:
        """Whether the result is within quantization error."""
        return self.steps <= self.allowed and self.sqnr_db >= MIN_SQNR_DB


@functools.cache
def claimed() -> tuple[Case, ...]:
    """The node tests made of claimed operators only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        tests = load_model_tests(kind="node")
    cases = []
    for test in tests:
        kinds = tuple(node.op_type for node in test.model.graph.node)
        domains = {node.domain for node in test.model.graph.node}
        if domains <= {"", "ai.onnx"} and CLAIMED.issuperset(kinds):
            ((inputs, outputs),) = test.data_sets
            cases.append(
                Case(
                    name=test.name,
                    kinds=kinds,
                    model=test.model,
                    inputs=tuple(inputs),
                    expected=tuple(outputs),
                )
            )
    return tuple(sorted(cases, key=lambda case: case.name))


def first_output_only(case: Case) -> Case:
    """A layer norm without its mean and deviation as further results, which networks do not use."""
    if case.kinds != ("LayerNormalization",):
        return case
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    del model.graph.output[1:], model.graph.node[0].output[1:]
    return replace(case, model=model, expected=case.expected[:1])


def as_reals(case: Case) -> Case:
    """A test on real numbers: other floats and integers as the values that they are."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    data = _data_inputs(case)
    if set(case.kinds) <= _NUMBERS:
        data = list(range(len(case.inputs)))
    inputs = [_reals(a) if i in data else a for i, a in enumerate(case.inputs)]
    # Truth values are what an operator asks for or makes; other types of outputs it makes too.
    changed = [info for i, info in enumerate(model.graph.input) if i in data]
    types = {info.type.tensor_type.elem_type for info in changed} - {onnx.TensorProto.BOOL}
    for info in (*changed, *model.graph.output):
        if info.type.tensor_type.elem_type in types:
            info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return replace(
        case, model=model, inputs=tuple(inputs), expected=tuple(map(_reals, case.expected))
    )


def _reals(array: Any) -> Any:
    """Numbers in float32 where that holds them."""
    if isinstance(array, onnx.TensorProto) and array.data_type in _FLOATS:
        array = numpy_helper.to_array(array)
    if isinstance(array, np.generic):
        array = np.asarray(array)
    numbers = isinstance(array, np.ndarray) and (
        array.dtype.kind in "fiub" or array.dtype.name == "bfloat16"
    )
    return array.astype(np.float32) if numbers else array


def _require_reals(case: Case) -> None:
    for info in (*case.model.graph.input, *case.model.graph.output):
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            raise LeftOutError(f"a {kind.removesuffix('_type')}, not a tensor")
    data = [case.inputs[i] for i in _data_inputs(case)]
    for array in (*data, *case.expected):
        if isinstance(array, onnx.TensorProto):
            found = onnx.TensorProto.DataType.Name(array.data_type)
            raise LeftOutError(f"elements of type {found}, which stand for no plain numbers here")
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            found = getattr(array, "dtype", type(array).__name__)
            raise LeftOutError(f"elements of type {found}, which are no numbers")
        if not np.isfinite(array).all():
            raise LeftOutError("a value that is not finite, which int8 cannot hold")
        if array.size == 0:
            raise LeftOutError("a tensor without elements")


def _data_inputs(case: Case) -> list[int]:
    """Indices of the inputs that are activations."""
    data = {case.model.graph.node[0].input[0]}
    for node in case.model.graph.node:
        if node.op_type in _ALL_DATA:
            data.update(node.input)
    return [
        i
        for i, (info, array) in enumerate(zip(case.model.graph.input, case.inputs, strict=True))
        if info.name in data and (i == 0 or np.ndim(array) > 0)
    ]


def prepared(case: Case) -> tuple[onnx.ModelProto, dict[str, Real]]:
    """The model with its parameters as initializers, and the inputs that are left."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    data = _data_inputs(case)
    feeds = {}
    for index, (info, array) in enumerate(zip(list(graph.input), case.inputs, strict=True)):
        if index in data:
            feeds[info.name] = np.asarray(array)
        else:
            graph.initializer.append(numpy_helper.from_array(np.asarray(array), info.name))
            graph.input.remove(info)
    for entry in model.opset_import:
        if entry.domain == "" and entry.version not in _OPSETS:
            entry.version = min(max(entry.version, _OPSETS[0]), _OPSETS[-1])
    model.ir_version = min(model.ir_version, 10)
    return model, feeds


def _float_outputs(graph: Graph, feeds: Mapping[str, Real]) -> list[Real]:
    session = onnxruntime.InferenceSession(
        write_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return [np.asarray(a) for a in session.run([p.name for p in graph.outputs], dict(feeds))]


def _dequantized(tensor: Tensor) -> Real:
    quant = tensor.quant
    scales = np.asarray(quant.scales, np.float64)
    if quant.axis is not None:
        shape = [1] * len(tensor.shape)
        shape[quant.axis] = -1
        scales = scales.reshape(shape)
    codes = np.asarray(tensor.values, np.float64)
    return ((codes - quant.zero_point) * scales).astype(np.float32)


def _real(graph: Graph, codes: Mapping[str, Codes], name: str) -> Real:
    return numerics.dequantize(codes[name], graph.tensors[name].quant).astype(np.float32)


def _onnx_layout(port: Port, stored: Real) -> Real:
    """A stored tensor as ONNX sees it; ``Port.from_graph`` is for stacks of samples."""
    shape = tuple(port.shape[axis] for axis in port.perm)
    return np.transpose(stored.reshape(shape), np.argsort(port.perm))


def _sqnr_db(expected: list[Real], found: list[Real]) -> float:
    signal = sum(float(np.square(a.astype(np.float64)).sum()) for a in expected)
    noise = sum(
        float(np.square(a.astype(np.float64) - b).sum())
        for a, b in zip(expected, found, strict=True)
    )
    return float("inf") if noise == 0 else 10 * float(np.log10(max(signal, 1e-30) / noise))


def _rounds(graph: Graph) -> float:
    """How many roundings to a step lie between input and output."""
    exact = (Reshape, Transpose)
    return sum(1.0 if isinstance(op, Pool2D) else 0.5 for op in graph.ops if type(op) not in exact)


def run(case: Case) -> Result:
    """Lower, calibrate, quantize and compute one test.

    Raises:
        LeftOutError: It does not apply.
        EdgefactorError: The export refuses it.
    """
    if case.name in _BEYOND_INT8:
        raise LeftOutError(_BEYOND_INT8[case.name])
    case = as_reals(first_output_only(case))
    _require_reals(case)
    model, feeds = prepared(case)
    if not feeds:
        raise LeftOutError("no input is an activation")
    if any(array.ndim == 0 for array in feeds.values()):
        raise LeftOutError("an input without axes, where a network has a batch")
    simplified = simplify(TracedModel(model=model)).model
    graph = fuse(validate(lower(simplified, name="node"), "lower"))
    feeds = {port.name: feeds[port.name] for port in graph.inputs}
    ranges = calibrate(graph, [feeds], method="min-max")
    int8 = validate(quantize(graph, ranges), "quantize", quantized=True)
    codes = {}
    for port in int8.inputs:
        tensor = int8.tensors[port.tensor]
        stored = np.transpose(feeds[port.name], port.perm).reshape(tensor.shape)
        codes[tensor.name] = numerics.quantize(stored, tensor.quant)
    values = run_reference(int8, codes)
    # What the codes stand for, through the float Graph: rounding at the operators is all that
    # may be different.
    seen = {p.name: _onnx_layout(p, _real(int8, codes, p.tensor)) for p in int8.inputs}
    held = {
        name: replace(tensor, data=_dequantized(int8.tensors[name]))
        if tensor.data is not None and int8.tensors[name].dtype in (DType.INT8, DType.INT32)
        else tensor
        for name, tensor in graph.tensors.items()
        if name in int8.tensors
    }
    ideal = _float_outputs(replace(graph, tensors=held), seen)
    steps = 0.0
    found = []
    for port, exact in zip(int8.outputs, ideal, strict=True):
        quant = int8.tensors[port.tensor].quant
        real = _onnx_layout(port, _real(int8, values, port.tensor))
        # Rounded inputs can lead past the range that was seen: no code is there.
        ends = [(code - quant.zero_point) * quant.scale for code in (-128, 127)]
        error = np.abs(real - np.clip(exact, *ends))
        steps = max(steps, float(error.max(initial=0)) / quant.scale)
        found.append(real)
    return Result(
        graph=int8,
        codes=codes,
        values=values,
        steps=steps,
        allowed=1.0 + _rounds(int8),
        sqnr_db=_sqnr_db([np.asarray(a) for a in case.expected], found),
    )


def outcome(case: Case) -> Result | str:
    """The result of a test, or why it is left out."""
    try:
        return run(case)
    except LeftOutError as reason:
        return str(reason)
    except EdgefactorError as error:
        version = case.model.opset_import[0].version
        if version not in _OPSETS and "Unrecognized attribute" in error.found:
            return f"an attribute of operator set {version}, which ONNX Runtime does not run yet"
        return f"{error.message.rstrip('.')}" + (f": {error.found}" if error.found else "")


def write_table() -> str:
    """All tests, by operator."""
    lines: list[str] = []
    counts: Counter[str] = Counter()
    for case in claimed():
        found = outcome(case)
        kinds = ", ".join(dict.fromkeys(case.kinds))
        if isinstance(found, Result):
            verdict = "passed" if found.passed else "FAILED"
            note = f"{found.steps:.2f} of {found.allowed:g} steps, {found.sqnr_db:.0f} dB"
        else:
            verdict, note = "left out", found.replace("|", "/")
        counts[verdict] += 1
        lines.append(f"| {kinds} | {case.name} | {verdict} | {note} |")
    totals = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    head = [
        "# The ONNX node tests",
        "",
        f"Every test of the `onnx` package {onnx.__version__} whose operators edgefactor claims,",
        "lowered, calibrated on its own inputs, quantized to int8 and compared with what ONNX",
        f"expects. Written by `{COMMAND}`; how results are judged is described there.",
        "",
        f"{len(claimed())} tests: {totals}.",
        "",
        "| Operator | Test | Result | Largest error, or why it is left out |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *sorted(lines)]) + "\n"


if __name__ == "__main__":
    TABLE.write_text(write_table(), encoding="utf-8")
