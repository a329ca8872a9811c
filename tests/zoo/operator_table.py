"""Writes docs/operators.md: each ONNX operator, and what it becomes in TFLite and in C.

An example of every claimed operator is lowered, quantized, and written in all forms; the table
shows what came out. ``python -m tests.zoo.operator_table`` writes it.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgefactor.errors import MissingToolError
from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.functions.recurrence import GATES
from edgefactor.export.ir import Graph, Quantization
from edgefactor.export.ops import compare, table
from edgefactor.export.ops.reshape import Reshape
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.canonical import divide_by_reciprocals
from edgefactor.pipeline.passes.decompose import decompose
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, infer_shapes
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.widths.choice import can_widen
from edgefactor.runtime.litert_runner import LiteRtRunner
from edgefactor.runtime.tflm_runner import TflmRunner
from tests.tools import REPOSITORY
from tests.zoo.networks.network import OPSET, Network, SeededDraw

TABLE = REPOSITORY / "docs" / "operators.md"
COMMAND = "python -m tests.zoo.operator_table"
_TARGET = CTarget(features=IsaFeatures(dsp=True, mve=False, unaligned=True))
_MAP, _ROW, _STEPS = (1, 4, 6, 6), (1, 4), (5, 1, 4)
#: Adds an operator that reads ``x``; a second value of the same shape is there too.
Example = Callable[[Network, str, str], str]


def _same(kind: str, **attributes: object) -> Example:
    return lambda net, x, z: net.node(kind, [x], net.shape(x), **attributes)


def _pair(kind: str) -> Example:
    return lambda net, x, z: net.node(kind, [x, z], net.shape(x))


def _to(kind: str, *shapes: tuple[int, ...], **attributes: object) -> Example:
    return lambda net, x, z: net.node(kind, [x], *shapes, **attributes)


def _with(
    kind: str, numbers: Sequence[Sequence[int]], *shapes: tuple[int, ...], **attributes: object
) -> Example:
    """With lists of integers as further inputs."""

    def add(net: Network, x: str, z: str) -> str:
        given = [net.constant(np.array(values, np.int64)) for values in numbers]
        return net.node(kind, [x, *given], *shapes, **attributes)

    return add


def _batch_norm(net: Network, x: str, z: str) -> str:
    numbers = [net.constant(np.array([0.5, 1, 1.5, 2], np.float32)) for _ in range(4)]
    return net.node("BatchNormalization", [x, *numbers], net.shape(x))


def _norm(kind: str, channels: int, **attributes: object) -> Example:
    """With a gain, and an offset except in RMS norm."""

    def add(net: Network, x: str, z: str) -> str:
        gain = net.constant(np.linspace(0.5, 1.5, channels, dtype=np.float32))
        affine = [gain] if kind.startswith("RMS") else [gain, net.normal(channels)]
        return net.node(kind, [x, *affine], net.shape(x), **attributes)

    return add


def _clip(net: Network, x: str, z: str) -> str:
    ends = [net.constant(np.float32(end)) for end in (-0.5, 1.0)]
    return net.node("Clip", [x, *ends], net.shape(x))


def _written(kind: str, indices: NDArray[np.int64]) -> Example:
    """One channel of another map, written into the map."""

    def add(net: Network, x: str, z: str) -> str:
        ends = [net.constant(np.array([n], np.int64)) for n in (0, 1, 1)]
        channel = net.node("Slice", [z, *ends], (1, 1, 6, 6))
        places = net.constant(indices.astype(np.int64))
        attributes = {"axis": 1} if kind == "ScatterElements" else {}
        return net.node(kind, [x, places, channel], net.shape(x), **attributes)

    return add


def _resize(net: Network, x: str, z: str) -> str:
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return net.node("Resize", [x, "", scales], (1, 4, 12, 12), mode="nearest", **modes)


def _upsample(net: Network, x: str, z: str) -> str:
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    return net.node("Upsample", [x, scales], (1, 4, 12, 12))


def _recurrent(kind: str, **attributes: object) -> Example:
    """A layer of three units."""
    rows = 3 * GATES[kind.lower()]

    def add(net: Network, x: str, z: str) -> str:
        weights = [net.normal(1, rows, 4), net.normal(1, rows, 3), net.normal(1, 2 * rows)]
        return net.node(kind, [x, *weights], (5, 1, 1, 3), hidden_size=3, **attributes)

    return add


def _compared(kind: str) -> Example:
    return lambda net, x, z: net.node(
        "Cast", [net.node(kind, [x, z], net.shape(x))], net.shape(x), to=1
    )


def _asked(kind: str) -> Example:
    return lambda net, x, z: net.node(
        "Cast", [net.node(kind, [x], net.shape(x))], net.shape(x), to=1
    )


def _places(kind: str) -> Example:
    return lambda net, x, z: net.node(
        "Cast", [net.node(kind, [x], (1, 1, 6, 6), axis=1)], (1, 1, 6, 6), to=1
    )


def _where(net: Network, x: str, z: str) -> str:
    condition = net.node("Greater", [x, z], net.shape(x))
    return net.node("Where", [condition, x, z], net.shape(x))


def _of_truth(kind: str) -> Example:
    def add(net: Network, x: str, z: str) -> str:
        first, second = (net.node(name, [x, z], net.shape(x)) for name in ("Less", "Equal"))
        inputs = [first] if kind == "Not" else [first, second]
        return net.node("Cast", [net.node(kind, inputs, net.shape(x))], net.shape(x), to=1)

    return add


def _cumulative(net: Network, x: str, z: str) -> str:
    return net.node("CumSum", [x, net.constant(np.array(1, np.int64))], net.shape(x))


#: ONNX operator -> shape of its input and what adds it.
EXAMPLES: dict[str, tuple[tuple[int, ...], Example]] = {
    "Abs": (_MAP, _same("Abs")),
    "Add": (_MAP, _pair("Add")),
    **{kind: (_MAP, _compared(kind)) for kind in compare.FAMILY.onnx_ops if kind != "Xor"},
    **{kind: (_MAP, _of_truth(kind)) for kind in ("And", "Not", "Or", "Xor")},
    **{kind: (_MAP, _asked(kind)) for kind in ("IsInf", "IsNaN")},
    **{kind: (_MAP, _places(kind)) for kind in ("ArgMax", "ArgMin")},
    "AveragePool": (_MAP, _to("AveragePool", (1, 4, 3, 3), kernel_shape=[2, 2], strides=[2, 2])),
    "BatchNormalization": (_MAP, _batch_norm),
    "Cast": (_MAP, _same("Cast", to=1)),
    "Clip": (_MAP, _clip),
    "Col2Im": (
        (1, 8, 4),
        _with("Col2Im", [[4, 4], [2, 2]], (1, 2, 4, 4), strides=[2, 2]),
    ),
    "Concat": (
        _MAP,
        lambda net, x, z: net.node("Concat", [x, z], (1, 8, 6, 6), axis=1),
    ),
    "Conv": (
        _MAP,
        lambda net, x, z: net.node("Conv", [x, net.normal(8, 4, 3, 3)], (1, 8, 4, 4)),
    ),
    "ConvTranspose": (
        _MAP,
        lambda net, x, z: net.node(
            "ConvTranspose", [x, net.normal(4, 2, 2, 2)], (1, 2, 12, 12), strides=[2, 2]
        ),
    ),
    "CumSum": (_MAP, _cumulative),
    "DepthToSpace": (_MAP, _to("DepthToSpace", (1, 1, 12, 12), blocksize=2)),
    "Div": (
        _MAP,
        lambda net, x, z: net.node("Div", [x, net.constant(np.float32(3))], net.shape(x)),
    ),
    "Dropout": (_MAP, _same("Dropout")),
    "Einsum": (
        _MAP,
        lambda net, x, z: net.node("Einsum", [x, z], net.shape(x), equation="bhqd,bhkd->bhqk"),
    ),
    "Expand": ((1, 4, 1, 1), _with("Expand", [[1, 4, 6, 6]], (1, 4, 6, 6))),
    "Flatten": (_MAP, _to("Flatten", (1, 144))),
    "Gather": (_MAP, _with("Gather", [[0, 2]], (1, 2, 6, 6), axis=1)),
    "GRU": (_STEPS, _recurrent("GRU", linear_before_reset=1)),
    "GatherND": ((4, 3, 5), _with("GatherND", [[2, 1]], (5,))),
    "Gemm": (
        _ROW,
        lambda net, x, z: net.node("Gemm", [x, net.normal(5, 4)], (1, 5), transB=1),
    ),
    "GlobalAveragePool": (_MAP, _to("GlobalAveragePool", (1, 4, 1, 1))),
    "GlobalMaxPool": (_MAP, _to("GlobalMaxPool", (1, 4, 1, 1))),
    "GroupNormalization": (_MAP, _norm("GroupNormalization", 4, num_groups=2)),
    "HardSigmoid": (_MAP, _same("HardSigmoid")),
    "Hardmax": (_ROW, _same("Hardmax")),
    "HardSwish": (_MAP, _same("HardSwish")),
    "Identity": (_MAP, _same("Identity")),
    "LSTM": (_STEPS, _recurrent("LSTM")),
    "LeakyRelu": (_MAP, _same("LeakyRelu", alpha=0.1)),
    "InstanceNormalization": (_MAP, _norm("InstanceNormalization", 4)),
    "LayerNormalization": (_MAP, _norm("LayerNormalization", 6)),
    "LRN": (_MAP, _same("LRN", size=3)),
    "LogSoftmax": (_ROW, _same("LogSoftmax")),
    "LpNormalization": (_ROW, _same("LpNormalization")),
    "MatMul": (_MAP, _pair("MatMul")),
    "Max": (_MAP, _pair("Max")),
    "Mean": (_MAP, _pair("Mean")),
    "Min": (_MAP, _pair("Min")),
    "MaxPool": (_MAP, _to("MaxPool", (1, 4, 3, 3), kernel_shape=[2, 2], strides=[2, 2])),
    "Mul": (_MAP, _pair("Mul")),
    "Neg": (_MAP, _same("Neg")),
    "PRelu": (_MAP, lambda net, x, z: net.node("PRelu", [x, net.normal(4, 1, 1)], net.shape(x))),
    "Pad": (_MAP, _with("Pad", [[0, 0, 1, 1, 0, 0, 1, 1]], (1, 4, 8, 8))),
    "RMSNormalization": (_MAP, _norm("RMSNormalization", 6)),
    "RNN": (_STEPS, _recurrent("RNN")),
    "ReduceMax": (_MAP, _with("ReduceMax", [[2, 3]], (1, 4, 1, 1))),
    **{
        kind: (_MAP, _with(kind, [[2, 3]], (1, 4, 1, 1)))
        for kind in (
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMin",
            "ReduceSum",
            "ReduceSumSquare",
        )
    },
    "ReduceProd": (_MAP, _with("ReduceProd", [[1]], (1, 1, 6, 6))),
    "ReduceMean": (_MAP, _with("ReduceMean", [[1]], (1, 1, 6, 6))),
    "Relu": (_MAP, _same("Relu")),
    "Reshape": (_MAP, _with("Reshape", [[1, 4, 36]], (1, 4, 36))),
    "Resize": (_MAP, _resize),
    "ScatterElements": (_MAP, _written("ScatterElements", np.full((1, 1, 6, 6), 2))),
    "ScatterND": (_MAP, _written("ScatterND", np.array([[[[0, 2]]]]))),
    "Sigmoid": (_MAP, _same("Sigmoid")),
    "Slice": (_MAP, _with("Slice", [[1], [6], [2], [2]], (1, 4, 3, 6))),
    "Softmax": (_ROW, _same("Softmax")),
    "SpaceToDepth": (_MAP, _to("SpaceToDepth", (1, 16, 3, 3), blocksize=2)),
    "Split": (_MAP, _with("Split", [[1, 3]], (1, 1, 6, 6), (1, 3, 6, 6), axis=1)),
    "Squeeze": ((1, 4, 6, 1), _with("Squeeze", [[3]], (1, 4, 6))),
    "Sub": (_MAP, _pair("Sub")),
    "Sum": (_MAP, _pair("Sum")),
    "Tanh": (_MAP, _same("Tanh")),
    "Tile": (_MAP, _with("Tile", [[1, 1, 1, 2]], (1, 4, 6, 12))),
    "Trilu": (_MAP, _with("Trilu", [], (1, 4, 6, 6))),
    "Transpose": (_MAP, _to("Transpose", (1, 4, 6, 6), perm=[0, 1, 3, 2])),
    "Unsqueeze": ((1, 4, 6), _with("Unsqueeze", [[1]], (1, 1, 4, 6))),
    "Upsample": (_MAP, _upsample),
    "Where": (_MAP, _where),
    "Pow": (
        _MAP,
        lambda net, x, z: net.node("Pow", [x, net.constant(np.float32(3))], net.shape(x)),
    ),
    **{
        kind: (_MAP, _same(kind))
        for kind in table.FAMILY.onnx_ops
        if kind not in ("Cast", "IsInf", "IsNaN", "Not", "Pow")
    },
}
#: Later operator sets than the one that PyTorch's exporter writes.
_OPSETS = {"Gelu": 20, "GroupNormalization": 21, "RMSNormalization": 23, "Upsample": 9}


def float_example(kind: str) -> Graph:
    """The float Graph of an operator's example."""
    return lowered_example(*EXAMPLES[kind], opset=_OPSETS.get(kind, OPSET))


