"""The convolution kernels of runtime/csrc as data: what each needs, its layouts, its costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.codebook import Encoding, Int8Array
from edgefactor.export.conv_geometry import ConvGeometry, ConvProof
from edgefactor.export.kernel_costs import InstructionModel, KernelShape
from edgefactor.export.packing import (
    BLOCK_CHANNELS,
    BLOCK_TAPS,
    block_order,
    encoded_bytes,
    o8_order,
    o8_words,
)

HEADERS = ("ef_numerics.h", "ef_weights.h", "ef_conv2d.h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A decoder of ef_weights.h; the empty one reads the data as it is."""

    symbol: str = ""
    sources: tuple[str, ...] = ()
    code_bytes: int = 0


NO_DECODER = Decoder()
BYTES = Decoder(symbol="ef_decoder_bytes", sources=("ef_decoder_bytes.c",), code_bytes=120)
BYTES_4BIT = Decoder(
    symbol="ef_decoder_bytes_4bit", sources=("ef_decoder_bytes_4bit.c",), code_bytes=52
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchLayout:
    """Where things lie in scratch, in bytes: look-up table, tile, strip."""

    tile_offset: int
    strip_offset: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One kernel function.

    Attributes:
        kernel: C function.
        sources: Files it needs, headers included.
        needs_dsp: Whether it wants the DSP instructions. It runs everywhere, only slowly.
        why_not: (geometry, proof, encoding) -> why it cannot run the layer, or "".
        order: (codes, geometry, padding code) -> codes in the kernel's order.
        pack: (order, encoding) -> C type and elements of the weight array.
        value_offset: What is added to a value where it is stored as a byte.
        shape: (geometry, encoding) -> what the layer needs.
        strip_bytes: (geometry, strip pixels) -> scratch of the strip.
        decoder: encoding -> the decoder to link.
        model: Instruction estimates.
        in_place: geometry -> whether the output may lie on the input.
    """

    kernel: str
    sources: tuple[str, ...]
    needs_dsp: bool
    why_not: Callable[[ConvGeometry, ConvProof, Encoding], str]
    order: Callable[[Int8Array, ConvGeometry, int], Int8Array]
    pack: Callable[[Int8Array, Encoding], tuple[str, NDArray[np.integer]]]
    value_offset: int
    shape: Callable[[ConvGeometry, Encoding], KernelShape]
    strip_bytes: Callable[[ConvGeometry, int], int]
    decoder: Callable[[Encoding], Decoder]
    model: InstructionModel
    in_place: Callable[[ConvGeometry], bool]

    def scratch(self, geometry: ConvGeometry, encoding: Encoding, strip: int) -> ScratchLayout:
        """The scratch of the kernel for strips of so many output pixels."""
        shape = self.shape(geometry, encoding)
        tile_offset = _aligned(shape.lut_bytes)
        strip_offset = tile_offset + _aligned(shape.tile_bytes)
        return ScratchLayout(
            tile_offset=tile_offset,
            strip_offset=strip_offset,
            total_bytes=strip_offset + _aligned(self.strip_bytes(geometry, strip)),
        )


def _aligned(size: int) -> int:
    return -(-size // 4) * 4


def _blocks(geometry: ConvGeometry) -> int:
    """Blocks of output channels, all groups."""
    return geometry.groups * -(-(geometry.out_c // geometry.groups) // BLOCK_CHANNELS)


def _fits_strip_in_place(geometry: ConvGeometry) -> bool:
    """A strip is copied out before its outputs are written; later strips must still be intact."""
    return geometry.is_pointwise and geometry.groups == 1 and geometry.out_c <= geometry.in_c


# ---- portable convolution -----------------------------------------------------------------------


def _block_shape(geometry: ConvGeometry, encoding: Encoding) -> KernelShape:
    tile = geometry.taps * BLOCK_CHANNELS
    coded = encoding.bits < 8
    return KernelShape(
        stored_codes=tile * _blocks(geometry),
        tile_codes=tile,
        tile_bytes=tile if coded else 0,
        lut_bytes=0,
        pixel_bytes=geometry.taps + 4,
        # Values are read where they lie: a longer strip gains nothing.
        max_strip=geometry.out_h * geometry.out_w if coded else 1,
    )


def _byte_decoder(encoding: Encoding) -> Decoder:
    if encoding.bits == 8:
        return NO_DECODER
    return BYTES_4BIT if encoding.bits == 4 else BYTES


CONV = Variant(
    kernel="ef_conv2d_s8",
    sources=(*HEADERS, "ef_conv2d_s8.c"),
    needs_dsp=False,
    why_not=lambda geometry, proof, encoding: "",
    order=lambda codes, geometry, padding: block_order(codes, geometry.groups, padding),
    pack=lambda order, encoding: ("uint8_t", encoded_bytes(order, encoding, 128)),
    value_offset=128,
    shape=_block_shape,
    strip_bytes=lambda geometry, strip: strip * (geometry.taps + 4),
    decoder=_byte_decoder,
    model=InstructionModel(
        mac=4.0,
        gather=6.0,
        output=60.0,
        block=40.0,
        decode={1: 12.0, 2: 12.0, 3: 12.0, 4: 5.0, 5: 12.0, 6: 12.0},
    ),
    in_place=_fits_strip_in_place,
)

# ---- portable depthwise -------------------------------------------------------------------------


def _plane_shape(geometry: ConvGeometry, encoding: Encoding) -> KernelShape:
    taps = geometry.k_h * geometry.k_w
    return KernelShape(
        stored_codes=geometry.out_c * taps,
        tile_codes=taps,
        tile_bytes=taps if encoding.bits < 8 else 0,
        lut_bytes=0,
        pixel_bytes=1,
        strip_step=geometry.out_h * geometry.out_w,
    )


DEPTHWISE = Variant(
    kernel="ef_depthwise_s8",
    sources=(*HEADERS, "ef_depthwise_s8.c"),
    needs_dsp=False,
    why_not=lambda geometry, proof, encoding: (
        "" if geometry.is_depthwise else "not a depthwise convolution"
    ),
    order=lambda codes, geometry, padding: codes.reshape(-1),
    pack=lambda order, encoding: (
        ("int8_t", order) if encoding.bits == 8 else ("uint8_t", encoded_bytes(order, encoding))
    ),
    value_offset=0,
    shape=_plane_shape,
    strip_bytes=lambda geometry, strip: geometry.plane_h * geometry.plane_w,
    decoder=lambda encoding: NO_DECODER if encoding.bits == 8 else BYTES,
    model=InstructionModel(
        mac=5.5,
        gather=0.0,
        output=60.0,
        block=60.0,
        decode=dict.fromkeys(range(1, 7), 12.0),
    ),
    # One channel is copied out before its outputs, which cover just that channel, are written.
    in_place=lambda geometry: (
        geometry.out_c == geometry.in_c
        and geometry.out_h == geometry.in_h
        and geometry.out_w == geometry.in_w
    ),
)

# ---- convolution and dense with SMLAD -----------------------------------------------------------

O8 = Decoder(symbol="ef_decoder_o8", sources=("ef_decoder_o8.c",), code_bytes=120)
O8_4BIT = Decoder(symbol="ef_decoder_o8_4bit", sources=("ef_decoder_o8_4bit.c",), code_bytes=128)
O8_4BIT_LUT_BYTES = 512
O8_SOURCES = (*HEADERS, "ef_simd.h", "ef_o8.h", "ef_o8_block.c", "ef_o8_expand.c")


def _o8_decoder(encoding: Encoding) -> Decoder:
    if encoding.bits == 8:
        return NO_DECODER
    return O8_4BIT if encoding.bits == 4 else O8


def _o8_shape(geometry: ConvGeometry, encoding: Encoding) -> KernelShape:
    taps = -(-geometry.taps // BLOCK_TAPS) * BLOCK_TAPS
    tile = taps * BLOCK_CHANNELS
    coded = encoding.bits < 8
    pixels = geometry.out_h * geometry.out_w
    return KernelShape(
        stored_codes=tile * _blocks(geometry),
        tile_codes=tile,
        tile_bytes=tile if coded else 0,
        lut_bytes=O8_4BIT_LUT_BYTES if encoding.bits == 4 else 0,
        pixel_bytes=2 * taps,
        strip_step=2,
        max_strip=-(-pixels // 2) * 2,
        row_bytes=2 * taps,
    )


def _o8_pack(order: Int8Array, encoding: Encoding) -> tuple[str, NDArray[np.integer]]:
    if encoding.bits == 8:
        return "uint32_t", o8_words(order)
    return "uint8_t", encoded_bytes(order, encoding)


def _o8_strip_bytes(geometry: ConvGeometry, strip: int) -> int:
    taps = -(-geometry.taps // BLOCK_TAPS) * BLOCK_TAPS
    return 2 * taps + 2 * taps * (strip + strip % 2)


CONV_DSP = Variant(
    kernel="ef_conv2d_s8_dsp",
    sources=(*O8_SOURCES, "ef_o8_pairs.c", "ef_conv2d_s8_dsp.c"),
    needs_dsp=True,
    why_not=lambda geometry, proof, encoding: proof.o8,
    order=lambda codes, geometry, padding: o8_order(codes, geometry.groups, padding),
    pack=_o8_pack,
    value_offset=0,
    shape=_o8_shape,
    strip_bytes=_o8_strip_bytes,
    decoder=_o8_decoder,
    model=InstructionModel(
        mac=0.78,
        gather=1.6,
        output=11.0,
        block=80.0,
        decode={1: 7.0, 2: 7.0, 3: 7.0, 4: 1.6, 5: 8.0, 6: 8.0},
        lut=1200.0,
    ),
    in_place=_fits_strip_in_place,
)


def _why_not_dense(geometry: ConvGeometry, proof: ConvProof) -> str:
    if not geometry.is_dense:
        return "not a dense layer"
    return proof.o8


def _dense_shape(geometry: ConvGeometry, encoding: Encoding) -> KernelShape:
    return replace(_o8_shape(geometry, encoding), strip_step=1, max_strip=1, row_bytes=0)


DENSE_DSP = Variant(
    kernel="ef_dense_s8_dsp",
    sources=(*O8_SOURCES, "ef_o8_single.c", "ef_dense_s8_dsp.c"),
    needs_dsp=True,
    why_not=lambda geometry, proof, encoding: _why_not_dense(geometry, proof),
    order=lambda codes, geometry, padding: o8_order(codes, 1, padding),
    pack=_o8_pack,
    value_offset=0,
    shape=_dense_shape,
    strip_bytes=lambda geometry, strip: 2 * -(-geometry.taps // BLOCK_TAPS) * BLOCK_TAPS,
    decoder=_o8_decoder,
    model=InstructionModel(
        mac=0.91,
        gather=1.6,
        output=14.0,
        block=80.0,
        decode={1: 7.0, 2: 7.0, 3: 7.0, 4: 1.6, 5: 8.0, 6: 8.0},
        lut=1200.0,
    ),
    # The whole input is copied out first.
    in_place=lambda geometry: geometry.out_c <= geometry.in_c,
)

# ---- depthwise with SMLAD -----------------------------------------------------------------------


def _why_not_depthwise(geometry: ConvGeometry, proof: ConvProof) -> str:
    return proof.doubled if geometry.is_depthwise else "not a depthwise convolution"


def _plane_dsp_bytes(geometry: ConvGeometry, strip: int) -> int:
    along, across = geometry.plane_w, geometry.plane_h
    k_along, k_across = geometry.k_w, geometry.k_h
    if geometry.out_h > geometry.out_w:
        along, across, k_along, k_across = across, along, k_across, k_along
    plane = 4 * (along // 2 + 1) * across
    return plane + 4 * k_along * k_across


DEPTHWISE_DSP = Variant(
    kernel="ef_depthwise_s8_dsp",
    sources=(
        *HEADERS,
        "ef_simd.h",
        "ef_plane.h",
        "ef_plane_3x3.c",
        "ef_plane_fill.c",
        "ef_depthwise_s8_dsp.c",
    ),
    needs_dsp=True,
    why_not=lambda geometry, proof, encoding: _why_not_depthwise(geometry, proof),
    order=lambda codes, geometry, padding: codes.reshape(-1),
    pack=DEPTHWISE.pack,
    value_offset=0,
    shape=_plane_shape,
    strip_bytes=_plane_dsp_bytes,
    decoder=DEPTHWISE.decoder,
    model=InstructionModel(
        mac=2.0,
        gather=0.4,
        output=5.0,
        block=250.0,
        decode=dict.fromkeys(range(1, 7), 12.0),
    ),
    in_place=DEPTHWISE.in_place,
)

# ---- the plain twin of all of them --------------------------------------------------------------

REFERENCE = Variant(
    kernel="ef_conv2d_s8_ref",
    sources=(*HEADERS, "ef_conv2d_s8_ref.c"),
    needs_dsp=False,
    why_not=lambda geometry, proof, encoding: "",
    order=lambda codes, geometry, padding: codes.reshape(-1),
    pack=lambda order, encoding: ("uint8_t", encoded_bytes(order, encoding)),
    value_offset=0,
    shape=lambda geometry, encoding: KernelShape(
        stored_codes=geometry.taps * geometry.out_c,
        tile_codes=geometry.taps,
        tile_bytes=0,
        lut_bytes=0,
        pixel_bytes=1,
    ),
    strip_bytes=lambda geometry, strip: 0,
    decoder=lambda encoding: NO_DECODER,
    model=InstructionModel(
        mac=150.0, gather=0.0, output=60.0, block=0.0, decode=dict.fromkeys(range(1, 7), 0.0)
    ),
    in_place=lambda geometry: False,
)

VARIANTS = (CONV, DEPTHWISE, CONV_DSP, DENSE_DSP, DEPTHWISE_DSP)
"""What a layer may get."""
ALL_VARIANTS = (*VARIANTS, REFERENCE)
"""What may be asked for by name."""
