"""The convolution kernels in plain C: for cores without DSP instructions, and the plain twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.conv_kernels.costs import InstructionModel, Storage, Work
from edgefactor.export.conv_kernels.decoders import (
    BYTE_DECODE,
    BYTES,
    NO_DECODER,
    byte_decoder,
)
from edgefactor.export.conv_kernels.geometry import ConvGeometry
from edgefactor.export.conv_kernels.packing import BLOCK_CHANNELS, block_order, encoded_bytes
from edgefactor.export.conv_kernels.variants import (
    HEADERS,
    Variant,
    channel_blocks,
    flat_strips,
    plane_fits_in_place,
    strip_fits_in_place,
)
from edgefactor.export.encodings.codebook import ENCODING_NAMES, Encoding, Int8Array
from edgefactor.export.encodings.sparse_code import encode_sparse

RUN_ELEMENTS = 15
"""A run of inputs that is copied costs as much more as so many elements."""


def _block_storage(geometry: ConvGeometry, encoding: Encoding) -> Storage:
    tile = geometry.taps * BLOCK_CHANNELS
    return Storage(
        codes=tile * channel_blocks(geometry),
        tile_codes=tile,
        tile_bytes=tile if encoding.bits < 8 else 0,
    )


def _block_strips(geometry: ConvGeometry, encoding: Encoding) -> Sequence[int]:
    # Values are read where they lie: a longer strip gains nothing.
    return range(1, geometry.pixels + 1) if encoding.bits < 8 else (1,)


CONV = Variant(
    kernel="ef_conv2d_s8",
    sources=(*HEADERS, "ef_conv2d_s8.c", "ef_dot_fours.h", "ef_dot_fours.c"),
    needs_dsp=False,
    why_not=lambda geometry, proof, encoding: "",
    order=lambda codes, geometry, padding: block_order(codes, geometry.groups, padding),
    pack=lambda order, encoding: ("uint8_t", encoded_bytes(order, encoding, 128)),
    value_offset=128,
    input_offset=128,
    storage=_block_storage,
    strips=_block_strips,
    strip_bytes=lambda geometry, strip: strip * (geometry.taps + 4),
    work=lambda geometry, strip: Work(
        pixels=geometry.pixels,
        strips=-(-geometry.pixels // strip),
        gathered=geometry.pixels * geometry.taps * geometry.groups,
    ),
    decoder=byte_decoder,
    model=InstructionModel(
        mac=3.5,
        gather=9.0,
        output=75.0,
        block=60.0,
        strip=150.0,
        decode=BYTE_DECODE,
    ),
    in_place=strip_fits_in_place,
    written=flat_strips,
)


def plane_storage(geometry: ConvGeometry, encoding: Encoding) -> Storage:
    """Weights channel by channel, decoded for one channel at a time."""
    taps = geometry.k_h * geometry.k_w
    return Storage(
        codes=geometry.out_c * taps,
        tile_codes=taps,
        tile_bytes=taps if encoding.bits < 8 else 0,
    )


def plane_work(geometry: ConvGeometry, strip: int) -> Work:
    """Every channel is one plane, every weight is decoded once."""
    return Work(
        pixels=geometry.pixels,
        strips=1,
        gathered=geometry.plane_h * geometry.plane_w * geometry.in_c,
    )


def short_runs(geometry: ConvGeometry) -> int:
    """What a pixel's short runs of inputs cost beside their elements, in elements.

    With groups or dilation along the row every tap is a run of its own.
    """
    if geometry.groups == 1 and geometry.dilation_w == 1:
        return 0
    return RUN_ELEMENTS * geometry.k_h * geometry.k_w * geometry.groups


def depthwise_form(geometry: ConvGeometry) -> str:
    """Which loop of a depthwise kernel runs: "3x3", "windows", "dilated"; empty for none."""
    if not geometry.is_depthwise:
        return ""
    if geometry.dilation_h > 1 or geometry.dilation_w > 1:
        return "dilated"
    fast = (geometry.k_h, geometry.k_w) == (3, 3) and max(geometry.stride_h, geometry.stride_w) <= 2
    return "3x3" if fast else "windows"


def why_not_form(geometry: ConvGeometry, form: str) -> str:
    """Why the figures of one form are not a layer's."""
    found = depthwise_form(geometry)
    if not found:
        return "not a depthwise convolution"
    return "" if found == form else f"its loop is that for {found}"


DEPTHWISE = Variant(
    kernel="ef_depthwise_s8",
    sources=(*HEADERS, "ef_depthwise_s8.c"),
    needs_dsp=False,
    why_not=lambda geometry, proof, encoding: why_not_form(geometry, "3x3"),
    order=lambda codes, geometry, padding: codes.reshape(-1),
    pack=lambda order, encoding: (
        ("int8_t", order) if encoding.bits == 8 else ("uint8_t", encoded_bytes(order, encoding))
    ),
    value_offset=0,
    input_offset=128,
    storage=plane_storage,
    strips=lambda geometry, encoding: (1,),
    strip_bytes=lambda geometry, strip: geometry.plane_h * geometry.plane_w,
    work=plane_work,
    decoder=lambda encoding: NO_DECODER if encoding.bits == 8 else BYTES,
    model=InstructionModel(
        mac=5.0,
        gather=9.0,
        output=30.0,
        block=150.0,
        decode=dict.fromkeys(range(1, 7), 16.0),
    ),
    in_place=plane_fits_in_place,
    written=lambda geometry, strip: None,
    plain_multiply_factor=2.0,
)


DEPTHWISE_WINDOWS = replace(
    DEPTHWISE,
    why_not=lambda geometry, proof, encoding: why_not_form(geometry, "windows"),
    model=replace(DEPTHWISE.model, mac=8.2),
)
DEPTHWISE_DILATED = replace(
    DEPTHWISE,
    why_not=lambda geometry, proof, encoding: why_not_form(geometry, "dilated"),
    model=replace(DEPTHWISE.model, mac=10.5),
)
"""The same kernel where another of its loops runs."""


def _pack_reference(order: Int8Array, encoding: Encoding) -> tuple[str, NDArray[np.integer]]:
    """Rows of channels, in any encoding."""
    if encoding.gap_bits:
        return "uint8_t", encode_sparse(order, encoding)
    return "uint8_t", encoded_bytes(order.reshape(-1), encoding)


REFERENCE = Variant(
    kernel="ef_conv2d_s8_ref",
    sources=(*HEADERS, "ef_sparse.h", "ef_huffman.h", "ef_conv2d_s8_ref.c"),
    needs_dsp=False,
    why_not=lambda geometry, proof, encoding: "",
    order=lambda codes, geometry, padding: codes.reshape(geometry.out_c, -1),
    pack=_pack_reference,
    value_offset=0,
    input_offset=0,
    storage=lambda geometry, encoding: Storage(
        codes=geometry.taps * geometry.out_c, tile_codes=geometry.taps
    ),
    strips=lambda geometry, encoding: (1,),
    strip_bytes=lambda geometry, strip: 0,
    work=lambda geometry, strip: Work(pixels=geometry.pixels, strips=1, gathered=0),
    decoder=lambda encoding: NO_DECODER,
    model=InstructionModel(
        mac=150.0, gather=0.0, output=60.0, block=0.0, decode=dict.fromkeys(range(1, 7), 0.0)
    ),
    in_place=lambda geometry: False,
    written=lambda geometry, strip: None,
    encodings=ENCODING_NAMES,
)
"""What the others are compared with; never chosen unless it is asked for by name."""
