"""Layers whose weights can be shared, and an integer Graph with their weights in other forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.ir import DType, Graph, Tensor, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.parts.layer_weights import quantize_layer
from edgefactor.pipeline.sharing_at_export.forms import Form, forms_of
from edgefactor.pipeline.sharing_at_export.share_codes import (
    Floats,
    Moments,
    above_nothing,
    changeable,
    observed,
    per_weight,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShareableLayer:
    """A layer with the forms that its weights can take, the first one as they are.

    Attributes:
        name: Of the operator.
        weights: Float, [O, m].
        bias: Float, [O].
        mean: Of the input that each weight multiplies, [O, m].
        forms: Of the weights.
    """

    name: str
    weights: Floats
    bias: NDArray[np.float32]
    mean: Floats
    forms: tuple[Form, ...]

    def bias_of(self, form: Form) -> NDArray[np.float32]:
        """The bias less the mean error that the form makes on the calibration inputs."""
        drift = ((form.weights - self.weights) * self.mean).sum(axis=1)
        return np.asarray(self.bias - drift, np.float32)


def shareable_layers(
    graph: Graph, int8: Graph, moments: Mapping[str, Moments], keep: Sequence[str]
) -> list[ShareableLayer]:
    """Convolutions and dense layers that may change.

    Layers on 16-bit activations stay as they are (their kernels read plain weights), and so do
    those that share values already, and weights of several layers.

    Args:
        graph: Float Graph.
        int8: The same network as integers.
        moments: Of the input of each convolution, by tensor name.
        keep: Patterns of layer names that stay as they are.

    Raises:
        OptionError: A pattern matches no layer.
    """
    narrow = {
        op.name
        for op in int8.ops
        if isinstance(op, Conv2D) and int8.tensors[op.inputs[0]].dtype is DType.INT8
    }
    readers = Counter(name for op in graph.ops for name in op.inputs)
    found = []
    for op in changeable(graph, keep):
        alone = all(readers[name] == 1 for name in op.inputs[1:])
        if op.channel_scale or op.name not in narrow or not alone:
            continue
        weights = np.asarray(graph.tensors[op.inputs[1]].values, np.float32)
        seen = observed(graph, op.inputs[0], moments)
        cost = above_nothing(per_weight(op, weights.shape, seen.mean_square))
        mean = per_weight(op, weights.shape, seen.mean)
        found.append(
            ShareableLayer(
                name=op.name,
                weights=weights.reshape(len(weights), -1).astype(np.float64),
                bias=np.asarray(graph.tensors[op.inputs[2]].values, np.float32),
                mean=mean.reshape(len(weights), -1),
                forms=forms_of(weights, cost, depthwise=op.groups > 1 and weights.shape[-1] == 1),
            )
        )
    return found


@dataclass(slots=True)
class _Constants:
    """Takes constants as ``quantize_layer`` makes them."""

    tensors: dict[str, Tensor] = field(default_factory=dict)

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]

    def put(self, tensor: Tensor) -> str:
        self.tensors[tensor.name] = tensor
        return tensor.name

    def range(self, name: str) -> tuple[float, float]:
        raise KeyError(name)


def with_weights(int8: Graph, changed: Mapping[str, tuple[Form, NDArray[np.float32]]]) -> Graph:
    """The integer Graph with the weights and biases of some layers in other forms.

    Args:
        int8: Integer Graph.
        changed: Layer -> its form and float bias.
    """
    tensors = dict(int8.tensors)
    made = []
    for op in int8.ops:
        if not isinstance(op, Conv2D) or op.name not in changed:
            made.append(op)
            continue
        form, bias = changed[op.name]
        scales = [int8.tensors[name].quant.scale for name in (op.inputs[0], op.outputs[0])]
        weights = form.weights.astype(np.float32).reshape(form.shape)
        constants = _Constants()
        for name, values in zip(op.inputs[1:], (weights, bias), strict=True):
            constants.put(constant(name, values))
        factors = tuple(float(factor) for factor in form.scale)
        quantize_layer(op, op.inputs[1:], scales[0], scales[1], factors, constants)
        tensors |= constants.tensors
        made.append(replace(op, channel_scale=factors))
    return int8.edit(ops=tuple(made), tensors=tensors)
