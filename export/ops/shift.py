"""Shift: every channel of a map moves by whole pixels; zeros come in at the edges.

Wu et al. 2017, "Shift: A Zero FLOP, Zero Parameter Alternative to Spatial Convolutions" (arXiv
1711.08141), and the shift attention layer once it is hardened (arXiv 1905.12300). In ONNX and
TFLite, which have no such operator, it is a depthwise convolution whose kernels hold a single 1; in
C it copies bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import Call, CArray, CTarget, LayerCode, Ref
from edgefactor.export.ir import Array, Graph, Op, Quantization, Tensor
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)

Move = tuple[int, int]

SOURCES = ("ef_shift.h", "ef_shift_s8.c", "ef_word4.h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift(Op):
    """Input: activation NHWC.

    Attributes:
        moves: Rows and columns per channel: ``out[y, x] = in[y + rows, x + columns]``, 0 outside.
    """

    moves: tuple[Move, ...]


def shift_runs(moves: Sequence[Move]) -> tuple[tuple[int, int, int], ...]:
    """Neighbouring channels with the same move: how many, rows, columns."""
    return tuple((len(list(group)), *move) for move, group in itertools.groupby(moves))


def one_hot_kernels(moves: Sequence[Move]) -> NDArray[np.int8]:
    """The depthwise kernels [C, k, k] that do the same when the map is padded by k // 2."""
    reach = max((abs(step) for move in moves for step in move), default=0)
    kernels = np.zeros((len(moves), 2 * reach + 1, 2 * reach + 1), np.int8)
    for channel, (rows, columns) in enumerate(moves):
        kernels[channel, reach + rows, reach + columns] = 1
    return kernels


class ShiftFamily(Family):
    """Made from depthwise convolutions by ``pipeline/passes/fuse_shift.py``; ONNX has none."""

    op = Shift

    def lower(self, node: Node, lowering: Lowering) -> None:
        lowering.unsupported(node, "only passes create shifts", "use a depthwise convolution")

    def output_shape(self, op: Shift, inputs: Sequence[Tensor]) -> Shape:
        return inputs[0].shape

    def output_rule(self, op: Shift) -> OutputRule:
        return "same"

    def reference(
        self, op: Shift, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        codes = np.asarray(values[0], np.int8)
        _, height, width, _ = codes.shape
        result = np.full(codes.shape, output.quant.zero_point, np.int8)
        for channel, (rows, columns) in enumerate(op.moves):
            tall, wide = height - abs(rows), width - abs(columns)
            if tall <= 0 or wide <= 0:
                continue
            to_y, to_x = max(-rows, 0), max(-columns, 0)
            from_y, from_x = max(rows, 0), max(columns, 0)
            part = codes[0, from_y : from_y + tall, from_x : from_x + wide, channel]
            result[0, to_y : to_y + tall, to_x : to_x + wide, channel] = part
        return result

    def write_onnx(self, op: Shift, graph: Graph, builder: OnnxBuilder) -> None:
        kernels = one_hot_kernels(op.moves)
        reach = kernels.shape[1] // 2
        # Real weights, not int8 ones: a product with 1.0f is exact, so the codes come back as
        # they went in, and no runtime fuses the node into a kernel that would requantize.
        value = builder.node(
            "Conv",
            [
                builder.read(op.inputs[0]),
                builder.literal(kernels[:, None].astype(np.float32)),
            ],
            pads=[reach] * 4,
            group=len(op.moves),
            kernel_shape=list(kernels.shape[1:]),
        )
        builder.write(op.outputs[0], value)

    def write_tflite(self, op: Shift, graph: Graph, builder: TfliteBuilder) -> None:
        x = graph.tensors[op.inputs[0]]
        kernels = one_hot_kernels(op.moves)
        channels = len(op.moves)
        # Code 1 at scale 1: the multiplier is 2^30 shifted left by one, and rounding the product
        # of 2 * x and 2^30 to the upper 31 bits gives x for every x.
        unit = Quantization(scales=(1.0,) * channels, axis=3)
        filters = builder.int8(kernels.transpose(1, 2, 0)[None], unit, f"{op.name}/taps")
        # TFLite lets the bias be absent, but LiteRT's optimized kernel then reads through NULL.
        bias = builder.int32(np.zeros(channels, np.int32), f"{op.name}/bias")
        builder.op(
            "DEPTHWISE_CONV_2D",
            [builder.tensor(x.name), filters, bias],
            [builder.tensor(op.outputs[0])],
            "DepthwiseConv2DOptions",
            version=3,
            padding="SAME",
            strideH=1,
            strideW=1,
            depthMultiplier=1,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction="NONE",
        )

    def layer_code(self, op: Shift, graph: Graph, target: CTarget) -> LayerCode:
        x = graph.tensors[op.inputs[0]]
        _, height, width, channels = x.shape
        runs = shift_runs(op.moves)
        call = Call(
            function="ef_shift_s8",
            struct="ef_shift_args",
            args={
                "runs": Ref(suffix="runs"),
                "run_count": len(runs),
                "height": height,
                "width": width,
                "channels": channels,
                "zero_point": x.quant.zero_point,
            },
            inputs=(x.name,),
        )
        table = np.array(runs, np.int16).reshape(-1)
        array = CArray(suffix="runs", ctype="int16_t", data=table)
        return LayerCode(calls=(call,), sources=SOURCES, arrays=(array,))


FAMILY = ShiftFamily()
