"""Huffman codes in canonical form: lengths, codes, and both directions.

Deep Compression (arXiv 1510.00149, section 4) codes weight indices and index differences, each
layer and each kind with a code of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import DataError

Symbols = NDArray[np.int64]


def code_lengths(counts: Mapping[int, int]) -> dict[int, int]:
    """Bits of each symbol's code: no prefix code takes fewer bits in all (Huffman 1952).

    Args:
        counts: How often each symbol occurs; symbols that never do get no code.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class HuffmanStream:
    """Symbols as bits.

    Attributes:
        lengths: Bits of each symbol's code; canonical codes follow from them.
        data: The bits, most significant first, the last byte filled with zeros.
        bits: Number of them.
        count: Number of symbols.
    """

    lengths: Mapping[int, int]
    data: bytes
    bits: int
    count: int


def encode(symbols: Symbols) -> HuffmanStream:
    """Codes symbols with a Huffman code of their own."""
    values, counts = np.unique(symbols, return_counts=True)
    lengths = code_lengths(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    codes = canonical_codes(lengths)
    text = "".join(f"{codes[s]:0{lengths[s]}b}" for s in symbols.reshape(-1).tolist())
    bits = np.frombuffer(text.encode("ascii"), np.uint8) - ord("0")
    return HuffmanStream(
        lengths=lengths, data=np.packbits(bits).tobytes(), bits=len(text), count=int(symbols.size)
    )


def decode(stream: HuffmanStream) -> Symbols:
    """The symbols of a stream.

    Raises:
        DataError: If the bits end inside a symbol or are no code.
    """
    codes = canonical_codes(stream.lengths)
    by_code = {(stream.lengths[symbol], code): symbol for symbol, code in codes.items()}
    longest = max(stream.lengths.values(), default=0)
    bits = np.unpackbits(np.frombuffer(stream.data, np.uint8))[: stream.bits].tolist()
    found: list[int] = []
    code = length = 0
    for bit in bits:
        code, length = code << 1 | bit, length + 1
        symbol = by_code.get((length, code))
        if symbol is not None:
            found.append(symbol)
            code = length = 0
        elif length > longest:
            break
    if length or len(found) != stream.count:
        raise DataError(
            "The Huffman stream is damaged",
            found=f"{len(found)} symbols",
            expected=f"{stream.count} symbols",
        )
    return np.array(found, np.int64)


def coded_bits(symbols: Symbols) -> int:
    """Bits that `symbols` take with a Huffman code of their own, without the code's table."""
    values, counts = np.unique(symbols, return_counts=True)
    tally = dict(zip(values.tolist(), counts.tolist(), strict=True))
    lengths = code_lengths(tally)
    return sum(lengths[symbol] * count for symbol, count in tally.items())
