"""The C of a normalization: arguments of the ef_normalize kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgefactor.export.c_code.layer_code import Call, CArray, CValue, LayerCode, Ref
from edgefactor.export.functions.normalization import Multiplier, Normalization
from edgefactor.export.functions.wide_normalization import WideNormalization
from edgefactor.export.ir import Tensor

#: Right shifts for which the fast kernel's rounding constants fit 32 bits.
_FAST_SHIFTS = range(1, 23)


def normalize_code(
    inputs: Sequence[Tensor],
    output: Tensor,
    view: tuple[int, int, int, int],
    numbers: Normalization,
    result: Multiplier,
    *,
    centered: bool,
) -> LayerCode:
    """LayerCode of one normalization.

    Args:
        inputs: Activation, gain and offset.
        output: The result.
        view: Outer, steps, groups, inner.
        numbers: Its integers.
        result: From a normalized value times its gain to the output.
        centered: Whether the mean is subtracted.
    """
    fast = all(-shift in _FAST_SHIFTS for shift in (numbers.unit[1], result[1]))
    name = "ef_normalize_s8" if fast else "ef_normalize_s8_ref"
    args: dict[str, CValue] = {
        "gain": Ref(suffix="gain"),
        "offset": Ref(suffix="offset"),
        **dict(zip(("outer", "steps", "groups", "inner"), view, strict=True)),
        "centered": int(centered),
        "zero_point": inputs[0].quant.zero_point,
        "epsilon": numbers.epsilon,
        "mean_multiplier": numbers.mean[0],
        "mean_shift": numbers.mean[1],
        "unit_multiplier": numbers.unit[0],
        "unit_shift": numbers.unit[1],
        "multiplier": result[0],
        "shift": result[1],
        "out_zero_point": output.quant.zero_point,
    }
    call = Call(function=name, struct="ef_normalize_args", args=args, inputs=(inputs[0].name,))
    sources = (
        "ef_normalize.h",
        f"{name}.c",
        "ef_numerics.h",
        "ef_root.h",
        "ef_root.c",
        "ef_single.h",
        "ef_saturate.h",
        "ef_simd.h",
    )
    return _with_affine(call, sources, inputs[1:])


def wide_normalize_code(
    inputs: Sequence[Tensor],
    view: tuple[int, int, int, int],
    numbers: WideNormalization,
    result: Multiplier,
    *,
    centered: bool,
) -> LayerCode:
    """LayerCode of one normalization of int16 codes; arguments as for ``normalize_code``."""
    args: dict[str, CValue] = {
        "gain": Ref(suffix="gain"),
        "offset": Ref(suffix="offset"),
        **dict(zip(("outer", "steps", "groups", "inner"), view, strict=True)),
        "centered": int(centered),
        "least": numbers.least,
        "square_bits": numbers.square_bits,
        "root_bits": numbers.root_bits,
        "epsilon_multiplier": numbers.epsilon[0],
        "epsilon_shift": numbers.epsilon[1],
        "epsilon_bits": numbers.epsilon_bits,
        "mean_multiplier": numbers.mean[0],
        "mean_shift": numbers.mean[1],
        "unit_multiplier": numbers.unit[0],
        "unit_shift": numbers.unit[1],
        "multiplier": result[0],
        "shift": result[1],
    }
    fast = all(-shift in _FAST_SHIFTS for shift in (numbers.unit[1], result[1]))
    name = "ef_normalize_s16" if fast else "ef_normalize_s16_ref"
    struct = "ef_normalize_s16_args"
    call = Call(function=name, struct=struct, args=args, inputs=(inputs[0].name,))
    sources = (
        f"{name}.c",
        "ef_normalize_s16.h",
        "ef_normalize_root.h",
        "ef_attributes.h",
        "ef_simd.h",
        "ef_numerics.h",
        "ef_root.h",
        "ef_root_wide.c",
        "ef_single.h",
        "ef_wide.h",
    )
    return _with_affine(call, sources, inputs[1:])


def _with_affine(call: Call, sources: tuple[str, ...], affine: Sequence[Tensor]) -> LayerCode:
    gain, offset = (np.asarray(tensor.values, np.int32) for tensor in affine)
    return LayerCode(
        calls=(call,),
        sources=sources,
        arrays=(
            CArray(suffix="gain", ctype="int16_t", data=gain.astype(np.int16), section="weights"),
            CArray(suffix="offset", ctype="int32_t", data=offset, section="weights"),
        ),
        in_place=(0,),
        weight_bytes=6 * gain.size,
        bits=16,
        encoding="raw",
        distinct_values=len(np.unique(gain)),
    )