def lowered_example(shape: tuple[int, ...], add: Example, *, opset: int = OPSET) -> Graph:
    """The float Graph of a network that ``add`` makes of inputs of a shape."""
    net = Network(SeededDraw(np.random.default_rng(0)), np.random.default_rng(0))
    net.inputs = ["x", "z"]
    net.shapes = {"x": shape, "z": shape}
    first = add(net, "x", "z")
    outputs = list(dict.fromkeys([first, *net.nodes[-1].output]))
    read = {name for node in net.nodes for name in node.input}
    net.inputs = [name for name in net.inputs if name in read]
    edited = OnnxGraph(net.model(outputs, opset=opset))
    decompose(edited)
    divide_by_reciprocals(edited)
    model = infer_shapes(edited.to_model())
    return fuse(validate(lower(model, name="example"), "lower"))


def quantized_example(graph: Graph, wide: frozenset[str] = frozenset()) -> Graph:
    """The integer Graph of an example, with some operators on 16-bit activations."""
    probes = [name for op in graph.ops for name in ops.family_of(op).probes(op)]
    names = [*(tensor.name for tensor in graph.activations), *probes]
    ranges = dict.fromkeys(names, (-2.0, 2.0))
    return validate(quantize(graph, ranges, wide), "quantize", quantized=True)


