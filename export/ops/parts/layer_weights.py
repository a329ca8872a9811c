"""Float weights and bias of a dense layer or convolution -> int8 and int32 constants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export import numerics
from edgefactor.export.ir import DType, Op, Quantization, Tensor, constant
from edgefactor.export.ops.family import Quantizer
from edgefactor.export.weight_codes import quantize_weights

#: Largest accumulator of a layer with 16-bit activations that TFLite's kernels take.
_WIDE_LIMIT = 2**47 - 1


def layer_multipliers(
    in_scale: float, weights: Tensor, out_scale: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Multipliers and shifts per output channel, from the scales alone."""
    pairs = [
        numerics.quantize_multiplier(in_scale * scale / out_scale) for scale in weights.quant.scales
    ]
    table = np.array(pairs, np.int64)
    return table[:, 0], table[:, 1]


def quantize_layer(
    op: Op,
    names: Sequence[str],
    in_scale: float,
    out_scale: float,
    channel_scale: tuple[float, ...],
    quantizer: Quantizer,
    dtype: DType = DType.INT8,
) -> None:
    """Make weights ``[O, ...]`` and bias ``[O]`` integer, one scale a channel.

    Args:
        op: The layer, for the error.
        names: Of the weights and of the bias.
        in_scale: Scale of what the weights are multiplied with.
        out_scale: Scale of the results.
        channel_scale: See ``quantize_weights``.
        quantizer: Holds both and takes the results.
        dtype: Of what the weights are multiplied with: int16 makes the bias int64.

    Raises:
        UnsupportedOperatorError: A sum of products could exceed what the kernels hold.
    """
    weights, bias = (quantizer.tensor(name) for name in names)
    real_bias = np.asarray(bias.values, np.float32)
    is_wide = dtype is DType.INT16
    codes, scales = quantize_weights(
        np.asarray(weights.values, np.float32),
        real_bias,
        channel_scale,
        in_scale,
        None if is_wide else out_scale,
    )
    bias_scales = np.array(scales, np.float64) * in_scale
    bias_codes = numerics.round_half_away(real_bias.astype(np.float64) / bias_scales)
    reach = np.abs(codes.reshape(len(scales), -1).astype(np.int64)).sum(axis=1)
    reach = reach * (32768 if is_wide else 255) + np.abs(bias_codes)
    limit = _WIDE_LIMIT if is_wide else numerics.INT32_MAX
    if int(reach.max(initial=0)) > limit:
        raise UnsupportedOperatorError(
            f"A sum of products can exceed {limit.bit_length() + 1} bits.",
            where=f"layer {op.name}",
            found=f"{codes[0].size} products a sum and a bias of up to "
            f"{float(np.abs(real_bias).max()):.3g}",
            expected=f"sums below 2**{limit.bit_length()}",
            hint="split the layer or scale its inputs",
        )
    quantizer.put(constant(weights.name, codes, Quantization(scales=scales, axis=0)))
    quantizer.put(
        constant(
            bias.name,
            bias_codes.astype(np.int64 if is_wide else np.int32),
            Quantization(scales=tuple(map(numerics.float32, bias_scales)), axis=0),
        )
    )
