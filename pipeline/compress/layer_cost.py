"""What a layer costs on a target before anything is exported: the cost model of the kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edgefactor.errors import OptionError
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.conv_kernels.choice import choose_conv
from edgefactor.export.conv_kernels.geometry import ConvGeometry
from edgefactor.export.conv_kernels.sparse import prefer_sparse
from edgefactor.export.ops.shift import shift_runs
from edgefactor.pipeline.compress.shift_map import ShiftMap
from edgefactor.targets.catalogue import load_target

#: A multiplier and shift of any layer whose sums are requantized downwards.
_MULTIPLIER, _SHIFT = 1 << 30, -8
#: ef_shift_s8 on an emulated Cortex-M4 (benchmarks/compression/sparse_and_shift.py): its table and
#: code, and instructions per row of a run, per pixel of one channel alone, and per pixel and word
#: or byte of longer runs.
_RUN_BYTES, _SHIFT_CODE_BYTES = 6, 500
_PER_ROW, _ALONE, _PER_PIXEL, _PER_PIECE = 80, 4.7, 8.5, 3.9


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """Estimates for one layer, or for the layers that replace it.

    Attributes:
        instructions: For one inference.
        flash_bytes: Weights, tables and channel parameters.
        multiplies: Multiplications with a weight that is not 0.
        parameters: Weights that are not 0, without biases.
    """

    instructions: int = 0
    flash_bytes: int = 0
    multiplies: int = 0
    parameters: int = 0

    def __add__(self, other: LayerCost) -> LayerCost:
        return LayerCost(
            instructions=self.instructions + other.instructions,
            flash_bytes=self.flash_bytes + other.flash_bytes,
            multiplies=self.multiplies + other.multiplies,
            parameters=self.parameters + other.parameters,
        )


def target_of(name: str, optimize: str = "balanced") -> CTarget:
    """What the choice of kernels asks of a named target."""
    target = load_target(name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    return CTarget(features=features, optimize=optimize)


def cost_of_layer(layer: nn.Module, shape: tuple[int, ...], target: CTarget) -> LayerCost:
    """Estimates of a convolution, dense layer, shift, or a sequence of them.

    Args:
        layer: The layer, with its weights: few distinct values or zeros make it smaller.
        shape: Of its input, batch first.
        target: Instruction set and policy.

    Raises:
        OptionError: The layer is of another kind.
    """
    if isinstance(layer, nn.Sequential):
        total = LayerCost()
        for part in layer:
            total = total + cost_of_layer(part, shape, target)
            shape = output_shape(part, shape)
        return total
    if isinstance(layer, ShiftMap):
        return _cost_of_shift(layer, shape)
    if isinstance(layer, nn.Conv2d):
        return _cost_of_conv(layer, shape, target)
    if isinstance(layer, nn.Linear):
        rows = int(np.prod(shape[1:-1], dtype=np.int64))
        geometry = ConvGeometry(
            in_h=rows, in_w=1, in_c=layer.in_features, out_h=rows, out_w=1,
            out_c=layer.out_features, k_h=1, k_w=1,
        )  # fmt: skip
        weights = layer.weight.detach().cpu().numpy()[:, None, None, :]
        return _estimate(geometry, weights, target)
    raise OptionError("The cost of such a layer is not known", found=type(layer).__name__)


def output_shape(layer: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a layer makes of an input's shape."""
    weight = next(iter((*layer.parameters(), *layer.buffers())))
    with torch.no_grad():
        return tuple(layer(torch.zeros(shape, device=weight.device, dtype=weight.dtype)).shape)


def _cost_of_shift(layer: ShiftMap, shape: tuple[int, ...]) -> LayerCost:
    _, channels, height, width = shape
    runs = shift_runs(layer.moves)
    by_word = channels % 4 == 0 and all(count % 4 == 0 for count, _, _ in runs)
    instructions = 0.0
    for count, _, _ in runs:
        pieces = count // 4 if by_word else count
        pixel = _ALONE if count == 1 else _PER_PIXEL + _PER_PIECE * pieces
        instructions += height * (_PER_ROW + width * pixel)
    return LayerCost(
        instructions=round(instructions),
        flash_bytes=len(runs) * _RUN_BYTES + _SHIFT_CODE_BYTES,
    )


def _cost_of_conv(layer: nn.Conv2d, shape: tuple[int, ...], target: CTarget) -> LayerCost:
    _, channels, height, width = shape
    _, _, out_h, out_w = output_shape(layer, shape)
    top, left = (0, 0)
    if layer.padding == "same":
        spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        top, left = spans[0] // 2, spans[1] // 2
    elif not isinstance(layer.padding, str):
        top, left = layer.padding
    geometry = ConvGeometry(
        in_h=height, in_w=width, in_c=channels, out_h=out_h, out_w=out_w,
        out_c=layer.out_channels, k_h=layer.kernel_size[0], k_w=layer.kernel_size[1],
        stride_h=layer.stride[0], stride_w=layer.stride[1], dilation_h=layer.dilation[0],
        dilation_w=layer.dilation[1], pad_top=top, pad_left=left, groups=layer.groups,
    )  # fmt: skip
    return _estimate(geometry, layer.weight.detach().cpu().numpy().transpose(0, 2, 3, 1), target)


def _estimate(
    geometry: ConvGeometry,
    weights: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    target: CTarget,
) -> LayerCost:
    outputs = weights.shape[0]
    largest = np.abs(weights).reshape(outputs, -1).max(axis=1).reshape(-1, 1, 1, 1)
    scales = np.where(largest > 0, largest, 1) / 127
    codes = np.rint(weights / scales).astype(np.int8)
    numbers = (
        codes,
        np.zeros(outputs, np.int32),
        np.full(outputs, _MULTIPLIER, np.int32),
        np.full(outputs, _SHIFT, np.int32),
    )
    dense = choose_conv(
        geometry, *numbers, input_name="x", features=target.features, optimize=target.optimize
    )
    code = prefer_sparse(
        dense,
        geometry,
        *numbers,
        input_name="x",
        features=target.features,
        optimize=target.optimize,
        encoding=None,
    )
    chosen = code.alternatives[0]
    kept = int(np.count_nonzero(weights))
    return LayerCost(
        instructions=chosen.instructions,
        flash_bytes=chosen.flash_bytes,
        multiplies=geometry.out_h * geometry.out_w * kept,
        parameters=kept,
    )
