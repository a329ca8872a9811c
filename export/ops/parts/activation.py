"""Activations that an operator applies to its own result: a clamp of the codes, at no cost."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgefactor.export.ir import DType, Quantization
from edgefactor.export.ops.family import OnnxBuilder

#: The names are TFLite's, in lower case.
Activation = Literal["none", "relu", "relu6"]

_CEILING = 6.0


def activation_range(
    activation: Activation, quantization: Quantization, dtype: DType = DType.INT8
) -> tuple[int, int]:
    """The closed interval of codes of a type that an activation leaves.

    The upper end of ReLU6 is rounded in float32 with halves away from zero, as TFLite does.
    """
    low, high = dtype.code_range
    zero = quantization.zero_point
    if activation == "none":
        return low, high
    if activation == "relu6":
        steps = np.float32(_CEILING) / np.float32(quantization.scale)
        high = min(high, zero + int(np.floor(float(steps) + 0.5)))
    return max(low, zero), high


def activation_onnx(activation: Activation, value: str, builder: OnnxBuilder) -> str:
    """Append the activation to a real value and return the result's name."""
    if activation == "none":
        return value
    if activation == "relu":
        return builder.node("Relu", [value])
    low, high = (builder.literal(np.array(end, np.float32)) for end in (0.0, _CEILING))
    return builder.node("Clip", [value, low, high])
