"""The convolution kernels for cores whose only multiplication is 32 x 32 -> 32 bits (Armv6-M)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgefactor.export.conv_kernels.costs import InstructionModel, Storage, Work
from edgefactor.export.conv_kernels.decoders import NO_DECODER
from edgefactor.export.conv_kernels.geometry import ConvGeometry, ConvProof
from edgefactor.export.conv_kernels.packing import BLOCK_CHANNELS, encoded_bytes, four_taps_order
from edgefactor.export.conv_kernels.portable import CONV, DEPTHWISE, short_runs
from edgefactor.export.conv_kernels.variants import HEADERS, channel_blocks
from edgefactor.export.encodings.codebook import Encoding

# Strips of raw weights: what is saved beyond this many pixels is not worth the RAM.
ENOUGH_RAW_PIXELS = 2


def _even(count: int) -> int:
    return count + count % 2


def _strips(geometry: ConvGeometry, encoding: Encoding) -> Sequence[int]:
    longest = _even(geometry.pixels)
    if encoding.bits == 8:
        longest = min(longest, ENOUGH_RAW_PIXELS)
    return range(2, longest + 1, 2)


CONV_SWAR = replace(
    CONV,
    kernel="ef_conv2d_s8_swar",
    sources=(
        *HEADERS,
        "ef_attributes.h",
        "ef_swar.h",
        "ef_swar_finish.c",
        "ef_swar_pairs.c",
        "ef_conv2d_s8_swar.c",
    ),
    needs_plain_multiply=True,
    packs_channels=False,
    why_not=lambda geometry, proof, encoding: (
        "one pixel is no pair" if geometry.pixels == 1 else proof.doubled
    ),
    strips=_strips,
    # Two sums and a word for every tap, for every pair of pixels.
    strip_bytes=lambda geometry, strip: _even(strip) // 2 * 4 * (geometry.taps + 2),
    work=lambda geometry, strip: Work(
        pixels=_even(geometry.pixels),
        strips=-(-geometry.pixels // strip),
        gathered=_even(geometry.pixels) * (geometry.taps * geometry.groups + short_runs(geometry)),
    ),
    model=InstructionModel(
        mac=2.75,
        gather=5.5,
        output=50.0,
        block=60.0,
        strip=150.0,
        decode=CONV.model.decode,
    ),
)

# ---- dense ---------------------------------------------------------------------------------------

SWAR_DENSE_SOURCES = (*HEADERS, "ef_swar.h", "ef_swar_finish.c")

DENSE_SWAR = replace(
    CONV,
    kernel="ef_dense_s8_swar",
    sources=(
        *SWAR_DENSE_SOURCES,
        "ef_swar_expand.c",
        "ef_swar_single.c",
        "ef_dense_s8_swar.c",
    ),
    needs_plain_multiply=True,
    packs_channels=False,
    why_not=lambda geometry, proof, encoding: (
        proof.doubled if geometry.is_dense else "not a dense layer"
    ),
    strips=lambda geometry, encoding: (1,),
    strip_bytes=lambda geometry, strip: geometry.taps,
    work=lambda geometry, strip: Work(pixels=1, strips=1, gathered=geometry.taps),
    model=InstructionModel(
        mac=3.45,
        gather=5.0,
        output=45.0,
        block=100.0,
        strip=200.0,
        decode=CONV.model.decode,
    ),
    # The output may lie anywhere over the input, which is copied out first, but so may the strip.
    in_place=lambda geometry: False,
    copies_input=1,
)

SUM_TAPS = 4
SUM_TABLES_BYTES = 1024


def _why_not_sums(geometry: ConvGeometry, proof: ConvProof, encoding: Encoding) -> str:
    if encoding.bits != 4:
        return "only for weights of 4 bits"
    return proof.doubled if geometry.is_dense else "not a dense layer"


def _sum_storage(geometry: ConvGeometry, encoding: Encoding) -> Storage:
    taps = -(-geometry.taps // SUM_TAPS) * SUM_TAPS
    channels = channel_blocks(geometry) * BLOCK_CHANNELS
    return Storage(
        codes=taps * channels, tile_codes=SUM_TAPS * channels, lut_bytes=SUM_TABLES_BYTES
    )


DENSE_SUMS = replace(
    DENSE_SWAR,
    kernel="ef_dense_s8_sums",
    sources=(
        *SWAR_DENSE_SOURCES,
        "ef_sums.h",
        "ef_sums_fill.c",
        "ef_sums_add.c",
        "ef_dense_s8_sums.c",
    ),
    why_not=_why_not_sums,
    order=lambda codes, geometry, padding: four_taps_order(codes, padding),
    pack=lambda order, encoding: ("uint8_t", encoded_bytes(order, encoding)),
    value_offset=0,
    input_offset=0,
    storage=_sum_storage,
    # A sum for every output channel.
    strip_bytes=lambda geometry, strip: 4 * channel_blocks(geometry) * BLOCK_CHANNELS,
    work=lambda geometry, strip: Work(pixels=1, strips=1, gathered=geometry.taps),
    decoder=lambda encoding: NO_DECODER,
    # Outputs are written when all inputs have been read.
    in_place=lambda geometry: geometry.out_c <= geometry.taps,
    copies_input=0,
    # Here a block is four taps of all channels, with its two tables.
    model=InstructionModel(
        mac=2.55, gather=12.0, output=50.0, block=650.0, strip=600.0, decode={4: 0.0}
    ),
)

# ---- depthwise -----------------------------------------------------------------------------------


def _why_not_3x3(geometry: ConvGeometry, proof: ConvProof) -> str:
    if not geometry.is_depthwise:
        return "not a depthwise convolution"
    if (geometry.k_h, geometry.k_w, geometry.dilation_h, geometry.dilation_w) != (3, 3, 1, 1):
        return "not 3x3 without dilation"
    return proof.doubled


def _plane_bytes(geometry: ConvGeometry, strip: int) -> int:
    """A word for each input of the upper half of the outputs."""
    rows = (-(-geometry.out_h // 2) - 1) * geometry.stride_h + 3
    return 4 * rows * geometry.plane_w


DEPTHWISE_SWAR = replace(
    DEPTHWISE,
    plain_multiply_factor=1.0,
    kernel="ef_depthwise_s8_swar",
    sources=(
        *HEADERS,
        "ef_attributes.h",
        "ef_swar.h",
        "ef_swar_3x3.h",
        "ef_swar_3x3.c",
        "ef_swar_finish.c",
        "ef_depthwise_s8_swar.c",
    ),
    needs_plain_multiply=True,
    packs_channels=False,
    why_not=lambda geometry, proof, encoding: _why_not_3x3(geometry, proof),
    input_offset=0,
    strip_bytes=_plane_bytes,
    model=InstructionModel(
        mac=6.3, gather=6.0, output=0.0, block=1500.0, decode=DEPTHWISE.model.decode
    ),
)
