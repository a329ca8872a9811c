"""The convolution kernels for sparse weights and for vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.conv_kernels.costs import InstructionModel, Storage, Work
from edgefactor.export.conv_kernels.decoders import NO_DECODER, Decoder
from edgefactor.export.conv_kernels.dsp import (
    CONV_DSP,
    DENSE_DSP,
    DENSE_SOURCES,
    ROWS_DSP,
)
from edgefactor.export.conv_kernels.geometry import ConvGeometry, ConvProof
from edgefactor.export.conv_kernels.mve import CONV_MVE
from edgefactor.export.conv_kernels.packing import (
    BLOCK_TAPS,
    encoded_bytes,
    vector_order,
    vector_words,
)
from edgefactor.export.conv_kernels.portable import CONV
from edgefactor.export.conv_kernels.variants import HEADERS, Variant
from edgefactor.export.encodings.codebook import VECTOR_NAMES, Encoding, Int8Array
from edgefactor.export.encodings.sparse_code import RAW_GAP_BITS, encode_sparse, entry_bytes

# ---- sparse --------------------------------------------------------------------------------------

SPARSE_LUT_BYTES = 1024
SPARSE_PIXELS = 4


def _why_not_sparse(geometry: ConvGeometry, proof: ConvProof, encoding: Encoding) -> str:
    if geometry.groups != 1 or not (geometry.is_dense or geometry.is_pointwise):
        return "neither dense nor 1x1"
    return ""


def _why_not_coded(geometry: ConvGeometry, proof: ConvProof, encoding: Encoding) -> str:
    if encoding.gap_bits == RAW_GAP_BITS:
        return "its entries take two bytes"
    return _why_not_sparse(geometry, proof, encoding)


def _why_not_pairs(geometry: ConvGeometry, proof: ConvProof, encoding: Encoding) -> str:
    if encoding.gap_bits != RAW_GAP_BITS:
        return "its entries take one byte"
    return _why_not_sparse(geometry, proof, encoding)


def _sparse_work(geometry: ConvGeometry, strip: int) -> Work:
    """Four pixels share the way through a row where there are as many."""
    fours, rest = divmod(geometry.pixels, SPARSE_PIXELS)
    return Work(pixels=rest, strips=fours, gathered=0)


def _sparse_storage(geometry: ConvGeometry, encoding: Encoding) -> Storage:
    entries = (encoding.stream_bytes - 2 * geometry.out_c) // entry_bytes(encoding)
    coded = encoding.gap_bits != RAW_GAP_BITS
    return Storage(
        codes=entries,
        tile_codes=max(1, entries // geometry.out_c),
        lut_bytes=SPARSE_LUT_BYTES if coded else 0,
    )


def _sparse_model(single: float, four: float, output: float, lut: float) -> InstructionModel:
    """Fits to counts (benchmarks/sparse_forms.py --estimates).

    Args:
        single: Instructions an entry and pixel.
        four: An entry for four pixels; what is decoded once a strip.
        output: An output.
        lut: A call.
    """
    return InstructionModel(
        mac=single,
        gather=0.0,
        output=output,
        block=0.0,
        decode=dict.fromkeys(range(1, 8), four),
        lut=lut,
    )


SPARSE = Variant(
    kernel="ef_conv2d_s8_sparse",
    sources=(*HEADERS, "ef_simd.h", "ef_sparse.h", "ef_sparse_dot.c", "ef_conv2d_s8_sparse.c"),
    needs_dsp=False,
    why_not=_why_not_coded,
    order=lambda codes, geometry, padding: codes.reshape(geometry.out_c, -1),
    pack=lambda order, encoding: ("uint8_t", encode_sparse(order, encoding)),
    value_offset=0,
    input_offset=0,
    storage=_sparse_storage,
    strips=lambda geometry, encoding: (1,),
    strip_bytes=lambda geometry, strip: 0,
    work=_sparse_work,
    decoder=lambda encoding: NO_DECODER,
    model=_sparse_model(6.5, 11.3, 53.0, 1800.0),
    plain_multiply_model=_sparse_model(13.8, 22.8, 98.0, 1880.0),
    in_place=lambda geometry: False,
    written=lambda geometry, strip: None,
    encodings=("sparse",),
)
SPARSE_PAIRS = replace(
    SPARSE,
    why_not=_why_not_pairs,
    work=lambda geometry, strip: Work(pixels=geometry.pixels, strips=0, gathered=0),
    model=_sparse_model(12.7, 0.0, 75.0, 0.0),
    plain_multiply_model=_sparse_model(15.0, 0.0, 137.0, 0.0),
)
"""The same kernel with entries of two bytes."""

# ---- vectors -------------------------------------------------------------------------------------

VECTORS = Decoder(symbol="ef_decoder_vectors", sources=("ef_decoder_vectors.c",), code_bytes=64)
VECTORS_BLOCKS = Decoder(
    symbol="ef_decoder_vectors_blocks", sources=("ef_decoder_vectors_blocks.c",), code_bytes=88
)
VECTORS_O8 = Decoder(
    symbol="ef_decoder_vectors_o8", sources=("ef_decoder_vectors_o8.c",), code_bytes=240
)


def _order(codes: Int8Array, geometry: ConvGeometry, padding: int) -> Int8Array:
    # Only the encoding knows the width; the order by rows serves as well until it is packed.
    return codes.reshape(geometry.groups, -1, geometry.taps)


def _pack_blocks(order: Int8Array, encoding: Encoding) -> tuple[str, NDArray[np.integer]]:
    groups, _, taps = order.shape
    blocks = vector_order(order.reshape(-1, taps), groups, encoding.width, 1)
    return "uint8_t", encoded_bytes(blocks, encoding)


def _pack_o8(order: Int8Array, encoding: Encoding) -> tuple[str, NDArray[np.integer]]:
    groups, _, taps = order.shape
    blocks = vector_order(order.reshape(-1, taps), groups, encoding.width, BLOCK_TAPS)
    return "uint8_t", encoded_bytes(blocks, encoding)


def _pack_words(order: Int8Array, encoding: Encoding) -> tuple[str, NDArray[np.integer]]:
    blocks = vector_order(order[0], 1, encoding.width, BLOCK_TAPS)
    return "uint32_t", vector_words(blocks, encoding)


def _pack_rows(order: Int8Array, encoding: Encoding) -> tuple[str, NDArray[np.integer]]:
    padded = np.pad(order, ((0, 0), (0, -order.shape[1] % 4), (0, 0)), mode="edge")
    return "uint8_t", encoded_bytes(padded.reshape(-1), encoding)


_Pack = Callable[[Int8Array, Encoding], tuple[str, NDArray[np.integer]]]


def _of_vectors(variant: Variant, decoder: Decoder, pack: _Pack, decode: float) -> Variant:
    """The same kernel with tiles that are decoded from vectors."""
    return replace(
        variant,
        order=_order,
        pack=pack,
        decoder=lambda encoding: decoder,
        model=replace(variant.model, decode_vector=decode),
        encodings=VECTOR_NAMES,
    )


CONV_VECTORS = _of_vectors(CONV, VECTORS_BLOCKS, _pack_blocks, 8.0)
CONV_VECTORS_DSP = replace(
    _of_vectors(CONV_DSP, VECTORS_O8, _pack_o8, 2.0),
    why_not=lambda geometry, proof, encoding: (
        "a dense layer has kernels of its own" if geometry.is_dense else proof.o8
    ),
)
ROWS_VECTORS_DSP = _of_vectors(ROWS_DSP, VECTORS_O8, _pack_o8, 2.0)
DENSE_VECTORS_TILE_DSP = replace(
    _of_vectors(DENSE_DSP, VECTORS_O8, _pack_o8, 2.0), encodings=("vector2", "vector8")
)
CONV_VECTORS_MVE = _of_vectors(CONV_MVE, VECTORS, _pack_rows, 6.0)

DENSE_VECTORS_DSP = replace(
    DENSE_DSP,
    kernel="ef_dense_s8_vectors_dsp",
    sources=(
        *DENSE_SOURCES,
        "ef_vectors.h",
        "ef_vectors_dot.c",
        "ef_dense_s8_vectors_dsp.c",
    ),
    why_not=lambda geometry, proof, encoding: (
        proof.doubled if geometry.is_dense else "not a dense layer"
    ),
    order=_order,
    pack=_pack_words,
    storage=lambda geometry, encoding: replace(DENSE_DSP.storage(geometry, encoding), tile_bytes=0),
    decoder=lambda encoding: NO_DECODER,
    model=InstructionModel(mac=1.36, gather=2.0, output=20.0, block=50.0, decode={}),
    encodings=("vector4",),
    inline_table_bytes=2,
)