def widened_example(graph: Graph) -> tuple[frozenset[str], Graph]:
    """Names of the operators that can run on 16-bit activations, and the Graph where they do."""
    able = can_widen(graph) - {op.name for op in graph.ops if isinstance(op, Reshape)}
    return able, quantized_example(graph, able)


def wide_functions(graph: Graph) -> str:
    """The kernels on 16-bit activations; "8 bits" where there are none."""
    able, wide = widened_example(graph)
    computed = [op for op in wide.ops if op.name in able]
    if not able:
        return "nothing" if can_widen(graph) == {op.name for op in graph.ops} else "8 bits"
    codes = [ops.family_of(op).layer_code(op, wide, _TARGET) for op in computed]
    kernels = listed(call.function for code in codes for call in code.calls)
    rest = {op.name for op in graph.ops} - can_widen(graph)
    return f"{kernels}, the rest 8 bits" if rest else kernels


def tflite_builtins(graph: Graph) -> list[str]:
    """The builtins of the TFLite file, in order."""
    names = {
        value: name for name, value in vars(schema.BuiltinOperator).items() if name[0].isupper()
    }
    model = schema.ModelT.InitFromPackedBuf(write_tflite(graph), 0)
    codes = [names[code.builtinCode] for code in model.operatorCodes]
    return [codes[op.opcodeIndex] for op in model.subgraphs[0].operators or ()]


