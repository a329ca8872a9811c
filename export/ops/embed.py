"""Rows of a constant table by computed indices: nn.Embedding; TFLite's GATHER on int32 indices.

Indices outside of the table are moved to its ends in every runtime, so that no code of an input
reads beyond the table. The scale of the rows is that of the whole table, whatever rows the
calibration sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import Call, CArray, CTarget, LayerCode, Ref
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor
from edgefactor.export.ops.family import (
    ONNX_INT64,
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Quantizer,
    Shape,
    TfliteBuilder,
    put_at_scale,
)
from edgefactor.export.ops.parts.indices import index_quantization, index_type, require_few
from edgefactor.export.ops.parts.layouts import read_stored, write_stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed(Op):
    """Inputs: indices of any shape, table [rows, ...].

    Attributes:
        rows: Of the table.
        low: Smallest value of the table.
        high: Largest value of the table.
    """

    rows: int
    low: float
    high: float


def lower_embedding(node: Node, lowering: Lowering, table: NDArray[np.float32]) -> None:
    """Lower a Gather of constant data by computed indices."""
    axis = int(node.attributes.get("axis", 0)) % max(table.ndim, 1)
    if axis != 0:
        lowering.unsupported(
            node, f"it gathers along axis {axis} of a constant", "gather along the first axis"
        )
    rows = table.shape[0]
    require_few(node, lowering, rows, "its table")
    indices = lowering.plain(node.input(1))
    shape = (*lowering.graph_shape(indices), *table.shape[1:])
    result = lowering.emit(
        Embed,
        [indices, lowering.add_constant(table, node.input(0))],
        shape,
        rows=rows,
        low=float(table.min()),
        high=float(table.max()),
    )
    lowering.bind_plain(node.outputs[0], result)


class EmbedFamily(Family):
    """What Gather becomes where the data are constant and the indices computed."""

    op = Embed
    mixes_widths = True

    def lower(self, node: Node, lowering: Lowering) -> None:
        lowering.unsupported(node, "no ONNX operator is lowered here", "use Gather")

    def output_shape(self, op: Embed, inputs: Sequence[Tensor]) -> Shape:
        return (*inputs[0].shape, *inputs[1].shape[1:])

    def output_rule(self, op: Embed) -> OutputRule:
        return numerics.choose_quantization(op.low, op.high)

    def input_rule(self, op: Embed, index: int) -> Quantization | None:
        narrow = index == 0 and index_type(op.rows) is DType.INT8
        return index_quantization(op.rows) if narrow else None

    def wide_input_rule(self, op: Embed, index: int) -> Quantization | None:
        return index_quantization(op.rows) if index == 0 else None

    def input_width(self, op: Embed, index: int) -> DType | None:
        return index_type(op.rows) if index == 0 else None

    def widths(self, op: Embed) -> tuple[DType, ...]:
        return (DType.INT8, index_type(op.rows))

    def width_is_given(self, op: Embed) -> bool:
        return True

    def whole_numbers(self, op: Embed) -> tuple[str, ...]:
        return op.inputs[:1] if index_type(op.rows) is DType.INT16 else ()

    def quantize(self, op: Embed, quantizer: Quantizer) -> Op:
        return put_at_scale(op, quantizer, quantizer.tensor(op.outputs[0]))

    def reference(
        self, op: Embed, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        found = values[0].astype(np.int64) - inputs[0].quant.zero_point
        return np.asarray(values[1], np.int8)[np.clip(found, 0, op.rows - 1)]

    def write_onnx(self, op: Embed, graph: Graph, builder: OnnxBuilder) -> None:
        rank = len(graph.tensors[op.inputs[1]].shape)
        table = builder.read_weights(op.inputs[1], tuple(range(rank)))
        source = read_stored(builder, graph.tensors[op.inputs[0]])
        indices = builder.node("Cast", [source], to=ONNX_INT64)
        ends = [builder.literal(np.array(end, np.int64)) for end in (0, op.rows - 1)]
        inside = builder.node("Clip", [indices, *ends])
        found = builder.node("Gather", [table, inside], axis=0)
        write_stored(builder, graph.tensors[op.outputs[0]], found)

    def write_tflite(self, op: Embed, graph: Graph, builder: TfliteBuilder) -> None:
        indices = graph.tensors[op.inputs[0]]
        offset = -indices.quant.zero_point
        current = builder.int32_temporary(indices.shape, f"{op.name}/wide")
        source = [builder.tensor(indices.name)]
        types: dict[str, Any] = {"inDataType": indices.dtype.name, "outDataType": "INT32"}
        builder.op("CAST", source, [current], "CastOptions", **types)

        def applied(code: str, number: int) -> int:
            label = f"{op.name}/{code.lower()}"
            operands = [current, builder.int32([number], f"{label}.number")]
            after = builder.int32_temporary(indices.shape, label)
            if code == "ADD":
                builder.op(code, operands, [after], "AddOptions", fusedActivationFunction="NONE")
            else:
                builder.op(code, operands, [after], "MaximumMinimumOptions")
            return after

        if offset:
            current = applied("ADD", offset)
        low, high = indices.dtype.code_range
        if offset + low < 0:
            current = applied("MAXIMUM", 0)
        if offset + high >= op.rows:
            current = applied("MINIMUM", op.rows - 1)
        table, result = builder.tensor(op.inputs[1]), builder.tensor(op.outputs[0])
        builder.op("GATHER", [table, current], [result], "GatherOptions", version=2, axis=0)

    def layer_code(self, op: Embed, graph: Graph, target: CTarget) -> LayerCode:
        indices, table = (graph.tensors[name] for name in op.inputs)
        codes = np.asarray(table.values, np.int8).reshape(-1)
        function = "ef_embed_s16" if indices.dtype is DType.INT16 else "ef_embed_s8"
        call = Call(
            function=function,
            struct="ef_embed_args",
            args={
                "count": indices.elements,
                "row": table.elements // op.rows,
                "offset": -indices.quant.zero_point,
                "last": op.rows - 1,
                "table": Ref(suffix="table"),
            },
            inputs=(indices.name,),
        )
        return LayerCode(
            calls=(call,),
            sources=("ef_embed.h", f"{function}.c"),
            arrays=(CArray(suffix="table", ctype="int8_t", data=codes, section="weights"),),
            encoding="raw",
            bits=8,
            distinct_values=int(np.unique(codes).size),
            weight_bytes=codes.size,
        )


FAMILY = EmbedFamily()
