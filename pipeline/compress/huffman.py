"""Any symbols in Huffman codes of any length: what a compressed file takes.

Deep Compression (arXiv 1510.00149, section 4) codes weight indices and index differences, each
layer and each kind with a code of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import DataError
from edgefactor.export.encodings.huffman_code import canonical_codes, code_lengths

Symbols = NDArray[np.int64]


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