def c_functions(graph: Graph) -> list[str]:
    """The kernels that the C calls on a core with DSP instructions."""
    codes = [ops.family_of(op).layer_code(op, graph, _TARGET) for op in graph.ops]
    return [call.function for code in codes for call in code.calls]


def _scale(graph: Graph) -> str:
    """Who decides the scale of the results."""
    rules = [ops.family_of(op).output_rule(op) for op in graph.ops]
    fixed = [rule for rule in rules if isinstance(rule, Quantization)]
    if fixed:
        return f"{fixed[0].scales[0]:g}, zero point {fixed[0].zero_point}"
    return "its own range" if "free" in rules else "that of its input"


def agreement(graphs: Iterable[Graph]) -> str:
    """How far TFLite's runtimes are from the NumPy reference in any result on random codes."""
    largest = 0
    for graph in graphs:
        generator = np.random.default_rng(1)
        codes = {
            port.tensor: generator.integers(-128, 128, graph.tensors[port.tensor].shape, np.int8)
            for port in graph.inputs
        }
        expected = run_reference(graph, codes)
        model = write_tflite(graph)
        names = [op.outputs[0] for op in graph.ops]
        for kind in (LiteRtRunner, TflmRunner):
            try:
                runner = kind(model)
            except MissingToolError:
                continue
            found = runner.run({name: values[None] for name, values in codes.items()}, names)
            for name in names:
                wanted = expected[name].astype(np.int64)
                difference = found[name].reshape(wanted.shape) - wanted
                largest = max(largest, int(np.abs(difference).max()))
    return "exact" if largest == 0 else f"within {largest}"


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names)) or "nothing"


