"""The orders in which kernels want weights in arithmetic progression, which they read as digits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.conv_kernels.packing import BLOCK_TAPS
from edgefactor.export.encodings.codebook import ByteArray, Encoding, Int8Array

DIGIT_CHANNELS = 8
"""Of a dense layer's block."""
WORD_DIGITS = 16
"""Of 2 bits."""
MOST_DIGIT_SUM = 64
"""Of channels with odd numbers, before their sum of products leaves 14 bits."""
MOST_EVEN_SUM = 2**17 // 128 - 1
"""Of what is stored of the others, before theirs leaves the 18 bits above."""


def digit_order(
    codes: Int8Array, padding: int, in_half: int, channels: int = DIGIT_CHANNELS
) -> Int8Array:
    """[block][tap pair][channels of half a word][tap of the pair][channel], flat.

    Args:
        codes: (O, ...).
        padding: Code of what fills up a block.
        in_half: Channels in half a word: 4 digits of 4 bits, or 8 of 2.
        channels: Of a block.
    """
    flat = codes.reshape(codes.shape[0], -1)
    pads = ((0, -flat.shape[0] % channels), (0, -flat.shape[1] % BLOCK_TAPS))
    padded = np.pad(flat, pads, constant_values=padding)
    # axes: block, which half, channel, group of 4 taps, tap of the pair (k, k+2), which pair
    split = padded.reshape(-1, channels // in_half, in_half, padded.shape[1] // 4, 2, 2)
    return split.transpose(0, 3, 5, 1, 4, 2).reshape(-1)


def digit_words(order: Int8Array, encoding: Encoding) -> NDArray[np.uint32]:
    """The digits of ``digit_order``; the last one of each half is a signed number, half less."""
    # A table of the highest code alone has no step.
    low, step = encoding.table[0], max(1, encoding.table[1] - encoding.table[0])
    digits: ByteArray = ((order.astype(np.int16) - low) // step).astype(np.uint8)
    places = np.arange(0, 8, encoding.bits)
    data: ByteArray = (digits.reshape(-1, len(places)) << places).sum(axis=1).astype(np.uint8)
    # Half less is the highest bit turned.
    data[1::2] ^= 0x80
    return data.view(np.uint32)


# ---- 2 bits: runtime/csrc/ef_digits_2bit.h -------------------------------------------------------


def _word_places() -> tuple[list[int], list[int]]:
    """(channel, tap) of each digit of a word, from its lowest bits up.

    SMLAD takes what a mask leaves of the word after a rotation by 4 bits times 2 * channel pair +
    first tap; then each half holds the odd channel in its lowest bits, the even one in its highest.
    """
    channel, tap = [0] * WORD_DIGITS, [0] * WORD_DIGITS
    for pair in range(2):
        for first in range(2):
            for half in range(2):
                place = 8 * half + 2 * (2 * pair + first)
                for at, odd in ((place, 1), (place + 7, 0)):
                    channel[at % WORD_DIGITS] = 2 * pair + odd
                    tap[at % WORD_DIGITS] = first + 2 * half
    return channel, tap


_CHANNEL, _TAP = _word_places()
_EVEN = np.array([channel % 2 == 0 for channel in _CHANNEL])


def word_order(codes: Int8Array, padding: int, channels: int) -> Int8Array:
    """(blocks, [4 taps][4 channels of the block][16 digits]): words of 4 taps of 4 channels.

    Args:
        codes: (O, ...).
        padding: Code of what fills up a block.
        channels: Of a block: 4 or 8.
    """
    flat = codes.reshape(codes.shape[0], -1)
    pads = ((0, -flat.shape[0] % channels), (0, -flat.shape[1] % BLOCK_TAPS))
    padded = np.pad(flat, pads, constant_values=padding)
    split = padded.reshape(-1, channels // 4, 4, padded.shape[1] // BLOCK_TAPS, BLOCK_TAPS)
    # -> block, 4 taps, word, channel, tap
    words = split.transpose(0, 3, 1, 2, 4)
    return words[..., _CHANNEL, _TAP].reshape(len(split), -1)


def zero_digit(digits: NDArray[np.integer]) -> int:
    """The digit of even channels that is stored as 0, of a layer's digits from 0 to 3.

    What is stored lies in -2..1 then; the middle one of three leaves the smallest sums.
    """
    return 1 if int(digits.max()) <= 2 else 2


def fits_even_sum(sums: NDArray[np.integer]) -> bool:
    """Whether sums of magnitudes of what even channels store let all taps be added up at once."""
    return int(sums.max()) <= MOST_EVEN_SUM


def _digits(order: Int8Array, encoding: Encoding) -> NDArray[np.int16]:
    """The digits of ``word_order``, the last axis those of a word."""
    low, step = encoding.table[0], max(1, encoding.table[1] - encoding.table[0])
    return ((order.astype(np.int16) - low) // step).reshape(len(order), -1, WORD_DIGITS)


def word_digits(order: Int8Array, encoding: Encoding) -> NDArray[np.uint32]:
    """The words of ``word_order``, flat; even channels' digits are signed, less ``zero_digit``."""
    digits = _digits(order, encoding)
    stored = (digits - np.where(_EVEN, zero_digit(digits), 0)) & 3
    places = 2 * np.arange(WORD_DIGITS, dtype=np.uint32)
    words: NDArray[np.uint32] = (stored.astype(np.uint32) << places).sum(axis=2, dtype=np.uint32)
    return words.reshape(-1)


def digit_table(order: Int8Array, encoding: Encoding, *, words: int, most_steps: int) -> ByteArray:
    """What the kernels with 2-bit digits have for a table.

    Args:
        order: Of ``word_order``.
        encoding: Uniform, 2 bits.
        words: Of a block in one step of 4 taps.
        most_steps: Of a turn of the kernel's loop.

    Returns:
        The first two values, ``zero_digit``, the steps of a turn, after which sums with odd
        channels are moved, and the turns after which those with even ones are, 0 for never.
    """
    digits = _digits(order, encoding)
    zero = zero_digit(digits)
    # (block, step, channel)
    by_channel = np.stack(
        [
            digits[:, word::words, [at for at in range(WORD_DIGITS) if _CHANNEL[at] == channel]]
            for word in range(words)
            for channel in range(4)
        ],
        axis=2,
    )
    odd = np.cumsum(by_channel[:, :, 1::2].sum(axis=3), axis=1)
    so_far = np.pad(odd, ((0, 0), (1, 0), (0, 0)))
    interval = next(
        turn
        for turn in range(min(most_steps, odd.shape[1]), 0, -1)
        if int((so_far[:, turn:] - so_far[:, :-turn]).max()) <= MOST_DIGIT_SUM
    )
    even = np.abs(by_channel[:, :, 0::2] - zero).sum(axis=(1, 3))
    turns = 0 if fits_even_sum(even) else MOST_EVEN_SUM // (2 * BLOCK_TAPS) // interval
    low, second = (value & 0xFF for value in encoding.table[:2])
    return np.array([low, second, zero, interval, turns], np.uint8)
