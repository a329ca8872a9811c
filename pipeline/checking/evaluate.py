"""Task accuracy on labelled data: float, int8, and as the device computes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgefactor.export.ir import Graph
from edgefactor.export.ports import decode_outputs, encode_inputs, input_rows, split_outputs
from edgefactor.pipeline.bundle import FLOAT_ONNX, INT8_ONNX
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.report import Accuracy
from edgefactor.runtime.host import HostRunner
from edgefactor.runtime.onnxruntime_runner import OnnxRuntimeRunner
from edgefactor.runtime.parity import accuracy, is_class_scores

NO_ACCURACY = Accuracy(float_=None, int8=None, device=None, samples=0)


def measure_accuracy(
    graph: Graph, folder: Path, data: Dataset, device: HostRunner | None
) -> Accuracy:
    """Run all labelled samples through three forms of the network.

    Args:
        graph: int8 Graph.
        folder: The bundle's folder.
        data: Samples with labels.
        device: The generated C on the host, which the exact rungs have shown equal to the
            emulated device; None where no compiler is installed.

    Returns:
        Fractions; None where something is missing: labels, scores, the compiler.
    """
    if data.labels is None or data.random:
        return NO_ACCURACY
    feeds = {port.name: array for port, array in zip(graph.inputs, data.inputs, strict=True)}
    names = [port.name for port in graph.outputs]
    results = {}
    for file in (FLOAT_ONNX, INT8_ONNX):
        values = OnnxRuntimeRunner(folder / file).run(feeds, names)
        scores = [np.asarray(values[name], np.float32) for name in names]
        if not is_class_scores(scores):
            return NO_ACCURACY
        results[file] = accuracy(scores[0], data.labels)
    on_device = None
    if device is not None:
        rows = device.outputs(input_rows(graph, encode_inputs(graph, data.inputs)))
        scores = list(decode_outputs(graph, split_outputs(graph, rows)))
        on_device = accuracy(scores[0].reshape(data.samples, -1), data.labels)
    return Accuracy(
        float_=results[FLOAT_ONNX],
        int8=results[INT8_ONNX],
        device=on_device,
        samples=data.samples,
    )
