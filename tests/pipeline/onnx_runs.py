"""Runs an ONNX model in ONNX Runtime, which nobody here wrote."""

from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray


def run_onnx(model: onnx.ModelProto, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [entry.name for entry in session.get_inputs()]
    return list(session.run(None, dict(zip(names, inputs, strict=True))))
