"""Sparse weights: relative positions and values of what pruning left (arXiv 1510.00149).

A row is the weights of one output channel. It begins with its number of entries (16 bits, little
end first), then come the entries, in one of two forms:

- one byte: ``gap | index << gap_bits``. Index 0 is the value 0 and only skips:
  ``(gap + 1) << gap_bits`` places; any other index skips ``gap + 1`` places and lands on a weight.
- two bytes, for weights that are not clustered: gap, then the value (gap_bits is 8). It skips
  ``gap + 1`` places; a value 0 only skips, ``(gap + 1) << 8`` places.

A row starts one place before its first weight.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgefactor.errors import DataError
from edgefactor.export.encodings.encoding import ByteArray, Encoding, Int8Array

LEAST_ZEROS = 0.5
"""Share of zeros from which on sparse weights are worth a thought."""
FEWEST_GAP_BITS, MOST_GAP_BITS, RAW_GAP_BITS = 3, 7, 8
MOST_ENTRIES = 2**16 - 1


def sparse_encoding(codes: Int8Array) -> Encoding | None:
    """The sparse encoding of a tensor, or None if it has too few zeros.

    Args:
        codes: (O, ...): the first axis counts rows; a flat array is one row.
    """
    rows = as_rows(codes)
    if np.count_nonzero(rows) > (1 - LEAST_ZEROS) * rows.size:
        return None
    values = [int(value) for value in np.unique(rows) if value != 0]
    bits = max(1, len(values).bit_length())
    gap_bits = min(8 - bits, MOST_GAP_BITS)
    if gap_bits < FEWEST_GAP_BITS:
        encoding = Encoding(name="sparse", bits=8, gap_bits=RAW_GAP_BITS)
    else:
        last = values[-1] if values else 0
        table = (0, *values, *[last] * (2**bits - 1 - len(values)))
        encoding = Encoding(name="sparse", bits=bits, table=table, gap_bits=gap_bits)
    lengths = [sum(1 for _ in _entries(row, encoding.gap_bits)) for row in rows]
    if max(lengths) > MOST_ENTRIES:
        return None
    size = 2 * len(rows) + sum(lengths) * entry_bytes(encoding)
    return Encoding(
        name="sparse",
        bits=encoding.bits,
        table=encoding.table,
        gap_bits=encoding.gap_bits,
        stream_bytes=size,
    )


def as_rows(codes: Int8Array) -> Int8Array:
    """(O, K)."""
    return codes.reshape(1 if codes.ndim == 1 else codes.shape[0], -1)


def entry_bytes(encoding: Encoding) -> int:
    """Bytes of one entry."""
    return 2 if encoding.gap_bits == RAW_GAP_BITS else 1


def _entries(row: Int8Array, gap_bits: int) -> Iterator[tuple[int, int]]:
    """(gap, value) of the entries of a row."""
    span = 1 << gap_bits
    at = -1
    for place in np.flatnonzero(row).tolist():
        skip = place - at
        while skip > span:
            # As far as one entry gets, leaving at least one place for the weight's own.
            spans = min((skip - 1) // span, span)
            yield spans - 1, 0
            skip -= spans * span
        yield skip - 1, int(row[place])
        at = place


def encode_sparse(codes: Int8Array, encoding: Encoding) -> ByteArray:
    """Rows of codes as the bytes that go to flash."""
    # The last of equal values wins a plain dict; the table is filled up with its last value.
    index_of = {value: index for index, value in reversed(tuple(enumerate(encoding.table)))}
    stream = bytearray()
    for row in as_rows(codes):
        entries = list(_entries(row, encoding.gap_bits))
        stream += len(entries).to_bytes(2, "little")
        for gap, value in entries:
            if encoding.gap_bits == RAW_GAP_BITS:
                stream += bytes((gap, value & 0xFF))
            elif value not in index_of:
                raise DataError("A weight is not in the table of its sparse encoding.")
            else:
                stream.append(gap | index_of[value] << encoding.gap_bits)
    return np.frombuffer(bytes(stream), np.uint8)


def decode_sparse(data: ByteArray, encoding: Encoding, rows: int, taps: int) -> Int8Array:
    """The codes (rows, taps): the inverse of ``encode_sparse``.

    Raises:
        DataError: The data ends early or late, or a position lies outside its row.
    """
    stream = iter(data.tolist())
    codes = np.zeros((rows, taps), np.int8)
    raw = encoding.gap_bits == RAW_GAP_BITS
    try:
        for row in codes:
            at = -1
            for _ in range(next(stream) | next(stream) << 8):
                byte = next(stream)
                if raw:
                    gap, value = byte, (next(stream) + 128) % 256 - 128
                else:
                    gap = byte & ((1 << encoding.gap_bits) - 1)
                    value = encoding.table[byte >> encoding.gap_bits]
                at += (gap + 1) << (0 if value else encoding.gap_bits)
                if value:
                    row[at] = value
    except (StopIteration, IndexError) as error:
        raise DataError("The sparse weights do not fit their shape.") from error
    if next(stream, None) is not None:
        raise DataError("The sparse weights have the wrong length.", found=f"{len(data)} bytes")
    return codes
