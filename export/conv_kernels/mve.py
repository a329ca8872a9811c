"""The convolution kernels for cores with the vector extension MVE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgefactor.export.conv_kernels.costs import InstructionModel, Storage, Work
from edgefactor.export.conv_kernels.decoders import MVE_DECODE, NO_DECODER, mve_decoder
from edgefactor.export.conv_kernels.geometry import ConvGeometry, ConvProof
from edgefactor.export.conv_kernels.packing import (
    BLOCK_CHANNELS,
    VECTOR_TAPS,
    encoded_bytes,
    folded_order,
    row_order,
)
from edgefactor.export.conv_kernels.portable import plane_storage
from edgefactor.export.conv_kernels.variants import (
    HEADERS,
    Variant,
    channel_blocks,
    flat_strips,
    plane_fits_in_place,
    strip_fits_in_place,
)
from edgefactor.export.encodings.codebook import Encoding

DEPTHWISE_LANES = 16
# Strips of raw weights: what is saved beyond this many pixels is not worth the RAM.
ENOUGH_RAW_PIXELS = 8


def _row_storage(geometry: ConvGeometry, encoding: Encoding) -> Storage:
    tile = geometry.taps * BLOCK_CHANNELS
    return Storage(
        codes=tile * channel_blocks(geometry),
        tile_codes=tile,
        tile_bytes=tile if encoding.bits < 8 else 0,
    )


def _strips(geometry: ConvGeometry, encoding: Encoding) -> Sequence[int]:
    longest = geometry.pixels
    if encoding.bits == 8:
        longest = min(longest, ENOUGH_RAW_PIXELS)
    return range(1, longest + 1)


def _runs(geometry: ConvGeometry) -> int:
    """What a pixel costs beside its elements, in elements: itself, and its runs of inputs."""
    runs = geometry.k_h * geometry.groups
    if geometry.groups > 1 or geometry.dilation_w > 1:
        runs *= geometry.k_w
    return 100 + 55 * runs


CONV_MVE = Variant(
    kernel="ef_conv2d_s8_mve",
    sources=(*HEADERS, "ef_mve.h", "ef_conv2d_s8_mve.c"),
    needs_dsp=False,
    needs_mve=True,
    why_not=lambda geometry, proof, encoding: "",
    order=lambda codes, geometry, padding: row_order(codes, geometry.groups, padding),
    pack=lambda order, encoding: (
        ("int8_t", order) if encoding.bits == 8 else ("uint8_t", encoded_bytes(order, encoding))
    ),
    value_offset=0,
    input_offset=0,
    storage=_row_storage,
    strips=_strips,
    strip_bytes=lambda geometry, strip: strip * geometry.taps,
    work=lambda geometry, strip: Work(
        pixels=geometry.pixels,
        strips=-(-geometry.pixels // strip),
        gathered=geometry.pixels * (geometry.taps * geometry.groups + _runs(geometry)),
    ),
    decoder=mve_decoder,
    model=InstructionModel(
        mac=0.17,
        gather=0.6,
        output=8.5,
        block=60.0,
        strip=60.0,
        decode=MVE_DECODE,
    ),
    in_place=strip_fits_in_place,
    written=flat_strips,
    packs_channels=False,
)


# ---- dense, 4 and 2 bits -------------------------------------------------------------------------


def _dense_of_bits(bits: int, mac: float) -> Variant:
    """Weights decoded in registers."""
    in_byte = 8 // bits

    def why_not(geometry: ConvGeometry, proof: ConvProof, encoding: Encoding) -> str:
        if encoding.bits != bits:
            return f"only for weights of {bits} bits"
        return "" if geometry.is_dense else "not a dense layer"

    def whole_steps(geometry: ConvGeometry) -> int:
        step = in_byte * VECTOR_TAPS
        return -(-geometry.taps // step) * step

    def storage(geometry: ConvGeometry, encoding: Encoding) -> Storage:
        tile = whole_steps(geometry) * BLOCK_CHANNELS
        return Storage(codes=tile * channel_blocks(geometry), tile_codes=tile)

    kernel = f"ef_dense_s8_{bits}bit_mve"
    return Variant(
        kernel=kernel,
        sources=(
            *HEADERS, "ef_attributes.h", "ef_mve.h", "ef_dense_folded_mve.h", f"{kernel}.c"
        ),
        needs_dsp=False,
        needs_mve=True,
        why_not=why_not,
        order=lambda codes, geometry, padding: folded_order(codes, padding, in_byte),
        pack=lambda order, encoding: ("uint8_t", encoded_bytes(order, encoding)),
        value_offset=0,
        input_offset=0,
        storage=storage,
        strips=lambda geometry, encoding: (1,),
        strip_bytes=lambda geometry, strip: whole_steps(geometry),
        work=lambda geometry, strip: Work(pixels=1, strips=1, gathered=geometry.taps),
        decoder=lambda encoding: NO_DECODER,
        model=InstructionModel(
            mac=mac, gather=0.25, output=1.0, block=55.0, strip=100.0, decode={bits: 0.0}
        ),
        # The whole input is copied out first.
        in_place=lambda geometry: geometry.out_c <= geometry.taps,
        written=flat_strips,
        packs_channels=False,
    )  # fmt: skip


DENSE_4BIT_MVE = _dense_of_bits(4, 0.25)
DENSE_2BIT_MVE = _dense_of_bits(2, 0.25)

# ---- depthwise -----------------------------------------------------------------------------------


def _why_not_depthwise(geometry: ConvGeometry, proof: ConvProof) -> str:
    if not geometry.is_depthwise or geometry.out_c != geometry.in_c:
        return "not a depthwise convolution with multiplier 1"
    if geometry.in_c < DEPTHWISE_LANES:
        return f"fewer than {DEPTHWISE_LANES} channels"
    return proof.doubled


def _depthwise_storage(geometry: ConvGeometry, encoding: Encoding) -> Storage:
    """All weights are decoded together."""
    storage = plane_storage(geometry, encoding)
    return replace(
        storage,
        tile_codes=storage.codes,
        tile_bytes=storage.codes if encoding.bits < 8 else 0,
    )


def _ring_bytes(geometry: ConvGeometry, strip: int) -> int:
    """A word for every tap, and the lines that a row of outputs sees, with their padding."""
    span = (geometry.k_h - 1) * geometry.dilation_h + 1
    lines = span * geometry.plane_w * geometry.in_c
    return 4 * geometry.k_h * geometry.k_w + lines


def _fits_in_place(geometry: ConvGeometry) -> bool:
    """A row of inputs is in the ring before the row of outputs over it is written."""
    reach = (geometry.k_h - 1) * geometry.dilation_h
    return plane_fits_in_place(geometry) and geometry.pad_top <= reach


DEPTHWISE_MVE = Variant(
    kernel="ef_depthwise_s8_mve",
    sources=(*HEADERS, "ef_mve.h", "ef_depthwise_s8_mve.c"),
    needs_dsp=False,
    needs_mve=True,
    why_not=lambda geometry, proof, encoding: _why_not_depthwise(geometry, proof),
    order=lambda codes, geometry, padding: codes.reshape(geometry.out_c, -1).T.reshape(-1),
    pack=CONV_MVE.pack,
    value_offset=0,
    input_offset=0,
    storage=_depthwise_storage,
    strips=lambda geometry, encoding: (1,),
    strip_bytes=_ring_bytes,
    work=lambda geometry, strip: Work(
        pixels=geometry.pixels,
        strips=1,
        gathered=geometry.plane_h * geometry.plane_w * geometry.in_c,
    ),
    decoder=mve_decoder,
    model=InstructionModel(
        mac=1.15,
        gather=0.5,
        output=6.5,
        block=60.0,
        decode=MVE_DECODE,
    ),
    in_place=_fits_in_place,
    written=lambda geometry, strip: None,
    packs_channels=False,
)
