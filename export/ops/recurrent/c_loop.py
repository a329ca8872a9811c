"""Recurrent layers in C: the loop, its cell, and two kernels of dense layers inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgefactor.export.c_code.layer_code import (
    Call,
    CArray,
    CSymbol,
    CTarget,
    CValue,
    LayerCode,
    Ref,
)
from edgefactor.export.conv_kernels import choice as kernels
from edgefactor.export.functions.recurrence import (
    GATES,
    OUTPUT,
    STATES,
    gate_scaling,
    narrowing_bits,
)
from edgefactor.export.ir import Graph
from edgefactor.export.numerics import INT8_MAX, INT8_MIN
from edgefactor.export.ops.parts.layer_weights import layer_multipliers
from edgefactor.export.ops.recurrent.op import Recurrent

_SOURCES = (
    "ef_recurrent.h",
    "ef_recurrent_steps.c",
    "ef_gates.h",
    "ef_gates.c",
    "ef_gates_knots.c",
    "ef_conv2d.h",
    "ef_weights.h",
    "ef_numerics.h",
    "ef_wide.h",
)


def _dense(op: Recurrent, graph: Graph, target: CTarget, first: int, role: str) -> LayerCode:
    """The product with the weights at ``op.inputs[first]``, arrays named after its role."""
    weights, bias = (graph.tensors[name] for name in op.inputs[first : first + 2])
    source = graph.tensors[op.inputs[0]].quant if first == 1 else OUTPUT
    rows, width = weights.shape[0], weights.shape[3]
    geometry = kernels.ConvGeometry(
        in_h=1,
        in_w=1,
        in_c=width,
        out_h=1,
        out_w=1,
        out_c=rows,
        k_h=1,
        k_w=1,
        stride_h=1,
        stride_w=1,
        dilation_h=1,
        dilation_w=1,
        pad_top=0,
        pad_left=0,
        groups=1,
        in_zero_point=source.zero_point,
        out_zero_point=op.gate_zero_point,
        clamp_min=INT8_MIN,
        clamp_max=INT8_MAX,
    )
    multiplier, shift = layer_multipliers(source.scale, weights, op.gate_scale)
    code = kernels.choose_conv(
        geometry,
        np.asarray(weights.values, np.int8),
        np.asarray(bias.values, np.int32),
        multiplier.astype(np.int32),
        shift.astype(np.int32),
        input_name=op.inputs[0],
        features=target.features,
        optimize=target.optimize,
        encoding=target.encoding_of(op.name),
        by_tile=target.tile_huffman,
    )
    (call,) = code.calls
    arrays = tuple(replace(array, suffix=f"{role}_{array.suffix}") for array in code.arrays)
    args = {name: _named(value, role) for name, value in call.args.items()}
    return replace(code, arrays=arrays, calls=(replace(call, args=args),))


def _named(value: CValue, role: str) -> CValue:
    if isinstance(value, Ref):
        return Ref(suffix=f"{role}_{value.suffix}")
    if isinstance(value, Mapping):
        return {name: _named(item, role) for name, item in value.items()}
    return value


def _curve(scaling: tuple[int, int]) -> CValue:
    return {"multiplier": scaling[0], "shift": scaling[1]}


def recurrent_code(op: Recurrent, graph: Graph, target: CTarget) -> LayerCode:
    """The call of the loop, with everything that it needs."""
    steps, inputs = graph.tensors[op.inputs[0]].shape[1::2]
    units = graph.tensors[op.inputs[3]].shape[3]
    from_input = _dense(op, graph, target, 1, "input")
    from_last = _dense(op, graph, target, 3, "recurrent")
    offsets: dict[str, CValue] = {}
    end = 0
    for name, size in (
        ("state", 4 * units),
        ("input", inputs),
        ("result", units),
        ("input_gates", GATES[op.cell] * units),
        ("recurrent_gates", GATES[op.cell] * units),
        ("kernel", max(from_input.scratch_bytes, from_last.scratch_bytes)),
    ):
        offsets[f"{name}_offset"] = end
        end += -(-size // 4) * 4
    scaling = gate_scaling(op.gate_scale)
    products = (from_input.calls[0], from_last.calls[0])
    args: dict[str, CValue] = {
        "input": products[0].args,
        "recurrent": products[1].args,
        "input_kernel": CSymbol(name=products[0].function),
        "recurrent_kernel": CSymbol(name=products[1].function),
        "cell": CSymbol(name=f"ef_{op.cell}_cell"),
        "logistic": _curve(scaling.logistic),
        "tanh": _curve(scaling.tanh),
        "cell_tanh": _curve(scaling.cell),
        **offsets,
        "steps": steps,
        "inputs": inputs,
        "units": units,
        "zero_point": op.gate_zero_point,
        "state_vectors": STATES[op.cell],
        "narrowing": narrowing_bits(op.cell),
        "reverse": int(op.reverse),
        "every_step": int(op.every_step),
    }
    function = "ef_recurrent_states_s8" if op.keeps_state else "ef_recurrent_s8"
    first: tuple[CArray, ...] = ()
    states: tuple[str | Ref, ...] = op.inputs[5:]
    if states and graph.tensors[op.inputs[5]].data is not None:
        values = np.asarray(graph.tensors[op.inputs[5]].values, np.int16).reshape(-1)
        first = (CArray(suffix="first_state", ctype="int16_t", data=values),)
        states = (Ref(suffix="first_state"),)
    call = Call(
        function=function,
        struct="ef_recurrent_args",
        args=args,
        inputs=(op.inputs[0], *states),
        scratch=True,
    )
    own = (*_SOURCES, f"{function}.c", f"ef_{op.cell}_cell.c")
    sources = (*from_input.sources, *from_last.sources, *own)
    return LayerCode(
        calls=(call,),
        sources=tuple(dict.fromkeys(sources)),
        arrays=(*from_input.arrays, *from_last.arrays, *first),
        scratch_bytes=end,
        encoding=from_last.encoding,
        bits=from_last.bits,
        distinct_values=max(from_input.distinct_values, from_last.distinct_values),
        weight_bytes=from_input.weight_bytes + from_last.weight_bytes,
        alternatives=from_last.alternatives,
    )
