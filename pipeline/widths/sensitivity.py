"""How much noise at the outputs each activation's quantization makes, on its own.

The float network is written as ONNX once, with a switch behind every activation that replaces it by
its quantized values. So one session answers for all tensors, and nothing is re-quantized between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgefactor.export.ir import DType, Graph, Quantization
from edgefactor.export.onnx_writer import (
    RUNTIME_DOMAIN,
    RUNTIME_OPSET,
    real_name,
    write_onnx,
)
from edgefactor.runtime.onnxruntime_runner import OnnxRuntimeRunner

Reals = NDArray[np.float32]
#: Outputs one after another, each ``[n, ...]``.
Outputs = Sequence[Reals]


def noise_ratios(exact: Outputs, found: Outputs) -> NDArray[np.float64]:
    """Noise power over signal power of each output; infinite where it is not finite."""
    ratios = []
    for wanted, got in zip(exact, found, strict=True):
        signal = float((wanted.astype(np.float64) ** 2).sum())
        noise = float(((wanted.astype(np.float64) - got.astype(np.float64)) ** 2).sum())
        ratios.append(noise / max(signal, 1e-30) if np.isfinite(noise) else np.inf)
    return np.array(ratios)


def decibels(ratios: NDArray[np.float64]) -> float:
    """Signal-to-noise ratio of the worst output, from noise ratios."""
    return float(-10 * np.log10(max(float(ratios.max()), 1e-30)))


def _switch_name(tensor: str) -> str:
    return f"{tensor}/switch"


def _switched(
    graph: Graph, scales: Mapping[str, Quantization], dtype: DType
) -> tuple[bytes, list[str]]:
    """The float network with a switch behind each tensor of ``scales``."""
    model = write_onnx(graph)
    added: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    places = {real_name(name): name for name in scales}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        name = places.get(node.output[0])
        if name is None:
            continue
        exact, parts = f"{name}/exact", [f"{name}/{part}" for part in "qdegs"]
        node.output[0] = exact
        scale, zero = f"{name}/step", f"{name}/origin"
        quantization = scales[name]
        constants.append(numpy_helper.from_array(np.array(quantization.scale, np.float32), scale))
        constants.append(
            numpy_helper.from_array(np.array(quantization.zero_point, str(dtype)), zero)
        )
        domain = {"domain": RUNTIME_DOMAIN}
        added = [
            helper.make_node("QuantizeLinear", [exact, scale, zero], [parts[0]], **domain),
            helper.make_node("DequantizeLinear", [parts[0], scale, zero], [parts[1]], **domain),
            helper.make_node("Sub", [parts[1], exact], [parts[2]]),
            helper.make_node("Mul", [parts[2], _switch_name(name)], [parts[3]]),
            helper.make_node("Add", [exact, parts[3]], [real_name(name)]),
        ]
        nodes.extend(added)
        model.graph.input.append(
            helper.make_tensor_value_info(_switch_name(name), TensorProto.FLOAT, (1,))
        )
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants)
    model.opset_import.append(helper.make_opsetid(RUNTIME_DOMAIN, RUNTIME_OPSET))
    return model.SerializeToString(), list(places.values())


def noise_by_tensor(
    graph: Graph,
    scales: Mapping[str, Quantization],
    dtype: DType,
    feeds: Mapping[str, Reals],
) -> dict[str, NDArray[np.float64]]:
    """Noise ratios of the outputs with one activation quantized and everything else in float.

    Args:
        graph: Float Graph.
        scales: Tensor -> its quantization: the tensors to ask for.
        dtype: Their type when quantized.
        feeds: Input name -> samples ``[n, ...]`` in PyTorch's layout.

    Returns:
        Tensor -> one ratio an output.
    """
    content, names = _switched(graph, scales, dtype)
    runner = OnnxRuntimeRunner(content)
    outputs = [port.name for port in graph.outputs]
    count = len(next(iter(feeds.values())))
    off = {_switch_name(name): np.zeros(count, np.float32) for name in names}

    def run(on: str | None) -> list[Reals]:
        switches = dict(off)
        if on is not None:
            switches[_switch_name(on)] = np.ones(count, np.float32)
        found = runner.run({**feeds, **switches}, outputs)
        return [found[name] for name in outputs]

    exact = run(None)
    return {name: noise_ratios(exact, run(name)) for name in names}
