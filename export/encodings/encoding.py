"""A way to store the weights of one tensor, as data. The format is docs/weight-format.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int8Array = NDArray[np.int8]
ByteArray = NDArray[np.uint8]

INDEX_BITS = 8
"""Of an index into a table of vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How one tensor's codes are stored.

    Attributes:
        name: "raw" (the code is the value), "packed4" (a 4-bit two's complement number),
            "codebook" (an index into a table of the layer), "uniform" (the same with values in
            arithmetic progression), "vector2", "vector4", "vector8" (an index for so many
            consecutive weights), "sparse" (positions and values of what is not zero) or "huffman"
            (a codebook whose indices are codes of 1 to 8 bits).
        bits: Bits per weight: 8 for raw, 4 for packed4, 1 to 6 for a codebook, 8 / width for
            vectors; of a value for sparse; of an index into the table for huffman.
        table: The values that the indices stand for, vectors one after the other; empty for raw.
        width: Weights per index; 0 where codes have different lengths.
        lengths: Bits of the code of each value of the table, for huffman; else empty.
        gap_bits: Bits of a relative position in sparse weights; 0 if every weight is stored.
        stream_bytes: What sparse or Huffman-coded weights take, without the table and without what
            a kernel's layout adds.
    """

    name: str
    bits: int
    table: tuple[int, ...] = ()
    width: int = 1
    gap_bits: int = 0
    stream_bytes: int = 0
    lengths: tuple[int, ...] = ()

    def data_bytes(self, count: int) -> int:
        """Bytes that ``count`` codes take, without the table."""
        if self.gap_bits or self.lengths:
            return self.stream_bytes
        return -(-count // self.width) if self.width > 1 else -(-count * self.bits // 8)

    @property
    def code_bits(self) -> int:
        """Bits of one stored code."""
        return INDEX_BITS if self.width > 1 else self.bits
