"""The C of elementwise operators of two tensors: arguments of the ef_add and ef_mul kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.c_code.broadcasting import LOOPS, broadcast_loops
from edgefactor.export.c_code.layer_code import Call, CArray, CSymbol, CValue, LayerCode, Ref
from edgefactor.export.functions.linear_forms import LinearForm
from edgefactor.export.functions.tflite_builtins import HEADROOM_BITS
from edgefactor.export.ir import DType, Tensor

_HEADERS = ("ef_attributes.h", "ef_broadcast.h")
_ARITHMETIC = {
    DType.INT8: ("ef_numerics.h", "ef_saturate.h"),
    DType.INT16: ("ef_numerics.h", "ef_wide.h"),
}
#: What kernels need besides that take rows of int16 four at a time.
_ROWS = ("ef_row_s16.h", "ef_clamp_row_s16.h")
#: Multiplier of scales that are powers of two.
_POWER = 2**30
#: Right shifts for which the fast product's rounding constants fit 32 bits.
_FAST_SHIFTS = range(1, 23)


def linear_code(
    inputs: Sequence[Tensor], output: Tensor, form: LinearForm, clamp: tuple[int, int]
) -> LayerCode:
    """A sum or difference as one linear form."""
    fields: dict[str, CValue] = {
        "multiplier1": form.multipliers[0],
        "multiplier2": form.multipliers[1],
        "offset": form.offset,
        "shift": form.shift,
        "low": clamp[0],
        "high": clamp[1],
    }
    if all(tensor.data is None and tensor.shape == output.shape for tensor in inputs):
        args: dict[str, CValue] = {"form": fields, "count": output.elements}
        return _code("ef_add_s8", "ef_add", args, inputs, output)
    args = {"broadcast": _broadcast(inputs), "form": fields}
    return _code("ef_add_broadcast_s8", "ef_add_broadcast", args, inputs, output)


def rescaled_code(
    inputs: Sequence[Tensor], output: Tensor, sign: int, clamp: tuple[int, int]
) -> LayerCode:
    """A sum or difference (sign -1) by its definition."""
    twice = 2 * max(tensor.quant.scale for tensor in inputs)
    first, second = (numerics.quantize_multiplier(t.quant.scale / twice) for t in inputs)
    headroom = HEADROOM_BITS[output.dtype]
    last = numerics.quantize_multiplier(twice / (2**headroom * output.quant.scale))
    args: dict[str, CValue] = {
        "broadcast": _broadcast(inputs, output.dtype.bytes),
        "zero_point1": inputs[0].quant.zero_point,
        "zero_point2": inputs[1].quant.zero_point,
        "out_zero_point": output.quant.zero_point,
        "multiplier1": first[0],
        "shift1": first[1],
        "multiplier2": second[0],
        "shift2": second[1],
        "sign": sign,
        "multiplier": last[0],
        "shift": last[1],
        "low": clamp[0],
        "high": clamp[1],
    }
    if output.dtype is DType.INT8:
        return _code("ef_add_rescaled_s8", "ef_add_rescaled", args, inputs, output)
    # Scales are powers of two: where the operands lose no bit, their rescaling is a shift.
    lefts = [headroom + shift - 1 for _, shift in (first, second)]
    if min(lefts) < 0 or last[1] > -1:
        return _code("ef_add_rescaled_s16", "ef_add_rescaled", args, inputs, output)
    shifts: dict[str, CValue] = {
        "broadcast": args["broadcast"],
        "factor1": 1 << lefts[0],
        "factor2": sign * (1 << lefts[1]),
        "shift": -last[1],
        "low": clamp[0],
        "high": clamp[1],
    }
    return _code("ef_add_s16", "ef_add_shifted", shifts, inputs, output)


def product_code(inputs: Sequence[Tensor], output: Tensor, clamp: tuple[int, int]) -> LayerCode:
    """A product."""
    real = inputs[0].quant.scale * inputs[1].quant.scale / output.quant.scale
    multiplier, shift = numerics.quantize_multiplier(real)
    args: dict[str, CValue] = {
        "broadcast": _broadcast(inputs, output.dtype.bytes),
        "zero_point1": inputs[0].quant.zero_point,
        "zero_point2": inputs[1].quant.zero_point,
        "out_zero_point": output.quant.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "low": clamp[0],
        "high": clamp[1],
    }
    name = "ef_mul_s8" if -shift in _FAST_SHIFTS else "ef_mul_s8_ref"
    if output.dtype is DType.INT16:
        shifted = multiplier == _POWER and shift in range(-31, 0)
        name = "ef_mul_shifted_s16" if shifted else "ef_mul_s16"
    return _code(name, "ef_mul", args, inputs, output)


def extreme_code(inputs: Sequence[Tensor], output: Tensor, flip: int) -> LayerCode:
    """The larger (flip 0) or smaller (flip -1) of two tensors of one scale."""
    args: dict[str, CValue] = {"broadcast": _broadcast(inputs, output.dtype.bytes), "flip": flip}
    name = "ef_extreme_s8" if output.dtype is DType.INT8 else "ef_extreme_s16"
    return _code(name, "ef_extreme", args, inputs, output)


def compare_code(inputs: Sequence[Tensor], output: Tensor, accepted: int) -> LayerCode:
    """Whether the order of two tensors of one scale is among those that are accepted."""
    args: dict[str, CValue] = {"broadcast": _broadcast(inputs), "accepted": accepted}
    return _code("ef_compare_s8", "ef_compare", args, inputs, output)


def _constant(inputs: Sequence[Tensor]) -> int | None:
    """Which operand is constant, if one is."""
    return next((i for i, tensor in enumerate(inputs) if tensor.data is not None), None)


def _broadcast(inputs: Sequence[Tensor], width: int = 1) -> Mapping[str, CValue]:
    """The fields of an ef_broadcast; its innermost count and all steps are in bytes."""
    loops = broadcast_loops(inputs[0].shape, inputs[1].shape)
    if loops is None:
        raise ValueError(f"{inputs[0].name}, {inputs[1].name}: more than {LOOPS} loops")
    pointers: list[CValue] = [CSymbol(name="NULL"), CSymbol(name="NULL")]
    held = _constant(inputs)
    if held is not None:
        pointers[held] = Ref(suffix="constant", cast="const int8_t *" if width > 1 else "")
    return {
        "sizes": (*loops.sizes[:-1], width * loops.sizes[-1]),
        "steps1": tuple(width * step for step in loops.steps[0]),
        "steps2": tuple(width * step for step in loops.steps[1]),
        "constant1": pointers[0],
        "constant2": pointers[1],
    }


def _code(
    function: str, struct: str, args: Mapping[str, CValue], inputs: Sequence[Tensor], output: Tensor
) -> LayerCode:
    names = [tensor.name for tensor in inputs]
    # "ef_add_broadcast" and the like are declared in the header of their first word.
    header = "_".join(struct.split("_")[:2]) + ".h"
    arithmetic = () if struct in ("ef_compare", "ef_extreme") else _ARITHMETIC[output.dtype]
    in_rows = function in ("ef_add_s16", "ef_mul_shifted_s16")
    simd = ("ef_simd.h",) if in_rows or function == "ef_mul_s8" else ()
    rows = _ROWS if in_rows else ()
    sources = (f"{function}.c", header, *_HEADERS, *arithmetic, *simd, *rows)
    in_place = tuple(
        i for i, t in enumerate(inputs) if t.data is None and t.elements == output.elements
    )
    held = _constant(inputs)
    if held is None:
        call = Call(function=function, struct=f"{struct}_args", args=args, inputs=tuple(names))
        return LayerCode(calls=(call,), sources=sources, in_place=in_place)
    # The kernel does not use the pointer that it gets for a constant operand.
    names[held] = names[1 - held]
    data = np.asarray(inputs[held].values, str(output.dtype)).reshape(-1)
    call = Call(function=function, struct=f"{struct}_args", args=args, inputs=tuple(names))
    return LayerCode(
        calls=(call,),
        sources=sources,
        arrays=(
            CArray(suffix="constant", ctype=f"{output.dtype}_t", data=data, section="weights"),
        ),
        in_place=in_place,
        encoding="raw",
        bits=8 * output.dtype.bytes,
        distinct_values=int(np.unique(data).size),
        weight_bytes=data.nbytes,
    )
