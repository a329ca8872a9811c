"""Lowers small ONNX models and compares the Graph with ONNX Runtime, float and int8."""

import numpy as np
import onnx
import onnx.parser
import onnxruntime
from numpy.typing import NDArray

from edgefactor.export import numerics, ops
from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.quantize import quantize
from tests.export.ops.oracles import run_litert, run_tflm

Real = NDArray[np.float32]


def parse(inputs: str, body: str, opset: int = 18) -> onnx.ModelProto:
    """A model from ONNX's text format; it has one output, ``y``.

    ``inputs`` is such as ``float[1,4,8,8] x``; integer constants are written in the body as
    ``axes = Constant <value_ints = [2]> ()``, or of several axes as
    ``i = Constant <value = int64[2,1] {3,0}> ()``, and become initializers here.
    """
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    model = onnx.parser.parse_model(f"{header} net ({inputs}) => (float y) {{ {body} }}")
    graph = model.graph
    graph.output[0].type.tensor_type.ClearField("shape")
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        attribute = node.attribute[0]
        value = onnx.helper.get_attribute_value(attribute)
        dtype = np.float32 if "float" in attribute.name else np.int64
        if isinstance(value, onnx.TensorProto):
            array = onnx.numpy_helper.to_array(value)
        else:
            array = np.array(value, dtype)
        graph.initializer.append(onnx.numpy_helper.from_array(array, node.output[0]))
        graph.node.remove(node)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def run_float(model: onnx.ModelProto, feeds: dict[str, Real]) -> Real:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    types = {entry.name: entry.type for entry in session.get_inputs()}
    typed = {
        name: array > 0 if types[name] == "tensor(bool)" else array for name, array in feeds.items()
    }
    return np.asarray(session.run(["y"], typed)[0], np.float32)


def check_lowering(model: onnx.ModelProto, *, tflite: bool = True, reach: float = 3.0) -> Graph:
    """Lower, compare with the original, quantize, compare the runtimes; return the float Graph.

    Inputs lie within 3; ``reach`` is the range of what is computed from them.
    """
    graph = validate(lower(model, name="net"), "lower")
    generator = np.random.default_rng(1)
    feeds = {
        port.name: generator.uniform(-3, 3, port.shape).astype(np.float32) for port in graph.inputs
    }
    for info in model.graph.input:
        if info.type.tensor_type.elem_type == onnx.TensorProto.BOOL:
            feeds[info.name] = (feeds[info.name] > 0).astype(np.float32)
    expected = run_float(model, feeds)
    found = run_float(write_onnx(graph), feeds)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    ends = dict.fromkeys((tensor.name for tensor in graph.activations), 3.0)
    # What only moves elements takes over the range of what it reads.
    rules = {op.outputs[0]: ops.family_of(op).output_rule(op) for op in graph.ops}
    ends |= {name: 3.0 if rule == "same" else reach for name, rule in rules.items()}
    ranges = {name: (-end, end) for name, end in ends.items()}
    int8 = validate(quantize(graph, ranges), "quantize", quantized=True)
    codes, seen = {}, {}
    for port in int8.inputs:
        tensor = int8.tensors[port.tensor]
        real = port.to_graph(feeds[port.name], tensor.shape)
        steps = np.rint(real / np.float32(tensor.quant.scale)) + tensor.quant.zero_point
        codes[tensor.name] = np.clip(steps, -128, 127).astype(np.int8)
        held = numerics.dequantize(codes[tensor.name], tensor.quant).astype(np.float32)
        seen[port.name] = port.from_graph(held[None]).reshape(port.shape)
    (last,) = int8.outputs
    result = run_reference(int8, codes)[last.tensor]
    quantization = int8.tensors[last.tensor].quant
    real = (result.astype(np.float32) - quantization.zero_point) * quantization.scale
    ends = [(end - quantization.zero_point) * quantization.scale for end in (-128, 127)]
    # What the codes of the input stand for is exact; each operator rounds.
    expected = run_float(model, seen)
    steps_lost = 0.5 + 0.5 * len(int8.ops)
    np.testing.assert_allclose(
        last.from_graph(real), np.clip(expected, *ends), atol=steps_lost * quantization.scale + 1e-5
    )
    if tflite and int8.ops:
        file = write_tflite(int8)
        np.testing.assert_array_equal(run_litert(file, codes), result)
        ordered = [codes[port.tensor] for port in int8.inputs]
        np.testing.assert_array_equal(run_tflm(file, ordered), result)
    return graph


def kinds(graph: Graph) -> list[str]:
    """The operators of a Graph in order."""
    return [type(op).__name__ for op in graph.ops]
