"""Huffman codes of weights that are decoded once, at start-up, into memory of the caller.

Whatever a kernel reads as its weights, indices of 1 to 6 bits, raw bytes or sparse entries, is a
run of bytes; here these bytes are cut into units of a few bits and coded, so that a kernel runs on
what was decoded exactly as it would on the same bytes in flash. Codes are canonical and of up to
``MOST_BITS`` bits (Deep Compression, arXiv 1510.00149, section 4; package-merge where they would be
longer). The stored form is docs/weight-format.md; its decoder is ``runtime/csrc/ef_unpack.h``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgefactor.errors import DataError
from edgefactor.export.encodings.encoding import ByteArray
from edgefactor.export.encodings.huffman_code import canonical_codes, code_lengths

MOST_BITS = 15
MOST_CODES = 255
"""Of one length: their number is stored in a byte."""
PLAIN, SIGNED_LOW, TURNED_SIGN = 0, 1, 2
"""What is done to every second byte before it is coded and after it is decoded, so that it holds
the same values as the others: nothing; take the sign of the one below it off (o8 words: 256 * a +
b); turn its highest bit (digits)."""

_FNV_OFFSET, _FNV_PRIME = 2166136261, 16777619


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedBytes:
    """Bytes in Huffman codes.

    Attributes:
        stream: 15 bytes with the number of codes of 1, 2, ... bits, then the codes, each from the
            most significant bit of a byte down; unused bits of the last byte are 0.
        units: What the codes stand for, shorter codes first.
        bits: Of a unit, 1 to 8; units lie in a byte from the least significant bit up.
        count: Units coded.
        fix: What was done to every second byte.
        check: FNV-1a hash, 32 bits, of the bytes (draft-eastlake-fnv).
        size: Bytes decoded.
    """

    stream: ByteArray
    units: ByteArray
    bits: int
    count: int
    fix: int
    check: int
    size: int

    @property
    def stored_bytes(self) -> int:
        """Stream with its table."""
        return self.stream.nbytes + self.units.nbytes

    @property
    def ram_bytes(self) -> int:
        """What the decoded bytes take, in whole words."""
        return -(-self.size // 4) * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """A code and what everything takes with it."""

    bits: int
    lengths: Mapping[int, int]
    total_bytes: int


def pack_bytes(data: ByteArray, *, bits: int, fix: int = PLAIN) -> PackedBytes | None:
    """Code the bytes that a kernel reads.

    Args:
        data: uint8, in the order of memory; not empty.
        bits: Of the values that the bytes hold, lowest first; units of one or two of them are
            tried.
        fix: ``PLAIN``, ``SIGNED_LOW`` or ``TURNED_SIGN``.

    Returns:
        The shortest form, or None if the bytes have no code that can be stored.
    """
    alike = _without(data, fix)
    widths = [bits, *([2 * bits] if 2 * bits <= 8 else [])]
    best = min(filter(None, map(partial(_code, alike), widths)), key=_total, default=None)
    if best is None:
        return None
    units = _cut(alike, best.bits)
    canonical = canonical_codes(best.lengths)
    order = sorted(best.lengths, key=lambda unit: (best.lengths[unit], unit))
    lengths, words = np.zeros((2, 256), np.int64)
    for unit in order:
        lengths[unit], words[unit] = best.lengths[unit], canonical[unit]
    places = np.arange(MOST_BITS - 1, -1, -1)
    used = places < lengths[units][:, None]
    codes = np.packbits(((words[units][:, None] >> places) & 1).astype(np.uint8)[used])
    counts = np.bincount([best.lengths[unit] for unit in order], minlength=MOST_BITS + 1)[1:]
    return PackedBytes(
        stream=np.concatenate([counts.astype(np.uint8), codes]),
        units=np.array(order, np.uint8),
        bits=best.bits,
        count=len(units),
        fix=fix,
        check=fnv1a(data),
        size=len(data),
    )


def unpack_bytes(packed: PackedBytes) -> ByteArray:
    """The bytes: the inverse of ``pack_bytes``, as the C does it.

    Raises:
        DataError: The stream is damaged.
    """
    counts = packed.stream[:MOST_BITS]
    lengths = dict(enumerate(np.repeat(np.arange(1, MOST_BITS + 1), counts).tolist()))
    by_code = {(lengths[place], code): place for place, code in canonical_codes(lengths).items()}
    found: list[int] = []
    code = length = 0
    for bit in np.unpackbits(packed.stream[MOST_BITS:]).tolist():
        if len(found) == packed.count:
            break
        code, length = code << 1 | bit, length + 1
        place = by_code.get((length, code))
        if place is not None and place < len(packed.units):
            found.append(int(packed.units[place]))
            code = length = 0
    bits = (np.array(found, np.uint8)[:, None] >> np.arange(packed.bits, dtype=np.uint8)) & 1
    data: ByteArray = np.packbits(bits.reshape(-1), bitorder="little")[: packed.size]
    if len(data) == packed.size:
        data = _with(data, packed.fix)
    if len(found) != packed.count or fnv1a(data) != packed.check:
        raise DataError("The Huffman-coded weights are damaged.", found=f"{len(found)} units")
    return data


def fnv1a(data: ByteArray) -> int:
    """FNV-1a, 32 bits: differs for certain where one byte does."""
    value = _FNV_OFFSET
    for byte in data.tolist():
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return value


def _total(code: _Code) -> int:
    return code.total_bytes


def _code(data: ByteArray, bits: int) -> _Code | None:
    """The code of units of so many bits; None if one cannot be stored."""
    counts = np.bincount(_cut(data, bits), minlength=1 << bits)
    lengths = code_lengths(dict(enumerate(counts.tolist())), MOST_BITS)
    if max(np.bincount(list(lengths.values()))) > MOST_CODES:
        return None
    stream = sum(length * int(counts[unit]) for unit, length in lengths.items())
    return _Code(bits=bits, lengths=lengths, total_bytes=MOST_BITS + len(lengths) + -(-stream // 8))


def _cut(data: ByteArray, bits: int) -> ByteArray:
    """Units of so many bits; the last one is filled up with zeros."""
    flat = np.unpackbits(data, bitorder="little")
    rows = np.pad(flat, (0, -len(flat) % bits)).reshape(-1, bits)
    units: ByteArray = (rows << np.arange(bits, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)
    return units


def _without(data: ByteArray, fix: int) -> ByteArray:
    """Every second byte as the others are."""
    result = data.copy()
    if fix == SIGNED_LOW:
        result[1::2] += data[: len(data) // 2 * 2 : 2] >> 7
    elif fix == TURNED_SIGN:
        result[1::2] ^= 0x80
    return result


def _with(data: ByteArray, fix: int) -> ByteArray:
    """The inverse."""
    result = data.copy()
    if fix == SIGNED_LOW:
        result[1::2] -= data[: len(data) // 2 * 2 : 2] >> 7
    elif fix == TURNED_SIGN:
        result[1::2] ^= 0x80
    return result
