"""The orders in which kernels want their weights, and the arrays that go to flash.

A layout is a permutation of the codes of one (O, kh, kw, I/groups) tensor, with padding. k counts
the taps of one output channel in memory order (kh, kw, I/groups). Weights are permuted first and
encoded after, so that a decoder writes exactly what the kernel reads next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.encodings.codebook import ByteArray, Encoding, Int8Array, encode

BLOCK_CHANNELS = 4
BLOCK_TAPS = 4
VECTOR_TAPS = 16


def _blocks(codes: Int8Array, groups: int, taps_multiple: int, padding: int) -> Int8Array:
    """(groups * blocks, BLOCK_CHANNELS, K) with padded channels and taps."""
    channels = codes.shape[0] // groups
    flat = codes.reshape(groups, channels, -1)
    pad_channels = -channels % BLOCK_CHANNELS
    pad_taps = -flat.shape[2] % taps_multiple
    padded = np.pad(flat, ((0, 0), (0, pad_channels), (0, pad_taps)), constant_values=padding)
    return padded.reshape(-1, BLOCK_CHANNELS, padded.shape[2])


def block_order(codes: Int8Array, groups: int, padding: int) -> Int8Array:
    """[block][k][4 channels], flat: for the portable convolution."""
    return _blocks(codes, groups, 1, padding).transpose(0, 2, 1).reshape(-1)


def row_order(codes: Int8Array, groups: int, padding: int) -> Int8Array:
    """[block][4 channels][k], flat: whole rows, for the vector kernels."""
    return _blocks(codes, groups, 1, padding).reshape(-1)


def four_taps_order(codes: Int8Array, padding: int) -> Int8Array:
    """[4 taps][channel][tap], flat: for a pass over all channels with each four inputs."""
    blocks = _blocks(codes, 1, BLOCK_TAPS, padding)
    rows = blocks.reshape(-1, blocks.shape[2] // BLOCK_TAPS, BLOCK_TAPS)
    return rows.transpose(1, 0, 2).reshape(-1)


def folded_order(codes: Int8Array, padding: int, in_byte: int) -> Int8Array:
    """[block][4 channels][k], each run of 32 taps in the order 0, 16, 1, 17, ..., flat.

    Codes of 4 bits share a byte with another, those of 2 bits with three: a vector of 16 bytes is
    so many vectors of codes in order.
    """
    blocks = _blocks(codes, 1, in_byte * VECTOR_TAPS, padding)
    return blocks.reshape(-1, in_byte, VECTOR_TAPS).transpose(0, 2, 1).reshape(-1)


def o8_order(codes: Int8Array, groups: int, padding: int) -> Int8Array:
    """[block][tap pair][channel pair][tap of the pair][b, a], flat: for the SMLAD kernels.

    A tap pair is (k, k+2): the words of the int16 strip hold taps (0,2), (1,3), (4,6), (5,7), ...
    as SXTB16 leaves them. a is the even channel of a pair, b the odd one.
    """
    blocks = _blocks(codes, groups, BLOCK_TAPS, padding)
    count, _, taps = blocks.shape
    # axes: block, channel pair, (a, b), group of 4 taps, half (0: k, 1: k+2), which pair (0, 1)
    split = blocks.reshape(count, 2, 2, taps // 4, 2, 2)
    # -> block, group of 4 taps, which pair, channel pair, half, (b, a)
    return split.transpose(0, 3, 5, 1, 4, 2)[..., ::-1].reshape(-1)


def o8_words(order: Int8Array) -> NDArray[np.uint32]:
    """The codes of ``o8_order`` as words of two halves 256 * a + b."""
    pairs = order.reshape(-1, 2).astype(np.int32)
    halves = (256 * pairs[:, 1] + pairs[:, 0]).astype(np.int16)
    return halves.view(np.uint32)


def pair_order(codes: Int8Array, padding: int) -> Int8Array:
    """[block][tap pair][channel][tap of the pair], flat: for a look-up of two taps at once."""
    blocks = _blocks(codes, 1, BLOCK_TAPS, padding)
    count, channels, taps = blocks.shape
    split = blocks.reshape(count, channels, taps // 4, 2, 2)
    return split.transpose(0, 2, 4, 1, 3).reshape(-1)


def vector_order(codes: Int8Array, groups: int, width: int, taps_multiple: int) -> Int8Array:
    """[block][vector of taps][4 channels][tap of the vector], flat: for decoders of vectors.

    What fills up a block repeats weights, so that its vectors are in the table too.
    """
    channels = codes.shape[0] // groups
    flat = codes.reshape(groups, channels, -1, width)
    taps = flat.shape[2]
    pads = ((0, 0), (0, -channels % BLOCK_CHANNELS), (0, -taps % max(1, taps_multiple // width)))
    padded = np.pad(flat, (*pads, (0, 0)), mode="edge")
    blocks = padded.reshape(-1, BLOCK_CHANNELS, *padded.shape[2:])
    return blocks.transpose(0, 2, 1, 3).reshape(-1)


def vector_words(order: Int8Array, encoding: Encoding) -> NDArray[np.uint32]:
    """The table as int16 pairs of taps (0, 2) and (1, 3), and the indices behind it."""
    table = np.asarray(encoding.table, np.int16).reshape(-1, 2, 2).transpose(0, 2, 1)
    indices = encode(order, encoding)
    return np.concatenate(
        [np.ascontiguousarray(table).reshape(-1).view(np.uint32), indices.view(np.uint32)]
    )


def padding_code(encoding: Encoding) -> int:
    """A code for the places that are multiplied with zero or thrown away."""
    return encoding.table[0] if encoding.table else 0


def encoded_bytes(order: Int8Array, encoding: Encoding, offset: int = 0) -> ByteArray:
    """Codes in a kernel's order as bytes. Raw values are stored with ``offset`` added."""
    if encoding.bits == 8 and not encoding.lengths:
        return (order.astype(np.int16) + offset).astype(np.uint8)
    return encode(order, encoding)


def table_bytes(encoding: Encoding, offset: int = 0) -> ByteArray:
    """The table of an encoding as stored: one byte a value, with ``offset`` added."""
    return (np.asarray(encoding.table, np.int16) + offset).astype(np.uint8)