def write_table() -> str:
    """The whole page."""
    lines = [
        "# Operators",
        "",
        "What edgefactor takes from ONNX, and what an example of it becomes. Every operator is",
        "int8 in and out, or int16 where the last column says so and the network",
        "[needs it](activation-widths.md). Its result is the same number in the NumPy reference,",
        "in LiteRT's reference kernels, in TensorFlow Lite Micro and in C, on the host and on",
        "every emulated core: the last column is what the first three were found to differ by, in",
        "8 and in 16 bits. ONNX Runtime and LiteRT's default kernels round in float: a result may",
        "be one step away there. Where TFLite has no integer operator that its runtimes compute",
        "alike (norms, 16-bit softmax, loops), several stand for it. Kernels depend on shapes,",
        "values and target; those are of a Cortex-M4.",
        f"Written by `{COMMAND}`.",
        "",
        "| ONNX | Scale of the result | TFLite | C | C, 16 bits | Agreement |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind in sorted(EXAMPLES):
        example = float_example(kind)
        graph = quantized_example(example)
        cells = (
            kind,
            _scale(graph),
            listed(tflite_builtins(graph)),
            listed(c_functions(graph)),
            wide_functions(example),
            agreement([graph, widened_example(example)[1]]),
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Activations that are fused: ReLU and ReLU6 into convolutions, sums, differences and",
        "products. MatMul and Gemm with a matrix of weights are dense layers (`ef_dense_s8_dsp`).",
        "A positive factor of scores goes into Softmax. `x * sigmoid(x)` is one table, and so is",
        "`x * hard_sigmoid(x)`. A depthwise convolution whose kernels hold a single 1 is a shift",
        "(`ef_shift_s8`).",
        "",
        "Attention is taken as PyTorch exports it (`scaled_dot_product_attention`,",
        "`nn.MultiheadAttention`, `nn.TransformerEncoderLayer`, or written out): transposes of",
        "heads are steps of the product's kernel, and a layer that is sliced into queries, keys",
        "and values becomes three. Masks may hide scores with any large negative number and be",
        "constant or computed: from ids that are padding, from lengths, from truth values or",
        "numbers that are inputs. What is computed becomes one choice of scores; their range ends",
        "where all that is hidden in a row weighs less than one code, so it weighs nothing. Where",
        "a whole row is hidden, for which PyTorch gives NaN or 0, all of it weighs the same.",
        "",
        "Layer, RMS and group norm that a model writes out as means, roots and products are one",
        "operator too; their intermediates have 16 to 32 bits. Loops of h = a * h + b over a",
        "sequence, which exporters unroll, are one operator with 16-bit states (`ef_scan_s16`).",
        "",
        "Which of ONNX's own tests pass is in [onnx-node-tests.md](onnx-node-tests.md).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(write_table(), encoding="utf-8")
