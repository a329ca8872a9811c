"""Functions of one 16-bit tensor as chains of TFLite's int16 builtins, and their C.

Only what LiteRT and TFLM compute alike: the others read a copy in 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import Call, CArray, CValue, LayerCode, Ref
from edgefactor.export.functions import wide_tables
from edgefactor.export.functions.tflite_builtins import Chain, Step
from edgefactor.export.functions.wide_tables import GateScaling, gate_scaling
from edgefactor.export.ir import DType, Quantization, Tensor
from edgefactor.export.numerics import IntArray

if TYPE_CHECKING:  # the families import this module
    from edgefactor.export.ops.lookup import Lookup

#: Scale of probabilities and of hyperbolic tangents.
GATE_OUTPUT = Quantization(scales=(1 / 32768,))
_LOW, _HIGH = DType.INT16.code_range


def _rescaled(codes: IntArray, real: float) -> IntArray:
    return numerics.multiply_by_quantized_multiplier(codes, *numerics.quantize_multiplier(real))


def clamp_of(op: Lookup, output: Quantization) -> tuple[int, int]:
    """The lowest and highest code that a function with linear pieces returns."""
    if op.function == "relu":
        return 0, _HIGH
    ends = [
        None if end is None else int(np.clip(round(end / output.scale), _LOW, _HIGH))
        for end in (op.low, op.high)
    ]
    return (
        _LOW if ends[0] is None else ends[0],
        _HIGH if ends[1] is None else ends[1],
    )


def _relu(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    def compute(codes: IntArray) -> IntArray:
        return np.clip(_rescaled(codes, x.scale / output.scale), 0, _HIGH)

    return (Step(builtin="RELU", sources=(0,), output=output, compute=compute, version=2),)


def _clip(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    def rescale(codes: IntArray) -> IntArray:
        return np.clip(_rescaled(codes, x.scale / output.scale), _LOW, _HIGH)

    steps = [
        Step(
            builtin="QUANTIZE",
            sources=(0,),
            output=output,
            compute=rescale,
            options="QuantizeOptions",
        )
    ]
    low, high = clamp_of(op, output)
    for builtin, limit, choose, idle in (
        ("MAXIMUM", low, np.maximum, _LOW),
        ("MINIMUM", high, np.minimum, _HIGH),
    ):
        if limit == idle:
            continue
        steps.append(
            Step(
                builtin=builtin,
                sources=(len(steps),),
                output=output,
                compute=lambda codes, limit=limit, choose=choose: choose(codes, limit),
                constant=(limit, output),
                options="MaximumMinimumOptions",
                version=2,
            )
        )
    return tuple(steps)


def _gate(
    builtin: str, function: Callable[[IntArray, GateScaling], IntArray]
) -> Callable[[Lookup, Quantization, Quantization], Chain]:
    def chain(op: Lookup, x: Quantization, output: Quantization) -> Chain:
        scaling = gate_scaling(x.scale, op.name)
        return (
            Step(
                builtin=builtin,
                sources=(0,),
                output=GATE_OUTPUT,
                compute=lambda codes: function(codes, scaling),
            ),
        )

    return chain


_sigmoid = _gate("LOGISTIC", wide_tables.logistic_codes)
_tanh = _gate("TANH", wide_tables.tanh_codes)


def _silu(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    def product(codes: IntArray, gate: IntArray) -> IntArray:
        real = x.scale * GATE_OUTPUT.scale / output.scale
        return np.clip(_rescaled(codes * gate, real), _LOW, _HIGH)

    return (
        *_sigmoid(op, x, output),
        Step(
            builtin="MUL",
            sources=(0, 1),
            output=output,
            compute=product,
            options="MulOptions",
            version=2,
        ),
    )


#: Name -> the TFLite builtins that compute it on int16.
FUNCTIONS: Mapping[str, Callable[[Lookup, Quantization, Quantization], Chain]] = {
    "relu": _relu,
    "clip": _clip,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "silu": _silu,
}


def code(op: Lookup, x: Tensor, output: Tensor) -> LayerCode:
    """The C of a function of one int16 tensor."""
    if op.function in ("relu", "clip"):
        return rescaling_code(x, output, clamp_of(op, output.quant))
    scaling = gate_scaling(x.quant.scale, op.name)
    name = {"sigmoid": "logistic"}.get(op.function, op.function)
    args: dict[str, CValue] = {
        "count": x.elements,
        "multiplier": scaling.multiplier,
        "shift": scaling.shift,
        "table": Ref(suffix="table"),
    }
    if op.function == "silu":
        real = x.quant.scale * GATE_OUTPUT.scale / output.quant.scale
        product = numerics.quantize_multiplier(real)
        args |= {"product_multiplier": product[0], "product_shift": product[1]}
    else:
        args |= {"product_multiplier": 0, "product_shift": 0}
    function = f"ef_{name}_s16"
    call = Call(function=function, struct="ef_gate_s16_args", args=args, inputs=(x.name,))
    table = CArray(
        suffix="table", ctype="uint16_t", data=wide_tables.logistic_table().astype(np.uint16)
    )
    numbers = ("ef_numerics.h", "ef_wide.h") if op.function == "silu" else ()
    return LayerCode(
        calls=(call,),
        sources=(f"{function}.c", "ef_gate_s16.h", *numbers),
        arrays=(table,),
        in_place=(0,),
    )


#: What the kernels between widths need besides.
_RESCALING: Mapping[str, tuple[str, ...]] = {
    "ef_requantize_s8_s16": ("ef_attributes.h", "ef_wide.h"),
    "ef_requantize_s16_s8": ("ef_attributes.h", "ef_simd.h"),
    "ef_requantize_s16": (
        "ef_attributes.h",
        "ef_wide.h",
        "ef_simd.h",
        "ef_clamp_row_s16.h",
        "ef_row_s16.h",
    ),
}


def rescaling_code(x: Tensor, output: Tensor, clamp: tuple[int, int]) -> LayerCode:
    """The C of the same values at another scale or in another width, within limits."""
    multiplier, shift = numerics.quantize_multiplier(x.quant.scale / output.quant.scale)
    short = {DType.INT8: "s8", DType.INT16: "s16"}
    ends = tuple(dict.fromkeys(short[tensor.dtype] for tensor in (x, output)))
    function = "_".join(("ef_requantize", *ends))
    call = Call(
        function=function,
        struct="ef_requantize_args",
        args={
            "count": x.elements,
            "in_zero_point": x.quant.zero_point,
            "out_zero_point": output.quant.zero_point,
            "multiplier": multiplier,
            "shift": shift,
            "low": clamp[0],
            "high": clamp[1],
        },
        inputs=(x.name,),
    )
    return LayerCode(
        calls=(call,),
        sources=(f"{function}.c", "ef_requantize.h", "ef_numerics.h", *_RESCALING[function]),
        in_place=(0,) if x.dtype is DType.INT16 else (),
    )
