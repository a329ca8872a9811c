"""Convolutions whose weights are mostly 0: only the others are stored and multiplied.

What pruning and hardened shift attention leave, also in windows; ``sparse_code`` has the encodings
for clustered weights of dense and 1x1 layers. Each weight that is kept takes two bytes, its
distance from the one before in the receptive field and its code, as in Deep Compression (arXiv
1510.00149) with 8 bits for both; a longer gap costs a pair of weight 0. A shift attention layer
(arXiv 1905.12300) keeps one weight of each 3x3 kernel, so that 9 bytes become 2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import OptionError
from edgefactor.export.c_code.layer_code import (
    Alternative,
    Call,
    CArray,
    IsaFeatures,
    LayerCode,
    Ref,
)
from edgefactor.export.conv_kernels.choice import HUFFMAN_GAIN
from edgefactor.export.conv_kernels.geometry import ConvGeometry, prove_ranges
from edgefactor.export.conv_kernels.huffman import NAME as BY_TILE
from edgefactor.export.encodings.codebook import Int8Array

NAME = "sparse16"
SOURCES = ("ef_attributes.h", "ef_numerics.h", "ef_sparse_conv.h", "ef_sparse_conv_s8.c")
#: Output pixels computed together, as in the kernel.
PIXELS = 4
#: A tensor with more nonzeros than this share is not looked at: its pairs are larger than it.
MOST_NONZEROS = 0.5

_MOST_GAP = 255
_MOST_PAIRS = 0xFFFF
_BALANCED_SLOWDOWN = 2.5
_ARGS_BYTES, _CHANNEL_BYTES, _CODE_BYTES = 56, 11, 800
# Instructions per pair and pixel, output, byte of a receptive field and pixel: fits to counts on
# emulated cores (benchmarks/sparse_forms.py --estimates).
_LARGE_CORE = (3.9, 26.2, 2.54, 338.0)
_SMALL_CORE = (5.46, 51.5, 4.3, 645.0)


def pairs_of(codes: Int8Array) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """The pairs (distance, weight) of all output channels, and how many each has.

    Args:
        codes: [O, kh, kw, I].
    """
    pairs: list[tuple[int, int]] = []
    counts = []
    for row in codes.reshape(len(codes), -1):
        before, first = 0, len(pairs)
        for place in np.flatnonzero(row):
            gap = int(place) - before
            while gap > _MOST_GAP:
                pairs.append((_MOST_GAP, 0))
                gap -= _MOST_GAP
            pairs.append((gap, int(row[place]) & 0xFF))
            before = int(place)
        counts.append(len(pairs) - first)
    data = np.array(pairs, np.uint8).reshape(-1)
    return data, np.array(counts, np.uint16)


def prefer_sparse(
    dense: LayerCode,
    geometry: ConvGeometry,
    codes: Int8Array,
    bias: NDArray[np.int32],
    multipliers: NDArray[np.int32],
    shifts: NDArray[np.int32],
    *,
    input_name: str,
    features: IsaFeatures,
    optimize: str,
    encoding: str | None,
) -> LayerCode:
    """The sparse kernel where its zeros make it the better choice, else what was chosen.

    Args:
        dense: What ``choose_conv`` chose; its estimates are compared with.
        geometry: Shapes, padding and output range.
        codes: int8 (O, kh, kw, I).
        bias: int32 (O,), not folded.
        multipliers: int32 (O,).
        shifts: (O,), positive to the left.
        input_name: Graph tensor that the call reads.
        features: What the target offers.
        optimize: "size", "speed" or "balanced", as in ``choose_conv``.
        encoding: The encoding that was asked for; anything but "sparse16" keeps ``dense``.

    Raises:
        OptionError: "sparse16" was asked for, and the layer has groups or few zeros.
    """
    if encoding not in (None, NAME):
        return dense
    pairs, counts = pairs_of(codes)
    reason = _why_not(geometry, codes, pairs)
    if reason and encoding == NAME:
        raise OptionError(
            "The weights cannot be stored as pairs of distance and weight",
            found=reason,
            expected=f"one group, and at most {MOST_NONZEROS:.0%} of the weights other than 0",
        )
    if reason:
        return dense
    option = _estimate(geometry, pairs, features)
    chosen = dense.alternatives[0]
    if encoding is None and not _is_better(option, dense.alternatives, optimize):
        return replace(dense, alternatives=(chosen, option, *dense.alternatives[1:]))
    proof = prove_ranges(geometry, codes, bias, shifts)
    arrays = (
        CArray(suffix="weights", ctype="uint8_t", data=pairs, section="weights"),
        CArray(suffix="counts", ctype="uint16_t", data=counts, section="weights"),
        CArray(suffix="bias", ctype="int32_t", data=proof.folded_bias),
        CArray(suffix="multiplier", ctype="int32_t", data=multipliers.astype(np.int32)),
        CArray(suffix="shift", ctype="int8_t", data=shifts.astype(np.int8)),
    )
    call = Call(
        function=option.kernel,
        struct="ef_sparse_conv_args",
        args={
            "entries": Ref(suffix="weights"),
            **{name: Ref(suffix=name) for name in ("counts", "bias", "multiplier", "shift")},
            **geometry.window_fields,
            **geometry.range_fields,
        },
        inputs=(input_name,),
        scratch=True,
    )
    return LayerCode(
        calls=(call,),
        sources=SOURCES,
        arrays=arrays,
        scratch_bytes=option.scratch_bytes,
        encoding=NAME,
        bits=option.bits,
        distinct_values=len(np.unique(codes)),
        weight_bytes=pairs.nbytes + counts.nbytes,
        alternatives=(option, *dense.alternatives),
        at_start=dense.at_start,
    )


def _why_not(geometry: ConvGeometry, codes: Int8Array, pairs: NDArray[np.uint8]) -> str:
    """Why the kernel cannot run a layer or is not worth a look; empty if it is."""
    if geometry.groups > 1:
        return f"{geometry.groups} groups"
    share = np.count_nonzero(codes) / codes.size
    if share > MOST_NONZEROS:
        return f"{share:.0%} of the weights are not 0"
    return f"{pairs.size // 2} pairs" if pairs.size // 2 > _MOST_PAIRS else ""


def _estimate(
    geometry: ConvGeometry, pairs: NDArray[np.uint8], features: IsaFeatures
) -> Alternative:
    pixels = -(-geometry.pixels // PIXELS) * PIXELS
    per_pair, per_output, per_byte, per_pixel = (
        _SMALL_CORE if features.plain_multiply else _LARGE_CORE
    )
    instructions = pixels * (
        per_pair * (pairs.size // 2) + per_output * geometry.out_c
    ) + geometry.pixels * (per_byte * geometry.taps + per_pixel)
    return Alternative(
        encoding=NAME,
        bits=16,
        kernel="ef_sparse_conv_s8",
        flash_bytes=pairs.nbytes + _CHANNEL_BYTES * geometry.out_c + _ARGS_BYTES + _CODE_BYTES,
        instructions=round(instructions),
        scratch_bytes=PIXELS * geometry.taps,
    )


def _is_better(option: Alternative, others: tuple[Alternative, ...], optimize: str) -> bool:
    """Whether the policy of ``choose_conv`` prefers an option to the chosen one."""
    chosen = others[0]
    usable = [other.instructions for other in others if not other.rejected]
    if optimize == "speed":
        return option.instructions < chosen.instructions
    if optimize == "size":
        # Codes by tile, which are slow, must save as much as beside any other encoding.
        gain = HUFFMAN_GAIN if chosen.encoding == BY_TILE else 1.0
        return gain * option.flash_bytes < chosen.flash_bytes
    limit = _BALANCED_SLOWDOWN * min(*usable, option.instructions)
    if chosen.instructions > limit:
        return True
    return option.instructions <= limit and option.flash_bytes < chosen.flash_bytes
