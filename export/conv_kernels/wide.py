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
from edgefactor.export.conv_kernels.dsp_depthwise import WINDOWS_SOURCES, windows_bytes
from edgefactor.export.conv_kernels.geometry import INT32_MAX, ConvGeometry
from edgefactor.export.encodings.codebook import Int8Array

_HEADERS = ("ef_conv2d_s16.h", "ef_wide.h")
#: What a kernel needs besides.
_SOURCES: dict[str, tuple[str, ...]] = {
    "ef_conv2d_s16_ref": (),
    "ef_conv2d_s16": ("ef_attributes.h", "ef_inside.h"),
    "ef_depthwise_s16": ("ef_attributes.h", "ef_inside.h"),
    "ef_conv2d_s16_dsp": (
        "ef_attributes.h",
        "ef_simd.h",
        "ef_clamp_row_s16.h",
        "ef_wide_sums.h",
        "ef_wide_finish.h",
        "ef_wide_one_pixel.c",
        "ef_wide_two_pixels.c",
    ),
    "ef_depthwise_s16_dsp": (
        *WINDOWS_SOURCES,
        "ef_clamp_row_s16.h",
        "ef_plane_fill_s16.c",
        "ef_plane_windows_s16_run.c",
    ),
}
#: Taps that the DSP kernel takes at a time, and output pixels.
_QUAD, _PIXELS = 4, 2
_INT16 = 2
#: Shifts to the right of the kernels with sums of 32 bits, from this on.
_LEAST_SHIFT = 17


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


def pair_words(codes: Int8Array, groups: int) -> NDArray[np.uint32]:
    """Weights (O, ...) as the DSP kernel reads them: [pair of channels][pair of taps].

    The halves of a word belong to the taps and are 256 * a + b of the channels. An odd number of a
    group's channels is made even and rows are padded to whole quads of taps, with zeros.
    """
    rows = codes.reshape(groups, codes.shape[0] // groups, -1).astype(np.int32)
    padded = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2), (0, -rows.shape[2] % _QUAD)))
    pairs = padded.reshape(-1, 2, padded.shape[2])
    return (256 * pairs[:, 0] + pairs[:, 1]).astype(np.int16).reshape(-1).view(np.uint32)


def pair_records(
    bias: NDArray[np.int64], reduced: NDArray[np.int64], right: NDArray[np.int64], groups: int
) -> NDArray[np.int32]:
    """The array of ef_wide_pair for all pairs of channels."""

    def paired(values: NDArray[np.int64], dtype: str) -> NDArray[np.generic]:
        split = values.reshape(groups, -1)
        return np.pad(split, ((0, 0), (0, split.shape[1] % 2))).reshape(-1, 2).astype(dtype)

    shifts = np.pad(paired(right - _LEAST_SHIFT, "u1"), ((0, 0), (0, 2)))
    columns = paired(bias, "<i4"), paired(reduced, "<i2"), shifts
    records = np.concatenate(
        [np.ascontiguousarray(column).view(np.uint8) for column in columns], axis=1
    )
    return records.reshape(-1).view(np.int32)


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
    # A multiplier of 0 is 0 at any shift.
    right = np.where(reduced == 0, _LEAST_SHIFT, 15 - shifts)
    chosen = kernel or _kernel(geometry, codes, bias, right, features)
    scratch_bytes = 0
    _check_results(codes, bias, reduced, shifts)
    args: dict[str, CValue] = dict.fromkeys(
        ("weights", "channels", "bias", "long_bias", "multiplier", "shift"), CSymbol(name="NULL")
    )
    data: NDArray[np.integer] = codes.reshape(-1)
    if chosen == "ef_conv2d_s16_dsp":
        data = pair_words(codes, geometry.groups)
        scratch_bytes = _PIXELS * -(-geometry.taps // _QUAD) * _QUAD * _INT16
        arrays = [
            CArray(suffix="weights", ctype="uint32_t", data=data, section="weights"),
            CArray(
                suffix="channels",
                ctype="int32_t",
                data=pair_records(bias, reduced, right, geometry.groups),
            ),
        ]
    else:
        if chosen == "ef_depthwise_s16_dsp":
            scratch_bytes = windows_bytes(geometry, 1)
        narrow = fits_32_bits(codes, bias)
        arrays = [
            CArray(suffix="weights", ctype="int8_t", data=data, section="weights"),
            CArray(
                suffix="bias" if narrow else "long_bias",
                ctype="int32_t" if narrow else "int64_t",
                # Equal bytes of one C type are printed once, so the data has that type.
                data=bias.astype(np.int32 if narrow else np.int64),
            ),
            CArray(suffix="multiplier", ctype="int16_t", data=reduced.astype(np.int16)),
            CArray(suffix="shift", ctype="int8_t", data=right.astype(np.int8)),
        ]
    args |= {array.suffix: Ref(suffix=array.suffix) for array in arrays}
    args |= {
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
    return LayerCode(
        calls=(call,),
        sources=(f"{chosen}.c", *_HEADERS, *_SOURCES[chosen]),
        arrays=tuple(arrays),
        scratch_bytes=scratch_bytes,
        encoding="raw",
        bits=8,
        distinct_values=len(np.unique(codes)),
        weight_bytes=data.nbytes,
    )


def _kernel(
    geometry: ConvGeometry,
    codes: Int8Array,
    bias: NDArray[np.int64],
    right: NDArray[np.int64],
    features: IsaFeatures,
) -> str:
    if not fits_32_bits(codes, bias) or int(right.min()) < _LEAST_SHIFT:
        return "ef_conv2d_s16_ref"
    if geometry.is_depthwise:
        return "ef_depthwise_s16_dsp" if features.dsp else "ef_depthwise_s16"
    # Of -128 and a negative weight no half word of 256 * a + b can be made.
    if features.dsp and int(codes.min()) > -128:
        return "ef_conv2d_s16_dsp"
    return "ef_conv2d_s16"
