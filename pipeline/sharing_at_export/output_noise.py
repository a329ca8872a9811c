"""What sharing one layer's weights does to the outputs of the network on calibration inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from edgefactor.export.ir import Graph, constant
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.pipeline.calibrate import Sample
from edgefactor.pipeline.config import Progress
from edgefactor.pipeline.sharing_at_export.forms import Form
from edgefactor.pipeline.sharing_at_export.shareable import ShareableLayer
from edgefactor.pipeline.sharing_at_export.torch_network import TorchNetwork
from edgefactor.pipeline.sharing_at_export.tuning import relative_noise, stacked

SAMPLES = 32
PROBE_SAMPLES = 16
PROBE_VALUES = 16
"""Of the form whose noise stands for the others, where every form would take long."""
_LEAST = 1e-12


def output_noise(
    graph: Graph,
    network: TorchNetwork | None,
    layers: Sequence[ShareableLayer],
    samples: Sequence[Sample],
    progress: Progress,
) -> dict[str, tuple[float, ...]]:
    """Power of the noise over the power of the signal, summed over the outputs, for each form.

    Every form is measured in PyTorch. Where that cannot run the network, one form of each layer is
    measured in ONNX Runtime, and the others' noise follows from the errors of their weights.

    Args:
        graph: Float Graph.
        network: The same in PyTorch.
        layers: With their forms.
        samples: Calibration samples; the first are taken.
        progress: Called with the name of each layer.
    """
    if network is None:
        return _probed(graph, layers, samples[:PROBE_SAMPLES], progress)
    found = {}
    inputs = stacked(network, samples[:SAMPLES])
    with torch.no_grad():
        expected = network.run(inputs, network.outputs, {})
        for layer in layers:
            progress(f"looking at {layer.name}")
            found[layer.name] = tuple(
                relative_noise(
                    expected, network.run(inputs, network.outputs, _changed(network, layer, form))
                )
                if form.is_shared
                else 0.0
                for form in layer.forms
            )
    return found


def _changed(network: TorchNetwork, layer: ShareableLayer, form: Form) -> dict[str, Tensor]:
    weights, bias, _ = network.layers[layer.name]
    values = torch.tensor(form.weights, dtype=torch.float32).reshape(form.shape)
    return {
        weights: values.permute(0, 3, 1, 2),
        bias: torch.from_numpy(layer.bias_of(form)),
    }


def _probed(
    graph: Graph,
    layers: Sequence[ShareableLayer],
    samples: Sequence[Sample],
    progress: Progress,
) -> dict[str, tuple[float, ...]]:
    expected = _outputs(graph, samples)
    found = {}
    for layer in layers:
        progress(f"looking at {layer.name}")
        shared = [form for form in layer.forms if form.is_shared]
        probe = next((f for f in shared if f.text == f"{PROBE_VALUES} values"), shared[-1:])
        slope = 0.0
        if isinstance(probe, Form) and probe.error > 0:
            op = next(op for op in graph.ops if op.name == layer.name)
            values = probe.weights.reshape(probe.shape).astype(np.float32)
            tensors = {
                **graph.tensors,
                op.inputs[1]: constant(op.inputs[1], values),
                op.inputs[2]: constant(op.inputs[2], layer.bias_of(probe)),
            }
            outputs = _outputs(graph.edit(tensors=tensors), samples)
            slope = max(relative_noise(expected, outputs), _LEAST) / probe.error
        found[layer.name] = tuple(slope * form.error for form in layer.forms)
    return found


def _outputs(graph: Graph, samples: Sequence[Sample]) -> list[Tensor]:
    """The outputs in ONNX Runtime, one tensor an output."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        write_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = [session.run(None, dict(sample)) for sample in samples]
    return [
        torch.from_numpy(np.stack([np.asarray(row[i], np.float64) for row in rows]))
        for i in range(len(rows[0]))
    ]
