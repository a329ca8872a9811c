"""Huffman codes in canonical form, and weights coded with them.

Deep Compression (arXiv 1510.00149, section 4) codes the indices of shared weights; here each layer
has a code of its own, no longer than ``MOST_BITS``, so that one look-up decodes a symbol. The
stored form is docs/weight-format.md; its decoder in C is ``runtime/csrc/ef_huffman.h``.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import numpy as np

from edgefactor.errors import DataError
from edgefactor.export.encodings.encoding import ByteArray, Encoding, Int8Array

MOST_BITS = 8
"""Of a code on the device: a look-up table of 256 entries."""
MOST_VALUES = 64
LENGTH_BYTES = 3
HEADER_BYTES = LENGTH_BYTES + MOST_BITS


def code_lengths(counts: Mapping[int, int], most_bits: int | None = None) -> dict[int, int]:
    """Bits of each symbol's code: no prefix code takes fewer bits in all.

    Huffman 1952; with a limit by package-merge (Larmore and Hirschberg 1990, J. ACM 37(3)).

    Args:
        counts: How often each symbol occurs; symbols that never do get no code.
        most_bits: No code is longer; None for no limit. There must be codes enough.

    Returns:
        At least 1 bit for every symbol that occurs.
    """
    present = [(count, symbol) for symbol, count in sorted(counts.items()) if count > 0]
    if len(present) == 1:
        return {present[0][1]: 1}
    lengths = {symbol: 0 for _, symbol in present}
    # The number breaks ties, so that the same counts give the same code.
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (count, number, (symbol,)) for number, (count, symbol) in enumerate(present)
    ]
    heapq.heapify(heap)
    number = len(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        merged = first[2] + second[2]
        for symbol in merged:
            lengths[symbol] += 1
        heapq.heappush(heap, (first[0] + second[0], number, merged))
        number += 1
    if most_bits is not None and max(lengths.values(), default=0) > most_bits:
        return _limited_lengths(present, most_bits)
    return lengths


def _limited_lengths(present: list[tuple[int, int]], most_bits: int) -> dict[int, int]:
    """Package-merge: every time that a symbol is in a chosen package, its code has one bit more."""
    if len(present) > 2**most_bits:
        raise ValueError(f"{len(present)} symbols have no codes of {most_bits} bits")
    coins = sorted((count, (symbol,)) for count, symbol in present)
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(most_bits):
        level = sorted(coins + packages)
        packages = [
            (first[0] + second[0], first[1] + second[1])
            for first, second in zip(level[::2], level[1::2], strict=False)
        ]
    lengths = {symbol: 0 for _, symbol in present}
    for _, symbols in packages[: len(present) - 1]:
        for symbol in symbols:
            lengths[symbol] += 1
    return lengths


def canonical_codes(lengths: Mapping[int, int]) -> dict[int, int]:
    """The code of each symbol: counted upwards through lengths, then symbols."""
    codes: dict[int, int] = {}
    code, before = 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - before
        codes[symbol] = code
        code, before = code + 1, length
    return codes


def huffman_encoding(codes: Int8Array) -> Encoding | None:
    """The Huffman encoding of a tensor, or None if it has more than 64 values.

    Its table holds the values in canonical order: shorter codes first.
    """
    values, counts = np.unique(codes, return_counts=True)
    if len(values) > MOST_VALUES:
        return None
    tally = dict(zip(values.tolist(), counts.tolist(), strict=True))
    lengths = code_lengths(tally, MOST_BITS)
    order = sorted(lengths, key=lambda value: (lengths[value], value))
    bits = max(1, (len(order) - 1).bit_length())
    # A full table: what a flash error makes of an index still reads inside it.
    table = (*order, *[order[-1]] * (2**bits - len(order)))
    stream_bits = sum(lengths[value] * count for value, count in tally.items())
    return Encoding(
        name="huffman",
        bits=bits,
        table=table,
        width=0,
        lengths=tuple(lengths[value] for value in order),
        stream_bytes=HEADER_BYTES + -(-stream_bits // 8),
    )


def encode_huffman(codes: Int8Array, encoding: Encoding) -> ByteArray:
    """Codes (flat, in the order the kernel reads them) as the bytes that go to flash.

    Raises:
        DataError: A code is not in the table.
    """
    canonical = canonical_codes(dict(enumerate(encoding.lengths)))
    bits, words = np.zeros((2, 256), np.int64)
    for place, length in enumerate(encoding.lengths):
        at = encoding.table[place] + 128
        bits[at], words[at] = length, canonical[place]
    index = codes.reshape(-1).astype(np.int64) + 128
    if not bits[index].all():
        raise DataError("A weight is not in the table of its huffman encoding.")
    shifts = np.arange(MOST_BITS - 1, -1, -1)
    used = shifts < bits[index][:, None]
    stream = np.packbits(((words[index][:, None] >> shifts) & 1).astype(np.uint8)[used])
    counts = [encoding.lengths.count(length) for length in range(1, MOST_BITS + 1)]
    header = len(stream).to_bytes(LENGTH_BYTES, "little") + bytes(counts)
    return np.concatenate([np.frombuffer(header, np.uint8), stream])


def decode_huffman(data: ByteArray, encoding: Encoding, count: int) -> Int8Array:
    """The first ``count`` codes: the inverse of ``encode_huffman``.

    Raises:
        DataError: The data is cut off, or its bits are no code.
    """
    stream = data[HEADER_BYTES:]
    if len(data) < HEADER_BYTES or int.from_bytes(data[:LENGTH_BYTES].tobytes(), "little") != len(
        stream
    ):
        raise DataError("The Huffman-coded weights have the wrong length.")
    lengths = [
        length
        for length, codes in enumerate(data[LENGTH_BYTES:HEADER_BYTES].tolist(), start=1)
        for _ in range(codes)
    ]
    by_code = {
        (lengths[place], code): encoding.table[place]
        for place, code in canonical_codes(dict(enumerate(lengths))).items()
        if place < len(encoding.table)
    }
    found: list[int] = []
    code = length = 0
    for bit in np.unpackbits(stream).tolist():
        if len(found) == count:
            break
        code, length = code << 1 | bit, length + 1
        value = by_code.get((length, code))
        if value is not None:
            found.append(value)
            code = length = 0
    if len(found) != count:
        raise DataError(
            "The Huffman-coded weights are damaged.",
            found=f"{len(found)} weights",
            expected=f"{count} weights",
        )
    return np.array(found, np.int8)
