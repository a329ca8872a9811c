"""The C of convolutions and dense layers on 16-bit activations: which kernel, with which operands.

Weights are int8 as they are. A kernel with 32-bit sums is taken where they are proved to suffice
for every possible input, channel by channel; elsewhere the plain one with 64-bit sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import ModelError
from edgefactor.export.c_code.layer_code import (
    Call,
    CArray,
    CSymbol,
    CValue,
    IsaFeatures,
    LayerCode,
    Ref,
)
from edgefactor.export.conv_kernels.geometry import INT32_MAX, ConvGeometry
from edgefactor.export.encodings.codebook import Int8Array

_HEADERS = ("ef_attributes.h", "ef_conv2d_s16.h", "ef_wide.h")
_DSP_HEADERS = ("ef_simd.h",)
#: Taps that the DSP kernel takes at a time, and output pixels.
_QUAD, _PIXELS = 4, 2
_INT16 = 2


def fits_32_bits(codes: Int8Array, bias: NDArray[np.int64]) -> bool:
    """Whether no sum can leave int32, whatever the int16 inputs are."""
    return int(_reach(codes, bias).max()) <= INT32_MAX


def _reach(codes: Int8Array, bias: NDArray[np.int64]) -> NDArray[np.int64]:
    """Largest magnitude of each channel's sum."""
    rows = np.abs(codes.reshape(len(bias), -1).astype(np.int64))
    return np.asarray(rows.sum(axis=1) * 32768 + np.abs(bias))


def _check_results(
    codes: Int8Array,
    bias: NDArray[np.int64],
    reduced: NDArray[np.int64],
    shifts: NDArray[np.int64],
) -> None:
    """Raise an error where a scaled sum would not fit 32 bits, or a shift no kernel."""
    largest = _reach(codes, bias) * reduced.astype(np.float64) * 2.0 ** (shifts - 15)
    worst = int(np.argmax(largest))
    if largest[worst] >= 2**31 or int(shifts.max()) > 7:
        raise ModelError(
            "The results of a layer with 16-bit activations are far outside its output's range.",
            where=f"output channel {worst}",
            found=f"{largest[worst]:.3g} steps, exponent {int(shifts.max())}",
            expected="below 2**31 steps, exponents of at most 7",
            hint="a scale of this layer is extreme; look at its bias and its calibration range",
        )


def pair_order(codes: Int8Array) -> Int8Array:
    """Weights (O, ...) as the DSP kernel reads them: rows of whole quads of taps.

    A quad is stored as taps 0, 2, 1, 3, so that the even bytes of its word, extended to halves, are
    taps 0 and 1, and the odd bytes taps 2 and 3. Rows are padded with zeros.
    """
    rows = codes.reshape(codes.shape[0], -1)
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % _QUAD)))
    quads = padded.reshape(len(rows), -1, _QUAD)[:, :, [0, 2, 1, 3]]
    return np.asarray(quads.reshape(-1), np.int8)


def conv_code(
    geometry: ConvGeometry,
    codes: Int8Array,
    bias: NDArray[np.int64],
    reduced: NDArray[np.int64],
    shifts: NDArray[np.int64],
    *,
    input_name: str,
    features: IsaFeatures,
    kernel: str | None = None,
) -> LayerCode:
    """The kernel of a layer on int16 activations, and its operands.

    Args:
        geometry: Shapes, padding and output range; zero points are 0.
        codes: int8 (O, kh, kw, I/groups).
        bias: (O,).
        reduced: Multipliers (O,), below 2**15.
        shifts: Their exponents (O,), positive to the left.
        input_name: Graph tensor that the call reads.
        features: What the target offers.
        kernel: Only this C function; None for the fastest that is exact.
    """
    chosen = kernel or _kernel(geometry, codes, bias, features)
    dsp = chosen == "ef_conv2d_s16_dsp"
    data = pair_order(codes) if dsp else codes.reshape(-1)
    narrow = fits_32_bits(codes, bias)
    _check_results(codes, bias, reduced, shifts)
    arrays = (
        CArray(suffix="weights", ctype="int8_t", data=data, section="weights"),
        CArray(
            suffix="bias",
            ctype="int32_t" if narrow else "int64_t",
            # Equal bytes of one C type are printed once, so the data has that type.
            data=bias.astype(np.int32 if narrow else np.int64),
        ),
        CArray(suffix="multiplier", ctype="int16_t", data=reduced.astype(np.int16)),
        CArray(suffix="shift", ctype="int8_t", data=(15 - shifts).astype(np.int8)),
    )
    biases: tuple[CValue, CValue] = (Ref(suffix="bias"), CSymbol(name="NULL"))
    args: dict[str, CValue] = {
        "weights": Ref(suffix="weights"),
        "bias": biases[0 if narrow else 1],
        "long_bias": biases[1 if narrow else 0],
        "multiplier": Ref(suffix="multiplier"),
        "shift": Ref(suffix="shift"),
        **geometry.window_fields,
        "groups": geometry.groups,
        "clamp_min": geometry.clamp_min,
        "clamp_max": geometry.clamp_max,
    }
    call = Call(
        function=chosen,
        struct="ef_conv2d_s16_args",
        args=args,
        inputs=(input_name,),
        scratch=True,
    )
    strip = _PIXELS * -(-geometry.taps // _QUAD) * _QUAD * _INT16 if dsp else 0
    return LayerCode(
        calls=(call,),
        sources=(f"{chosen}.c", *_HEADERS, *(_DSP_HEADERS if dsp else ())),
        arrays=arrays,
        scratch_bytes=strip,
        encoding="raw",
        bits=8,
        distinct_values=len(np.unique(codes)),
        weight_bytes=data.nbytes,
    )


def _kernel(
    geometry: ConvGeometry, codes: Int8Array, bias: NDArray[np.int64], features: IsaFeatures
) -> str:
    if not fits_32_bits(codes, bias):
        return "ef_conv2d_s16_ref"
    if features.dsp and not geometry.is_depthwise:
        return "ef_conv2d_s16_dsp"
    return "ef_conv2d_s16"
