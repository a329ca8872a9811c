"""The convolution kernels for weights in arithmetic progression, read as digits where they lie."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from edgefactor.export.conv_kernels.costs import InstructionModel, Storage
from edgefactor.export.conv_kernels.decoders import NO_DECODER
from edgefactor.export.conv_kernels.digit_packing import (
    DIGIT_CHANNELS,
    digit_order,
    digit_table,
    digit_words,
    word_digits,
    word_order,
)
from edgefactor.export.conv_kernels.dsp import (
    CONV_DSP,
    DENSE_DSP,
    DENSE_SOURCES,
    ROWS_DSP,
    STRIP_SOURCES,
    why_not_rows,
)
from edgefactor.export.conv_kernels.geometry import ConvGeometry, ConvProof
from edgefactor.export.conv_kernels.packing import BLOCK_CHANNELS, BLOCK_TAPS
from edgefactor.export.conv_kernels.variants import Variant
from edgefactor.export.encodings.codebook import Encoding

NOTHING_DECODED = dict.fromkeys(range(1, 7), 0.0)
PAIR_STEPS, DOT_STEPS = 8, 6
"""Steps of a turn of the loops with 2-bit digits, at most."""

# ---- dense ---------------------------------------------------------------------------------------


def _why_not_dense(geometry: ConvGeometry, proof: ConvProof, encoding: Encoding, bits: int) -> str:
    if not geometry.is_dense:
        return "not a dense layer"
    if encoding.bits != bits:
        return f"only for weights of {bits} bits"
    # With 2 bits every sum is moved in time.
    return proof.digits if bits == 4 else proof.doubled


def _dense_storage(geometry: ConvGeometry, encoding: Encoding) -> Storage:
    tile = -(-geometry.taps // BLOCK_TAPS) * BLOCK_TAPS * DIGIT_CHANNELS
    return Storage(codes=tile * -(-geometry.out_c // DIGIT_CHANNELS), tile_codes=tile)


DENSE_DIGITS_DSP = replace(
    DENSE_DSP,
    kernel="ef_dense_s8_digits_dsp",
    sources=(
        *DENSE_SOURCES,
        "ef_digits.h",
        "ef_digits_dot.c",
        "ef_dense_s8_digits_dsp.c",
    ),
    slower_than_mve=True,
    why_not=partial(_why_not_dense, bits=4),
    order=lambda codes, geometry, padding: digit_order(codes, padding, 4),
    pack=lambda order, encoding: ("uint32_t", digit_words(order, encoding)),
    table_values=2,
    storage=_dense_storage,
    decoder=lambda encoding: NO_DECODER,
    model=InstructionModel(mac=1.04, gather=3.0, output=20.0, block=60.0, decode=NOTHING_DECODED),
    encodings=("uniform",),
)

DENSE_DIGITS_2BIT_DSP = replace(
    DENSE_DIGITS_DSP,
    kernel="ef_dense_s8_digits_2bit_dsp",
    sources=(
        *DENSE_SOURCES,
        "ef_digits.h",
        "ef_digits_2bit.h",
        "ef_digits_2bit_dot.c",
        "ef_dense_s8_digits_2bit_dsp.c",
    ),
    why_not=partial(_why_not_dense, bits=2),
    order=lambda codes, geometry, padding: word_order(codes, padding, DIGIT_CHANNELS),
    pack=lambda order, encoding: ("uint32_t", word_digits(order, encoding)),
    table=partial(digit_table, words=DIGIT_CHANNELS // 4, most_steps=DOT_STEPS),
    table_values=5,
    model=InstructionModel(mac=0.65, gather=3.0, output=20.0, block=90.0, decode=NOTHING_DECODED),
)

# ---- convolutions --------------------------------------------------------------------------------

DIGIT_STRIP_SOURCES = (*STRIP_SOURCES, "ef_digits.h", "ef_digits_block.c", "ef_digits_sums.c")


def _why_not_conv(
    geometry: ConvGeometry, proof: ConvProof, encoding: Encoding, bits: int, rows: bool
) -> str:
    if geometry.is_dense:
        return "a dense layer has kernels of its own"
    if encoding.bits != bits:
        return f"only for weights of {bits} bits"
    if geometry.groups > 1 and geometry.out_c // geometry.groups % BLOCK_CHANNELS:
        return "the channels of a group fill no whole blocks"
    if bits == 2 and not rows:
        # Every sum is moved in time.
        return proof.doubled
    return (why_not_rows(geometry) if rows else "") or proof.digits


def _of_digits(variant: Variant, kernel: str, body: str) -> Variant:
    """The same kernel with 4-bit weights as digits."""
    return replace(
        variant,
        kernel=kernel,
        sources=(
            *DIGIT_STRIP_SOURCES, "ef_digits_offsets.c", "ef_digits_pairs.c", body, f"{kernel}.c"
        ),
        slower_than_mve=True,
        why_not=partial(_why_not_conv, bits=4, rows=variant is ROWS_DSP),
        order=lambda codes, geometry, padding: digit_order(codes, padding, 4, BLOCK_CHANNELS),
        pack=DENSE_DIGITS_DSP.pack,
        storage=lambda geometry, encoding: replace(
            variant.storage(geometry, encoding), tile_bytes=0
        ),
        # Besides, four offsets for each pair of pixels.
        strip_bytes=lambda geometry, strip: variant.strip_bytes(geometry, strip) + 8 * strip,
        decoder=lambda encoding: NO_DECODER,
        model=replace(
            variant.model,
            mac=0.835,
            gather=variant.model.gather + 0.9,
            output=variant.model.output + 4.0,
            block=variant.model.block + 20.0,
            decode=NOTHING_DECODED,
        ),
        encodings=("uniform",),
        table_values=2,
    )  # fmt: skip


def _of_2bit_digits(variant: Variant, four_bits: Variant, kernel: str, body: str) -> Variant:
    """The same with 2 bits."""
    return replace(
        four_bits,
        kernel=kernel,
        sources=(
            *DIGIT_STRIP_SOURCES, "ef_digits_2bit.h", "ef_digits_2bit_block.c",
            "ef_digits_2bit_pairs.c", body, f"{kernel}.c",
        ),
        why_not=partial(_why_not_conv, bits=2, rows=variant is ROWS_DSP),
        order=lambda codes, geometry, padding: word_order(codes, padding, BLOCK_CHANNELS),
        pack=DENSE_DIGITS_2BIT_DSP.pack,
        table=partial(digit_table, words=BLOCK_CHANNELS // 4, most_steps=PAIR_STEPS),
        table_values=5,
        model=replace(four_bits.model, mac=0.505, output=variant.model.output + 6.0),
    )  # fmt: skip


CONV_DIGITS_DSP = _of_digits(CONV_DSP, "ef_conv2d_s8_digits_dsp", "ef_conv2d_strips.c")
ROWS_DIGITS_DSP = _of_digits(ROWS_DSP, "ef_conv2d_s8_rows_digits_dsp", "ef_conv2d_rows.c")
CONV_DIGITS_2BIT_DSP = _of_2bit_digits(
    CONV_DSP, CONV_DIGITS_DSP, "ef_conv2d_s8_digits_2bit_dsp", "ef_conv2d_strips.c"
)
ROWS_DIGITS_2BIT_DSP = _of_2bit_digits(
    ROWS_DSP, ROWS_DIGITS_DSP, "ef_conv2d_s8_rows_digits_2bit_dsp", "ef_conv2d_rows.c"
)
