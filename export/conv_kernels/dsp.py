"""The convolution kernels for cores with SMLAD, SXTB16 and SMMULR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.conv_kernels.costs import InstructionModel, Storage, Work
from edgefactor.export.conv_kernels.decoders import O8_DECODE, Decoder, o8_decoder
from edgefactor.export.conv_kernels.geometry import ConvGeometry, ConvProof
from edgefactor.export.conv_kernels.packing import (
    BLOCK_CHANNELS,
    BLOCK_TAPS,
    encoded_bytes,
    o8_order,
    o8_words,
    pair_order,
)
from edgefactor.export.conv_kernels.portable import short_runs
from edgefactor.export.conv_kernels.variants import (
    HEADERS,
    Variant,
    channel_blocks,
    flat_strips,
    row_strips,
    strip_fits_in_place,
)
from edgefactor.export.encodings.codebook import Encoding, Int8Array

PAIRS_4BIT = Decoder(
    symbol="ef_decoder_pairs_4bit",
    sources=("ef_decoder_pairs_4bit.c",),
    code_bytes=112,
    lut_bytes=1024,
    lut_instructions=900.0,
)
CLAMP_SOURCES = ("ef_clamp_outputs.h", "ef_clamp_outputs.c")
O8_SOURCES = (
    *HEADERS,
    *CLAMP_SOURCES,
    "ef_simd.h",
    "ef_o8.h",
    "ef_o8_channels.c",
    "ef_o8_block.c",
)
STRIP_SOURCES = (*O8_SOURCES, "ef_attributes.h", "ef_gather.h", "ef_strip_loop.h", "ef_o8_expand.c")
DENSE_SOURCES = (
    *HEADERS,
    *CLAMP_SOURCES,
    "ef_simd.h",
    "ef_o8.h",
    "ef_dense_dsp.h",
    "ef_dense_finish.c",
    "ef_o8_expand_input.c",
)


def _padded_taps(geometry: ConvGeometry) -> int:
    return -(-geometry.taps // BLOCK_TAPS) * BLOCK_TAPS


def _storage(geometry: ConvGeometry, encoding: Encoding) -> Storage:
    tile = _padded_taps(geometry) * BLOCK_CHANNELS
    return Storage(
        codes=tile * channel_blocks(geometry),
        tile_codes=tile,
        tile_bytes=tile if encoding.bits < 8 else 0,
    )


def _pack(order: Int8Array, encoding: Encoding) -> tuple[str, NDArray[np.integer]]:
    if encoding.bits == 8:
        return "uint32_t", o8_words(order)
    return "uint8_t", encoded_bytes(order, encoding)


def _order(codes: Int8Array, geometry: ConvGeometry, padding: int) -> Int8Array:
    return o8_order(codes, geometry.groups, padding)


def _even(count: int) -> int:
    return count + count % 2


def _strips(geometry: ConvGeometry, encoding: Encoding) -> Sequence[int]:
    return range(2, _even(geometry.pixels) + 1, 2)


def _work(geometry: ConvGeometry, strip: int) -> Work:
    return Work(
        pixels=_even(geometry.pixels),
        strips=-(-geometry.pixels // strip),
        gathered=_even(geometry.pixels) * (geometry.taps * geometry.groups + short_runs(geometry)),
    )


CONV_DSP = Variant(
    kernel="ef_conv2d_s8_dsp",
    sources=(*STRIP_SOURCES, "ef_o8_pairs.c", "ef_conv2d_strips.c", "ef_conv2d_s8_dsp.c"),
    needs_dsp=True,
    why_not=lambda geometry, proof, encoding: proof.o8,
    order=_order,
    pack=_pack,
    value_offset=0,
    input_offset=0,
    storage=_storage,
    strips=_strips,
    # Two gathered receptive fields as bytes, then the strip as int16.
    strip_bytes=lambda geometry, strip: 2 * _padded_taps(geometry) * (1 + strip),
    work=_work,
    decoder=o8_decoder,
    model=InstructionModel(
        mac=0.78,
        gather=2.0,
        output=13.0,
        block=165.0,
        strip=50.0,
        decode=O8_DECODE,
    ),
    in_place=strip_fits_in_place,
    written=flat_strips,
)

# ---- a run of output pixels that share their input columns ---------------------------------------


def why_not_rows(geometry: ConvGeometry) -> str:
    """Why the kernels by rows cannot run this layer, or ""."""
    if geometry.groups != 1 or geometry.dilation_w != 1 or geometry.in_c % BLOCK_TAPS:
        return "groups, dilation along the row, or input channels no multiple of 4"
    if geometry.k_h * geometry.k_w == 1 or geometry.out_w == 1:
        return "neighbouring outputs share no inputs"
    return ""


def _row_strips(geometry: ConvGeometry, encoding: Encoding) -> Sequence[int]:
    """Even lengths that cut a row into equal runs."""
    most = -(-geometry.out_w // 2)
    return sorted({_even(-(-geometry.out_w // runs)) for runs in range(1, most + 1)})


def _columns(geometry: ConvGeometry, pixels: int) -> int:
    """Input columns that half a run of output pixels sees."""
    return (_even(pixels) // 2 - 1) * geometry.stride_w + geometry.k_w


def _row_runs(geometry: ConvGeometry, strip: int) -> list[int]:
    """Pixels of the runs of one row."""
    whole, rest = divmod(geometry.out_w, strip)
    return [strip] * whole + ([rest] if rest else [])


def _row_work(geometry: ConvGeometry, strip: int) -> Work:
    runs = _row_runs(geometry, strip)
    columns = sum(2 * _columns(geometry, pixels) for pixels in runs)
    return Work(
        pixels=geometry.out_h * sum(map(_even, runs)),
        strips=geometry.out_h * len(runs),
        gathered=geometry.out_h * geometry.k_h * columns * geometry.in_c,
    )


ROWS_DSP = Variant(
    kernel="ef_conv2d_s8_rows_dsp",
    sources=(*STRIP_SOURCES, "ef_o8_pairs.c", "ef_conv2d_rows.c", "ef_conv2d_s8_rows_dsp.c"),
    needs_dsp=True,
    why_not=lambda geometry, proof, encoding: why_not_rows(geometry) or proof.o8,
    order=_order,
    pack=_pack,
    value_offset=0,
    input_offset=0,
    storage=_storage,
    strips=_row_strips,
    # Two lines of columns as bytes, then all lines as int16.
    strip_bytes=lambda geometry, strip: (
        2 * _columns(geometry, strip) * geometry.in_c * (1 + 2 * geometry.k_h)
    ),
    work=_row_work,
    decoder=o8_decoder,
    model=InstructionModel(
        mac=0.775,
        gather=2.6,
        output=17.5,
        block=110.0,
        strip=40.0,
        decode=O8_DECODE,
    ),
    in_place=lambda geometry: False,
    written=row_strips,
)

# ---- dense ---------------------------------------------------------------------------------------

DENSE_DSP = Variant(
    kernel="ef_dense_s8_dsp",
    sources=(*DENSE_SOURCES, "ef_o8_dot.c", "ef_dense_s8_dsp.c"),
    needs_dsp=True,
    why_not=lambda geometry, proof, encoding: (
        proof.o8 if geometry.is_dense else "not a dense layer"
    ),
    order=_order,
    pack=_pack,
    value_offset=0,
    input_offset=0,
    storage=_storage,
    strips=lambda geometry, encoding: (1,),
    strip_bytes=lambda geometry, strip: 2 * _padded_taps(geometry),
    work=lambda geometry, strip: Work(pixels=1, strips=1, gathered=geometry.taps),
    decoder=o8_decoder,
    model=InstructionModel(
        mac=0.91,
        gather=2.0,
        output=12.0,
        block=60.0,
        decode=O8_DECODE,
    ),
    # The output may lie anywhere over the input, which is copied out first, but so may the strip.
    in_place=lambda geometry: False,
    written=flat_strips,
    copies_input=2,
)


def _why_not_pairs(geometry: ConvGeometry, proof: ConvProof, encoding: Encoding) -> str:
    if encoding.bits != 4:
        return "only for weights of 4 bits"
    return proof.doubled if geometry.is_dense else "not a dense layer"


DENSE_PAIRS_DSP = replace(
    DENSE_DSP,
    kernel="ef_dense_s8_pairs_dsp",
    sources=(
        *DENSE_SOURCES,
        "ef_pairs.h",
        "ef_pairs_dot.c",
        "ef_dense_s8_pairs_dsp.c",
    ),
    why_not=_why_not_pairs,
    order=lambda codes, geometry, padding: pair_order(codes, padding),
    storage=lambda geometry, encoding: replace(_storage(geometry, encoding), tile_bytes=0),
    decoder=lambda encoding: PAIRS_4BIT,
    model=InstructionModel(mac=1.57, gather=2.0, output=20.0, block=25.0, decode={4: 0.0}),
)
