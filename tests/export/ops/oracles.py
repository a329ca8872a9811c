"""Runs a Graph of one operator in everything that implements it, and compares elements.

The oracles are LiteRT's reference kernels, TFLM's kernels and ONNX Runtime; nobody here wrote them.
"""

import ctypes
import functools
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget, Ref
from edgefactor.export.ir import DType, Graph, Op, Port, Quantization, Tensor
from edgefactor.export.onnx_writer import codes_to_graph, quantized_name, write_onnx
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.runtime.toolchain import run
from tests.tools import REPOSITORY, require_tool

Codes = NDArray[np.int8]
CSRC = REPOSITORY / "runtime" / "csrc"
WARNINGS = "-Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Werror".split()
SCALE = Quantization(scales=(0.0625,), zero_point=-7)
GUARD = 64
TFLM_ARENA_BYTES = 1 << 20


def graph_of(op: Op, inputs: Sequence[Tensor], quantization: Quantization = SCALE) -> Graph:
    """A Graph of one operator; its output has the shape that the family gives it."""
    by_name = {tensor.name: tensor for tensor in inputs}
    shape = ops.family_of(op).output_shape(op, [by_name[name] for name in op.inputs])
    (name,) = op.outputs
    output = Tensor(name=name, shape=shape, dtype=DType.INT8, quantization=quantization)
    tensors = {**by_name, name: output}
    graph = Graph(
        name="case",
        tensors=tensors,
        ops=(op,),
        inputs=tuple(port(tensor) for tensor in inputs if tensor.data is None),
        outputs=(port(output),),
    )
    return validate(graph, "test", quantized=True)


def activation(shape: tuple[int, ...], name: str = "x", zero_point: int = -7) -> Tensor:
    quantization = Quantization(scales=SCALE.scales, zero_point=zero_point)
    return Tensor(name=name, shape=shape, dtype=DType.INT8, quantization=quantization)


def port(tensor: Tensor) -> Port:
    rank = len(tensor.shape)
    return Port(tensor=tensor.name, name=tensor.name, shape=tensor.shape, perm=tuple(range(rank)))


def random_codes(graph: Graph, seed: int = 0) -> dict[str, Codes]:
    """Uniform codes; the extremes -128 and 127 occur in all but the smallest tensors."""
    generator = np.random.default_rng(seed)
    return {
        p.tensor: generator.integers(-128, 128, graph.tensors[p.tensor].shape).astype(np.int8)
        for p in graph.inputs
    }


def run_litert(model: bytes, inputs: Mapping[str, Codes]) -> Codes:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], inputs[detail["name"]])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def run_tflm(model: bytes, inputs: Sequence[Codes]) -> Codes:
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=TFLM_ARENA_BYTES)
    for index, codes in enumerate(inputs):
        interpreter.set_input(codes, index)
    interpreter.invoke()
    return interpreter.get_output(0)


@functools.cache
def mover_library() -> ctypes.CDLL:
    """All kernels of this folder's operators that take plain integers as arguments."""
    compiler = require_tool("gcc")
    sources = [
        path
        for pattern in ("ef_move*.c", "ef_fill*.c", "ef_*_pool2d*.c")
        for path in sorted(CSRC.glob(pattern))
    ]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    library = Path(tempfile.mkdtemp()) / f"movers_{digest}.so"
    flags = ["-std=c99", "-O1", "-g", "-shared", "-fPIC", *WARNINGS]
    sanitizer = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    run((compiler, *flags, *sanitizer, "-o", library, *sources), timeout_seconds=120)
    return ctypes.CDLL(str(library))


def _guarded(size: int) -> NDArray[np.int8]:
    """16-aligned memory with a guard behind it."""
    raw = np.full(size + GUARD + 16, 0x5A, np.int8)
    start = -raw.ctypes.data % 16
    return raw[start : start + size + GUARD]


def run_c(
    graph: Graph, inputs: Mapping[str, Codes], *, in_place: bool = False, plain: bool = False
) -> Codes:
    """The kernels that ``layer_code`` names, or their plain twins, called on guarded memory."""
    (op,) = graph.ops
    code = ops.family_of(op).layer_code(op, graph, CTarget())
    output = graph.tensors[op.outputs[0]]
    memory = {}
    for name, codes in inputs.items():
        memory[name] = _guarded(codes.size)
        memory[name][: codes.size] = codes.reshape(-1)
    memory.update({array.suffix: np.ascontiguousarray(array.data) for array in code.arrays})
    if code.is_alias:
        return inputs[op.inputs[0]].reshape(output.shape)
    result = memory[op.inputs[code.in_place[0]]] if in_place else _guarded(output.elements)
    for call in code.calls:
        numbers: list[int] = []
        for value in call.args.values():
            numbers.extend(value if isinstance(value, tuple) else [value])
        args = np.array(numbers, np.int32)
        sources = [
            memory[name.suffix if isinstance(name, Ref) else name].ctypes for name in call.inputs
        ]
        pointers = [args.ctypes, *sources, result.ctypes]
        twin = f"{call.function.removesuffix('_ref')}_ref"
        function = twin if plain and twin != "ef_fill_s8_ref" else call.function
        getattr(mover_library(), function)(*(p.data_as(ctypes.c_void_p) for p in pointers))
    if not in_place:
        np.testing.assert_array_equal(result[output.elements :], 0x5A)
    return result[: output.elements].reshape(output.shape)


def run_onnx(graph: Graph, inputs: Mapping[str, Codes]) -> Codes:
    """int8 codes of the QDQ model under ONNX Runtime, without its rewriting of Q/DQ pairs."""
    output = graph.tensors[graph.outputs[0].tensor]
    model = write_onnx(graph, extra_outputs=[output.name])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {}
    for name, codes in inputs.items():
        quantization = graph.tensors[name].quant
        centred = codes.astype(np.float32) - quantization.zero_point
        feeds[name] = centred * np.float32(quantization.scale)
    (codes,) = session.run([quantized_name(output.name)], feeds)
    return codes_to_graph(codes, output)


def check(graph: Graph, *, tflite: bool = True, onnx_lsb: int = 0) -> None:
    """Compare one operator everywhere: exactly, and in ONNX within ``onnx_lsb`` codes."""
    (op,) = graph.ops
    inputs = random_codes(graph)
    expected = run_reference(graph, inputs)[op.outputs[0]]
    assert expected.dtype == np.int8
    assert expected.shape == graph.tensors[op.outputs[0]].shape
    code = ops.family_of(op).layer_code(op, graph, CTarget())
    np.testing.assert_array_equal(run_c(graph, inputs), expected, "C")
    np.testing.assert_array_equal(run_c(graph, inputs, plain=True), expected, "plain C")
    if code.in_place and not code.is_alias:
        found = run_c(graph, inputs, in_place=True)
        np.testing.assert_array_equal(found, expected, "C in place")
    difference = run_onnx(graph, inputs).astype(int) - expected
    assert np.abs(difference).max() <= onnx_lsb
    if tflite:
        model = write_tflite(graph)
        np.testing.assert_array_equal(run_litert(model, inputs), expected, "LiteRT")
        ordered = [inputs[p.tensor] for p in graph.inputs]
        np.testing.assert_array_equal(run_tflm(model, ordered), expected, "TFLM")
