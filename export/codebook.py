"""Weight encodings: how the int8 codes of a weight tensor lie in flash.

The format is docs/weight-format.md, version 1; its decoder in C is ``runtime/csrc/ef_weights.h``.
An encoding is found from the integer codes themselves, so a model that any tool has clustered
compresses too. Codebooks and their index streams follow Deep Compression (arXiv 1510.00149).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import DataError, OptionError

WEIGHT_FORMAT_VERSION = 1
MAX_INDEX_BITS = 6

Int8Array = NDArray[np.int8]
ByteArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How one tensor's codes are stored.

    Attributes:
        name: "raw" (the code is the value), "packed4" (a 4-bit two's complement number) or
            "codebook" (an index into a table of the layer).
        bits: Bits per weight: 8 for raw, 4 for packed4, 1 to 6 for a codebook.
        table: The 2**bits values that the indices stand for; empty for raw.
    """

    name: str
    bits: int
    table: tuple[int, ...] = ()

    def data_bytes(self, count: int) -> int:
        """Bytes that ``count`` codes take, without the table."""
        return -(-count * self.bits // 8)


RAW = Encoding(name="raw", bits=8)
PACKED4 = Encoding(name="packed4", bits=4, table=(*range(8), *range(-8, 0)))
ENCODING_NAMES = ("raw", "packed4", "codebook")


def codebook_encoding(codes: Int8Array) -> Encoding | None:
    """The smallest codebook that holds every code, or None if there are more than 64 values."""
    values = [int(value) for value in np.unique(codes)]
    bits = max(1, (len(values) - 1).bit_length())
    if bits > MAX_INDEX_BITS:
        return None
    # A full table: an index that a flash error has turned still reads inside it.
    padded = values + [values[-1]] * (2**bits - len(values))
    return Encoding(name="codebook", bits=bits, table=tuple(padded))


def find_encodings(codes: Int8Array) -> tuple[Encoding, ...]:
    """All encodings that hold these codes exactly, raw first.

    Args:
        codes: Any shape, not empty.
    """
    found = [RAW]
    if -8 <= int(codes.min()) and int(codes.max()) <= 7:
        found.append(PACKED4)
    codebook = codebook_encoding(codes)
    if codebook is not None:
        found.append(codebook)
    return tuple(found)


def named_encoding(name: str, codes: Int8Array) -> Encoding:
    """The encoding of that name for these codes.

    Raises:
        OptionError: There is no such encoding.
        DataError: The codes do not fit it.
    """
    if name not in ENCODING_NAMES:
        raise OptionError(
            "There is no such weight encoding.", found=name, expected=", ".join(ENCODING_NAMES)
        )
    for encoding in find_encodings(codes):
        if encoding.name == name:
            return encoding
    raise DataError(
        f"The weights do not fit the encoding {name!r}.",
        found=f"{len(np.unique(codes))} distinct values in "
        f"[{int(codes.min())}, {int(codes.max())}]",
        expected="values in [-8, 7] for packed4, at most 64 distinct ones for codebook",
        hint="cluster the weights of this layer first, or let the exporter choose the encoding",
    )


def encode(codes: Int8Array, encoding: Encoding) -> ByteArray:
    """Codes (flat, in the order the kernel reads them) as the bytes that go to flash."""
    if encoding.bits == 8:
        return codes.view(np.uint8).copy()
    index_of = {value: index for index, value in reversed(tuple(enumerate(encoding.table)))}
    lookup = np.full(256, 255, np.uint8)
    for value, index in index_of.items():
        lookup[value + 128] = index
    indices = lookup[codes.astype(np.int16) + 128]
    if np.any(indices == 255):
        raise DataError(f"A weight is not in the table of its {encoding.name} encoding.")
    bit = (indices[:, None] >> np.arange(encoding.bits, dtype=np.uint8)) & 1
    return np.packbits(bit.reshape(-1), bitorder="little")


def decode(data: ByteArray, encoding: Encoding, count: int) -> Int8Array:
    """The first ``count`` codes of an encoded tensor: the inverse of ``encode``.

    Raises:
        DataError: ``data`` has not exactly the bytes that ``count`` codes take.
    """
    if len(data) != encoding.data_bytes(count):
        raise DataError(
            "The encoded weights have the wrong length.",
            found=f"{len(data)} bytes",
            expected=f"{encoding.data_bytes(count)} bytes for {count} codes",
        )
    if encoding.bits == 8:
        return data.view(np.int8).copy()
    bits = np.unpackbits(data, bitorder="little")[: count * encoding.bits]
    place = (1 << np.arange(encoding.bits)).astype(np.uint8)
    indices = (bits.reshape(count, encoding.bits) * place).sum(axis=1, dtype=np.uint8)
    values: Int8Array = np.asarray(encoding.table, np.int8)[indices]
    return values
