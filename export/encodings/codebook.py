"""Weight encodings: how the int8 codes of a weight tensor lie in flash.

The format is docs/weight-format.md, version 4; its decoder in C is ``runtime/csrc/ef_weights.h``.
An encoding is found from the integer codes themselves, so a model that any tool has clustered
compresses too. Codebooks and their index streams follow Deep Compression (arXiv 1510.00149).
"""

from __future__ import annotations

import numpy as np

from edgefactor.errors import DataError, OptionError
from edgefactor.export.encodings.encoding import ByteArray, Encoding, Int8Array
from edgefactor.export.encodings.huffman_code import (
    decode_huffman,
    encode_huffman,
    huffman_encoding,
)
from edgefactor.export.encodings.sparse_code import sparse_encoding
from edgefactor.export.encodings.vector_code import (
    WIDTHS,
    decode_vectors,
    encode_vectors,
    vector_encoding,
)

__all__ = [
    "ENCODING_NAMES",
    "PACKED4",
    "RAW",
    "SCALAR_NAMES",
    "VECTOR_NAMES",
    "WEIGHT_FORMAT_VERSION",
    "ByteArray",
    "Encoding",
    "Int8Array",
    "codebook_encoding",
    "decode",
    "encode",
    "find_encodings",
    "fitting_encodings",
    "named_encoding",
    "uniform_encoding",
]

WEIGHT_FORMAT_VERSION = 4
MAX_INDEX_BITS = 6
DIGIT_BITS = (2, 4)

RAW = Encoding(name="raw", bits=8)
PACKED4 = Encoding(name="packed4", bits=4, table=(*range(8), *range(-8, 0)))
SCALAR_NAMES = ("raw", "packed4", "codebook", "uniform")
"""What decoders of single codes read."""
VECTOR_NAMES = tuple(f"vector{width}" for width in WIDTHS)
ENCODING_NAMES = (*SCALAR_NAMES, *VECTOR_NAMES, "sparse", "huffman")


def codebook_encoding(codes: Int8Array) -> Encoding | None:
    """The smallest codebook that holds every code, or None if there are more than 64 values."""
    values = [int(value) for value in np.unique(codes)]
    bits = max(1, (len(values) - 1).bit_length())
    if bits > MAX_INDEX_BITS:
        return None
    # A full table: an index that a flash error has turned still reads inside it.
    padded = values + [values[-1]] * (2**bits - len(values))
    return Encoding(name="codebook", bits=bits, table=tuple(padded))


def uniform_encoding(codes: Int8Array) -> Encoding | None:
    """2 or 4 bits if the values lie in an arithmetic progression of 4 or 16, else None."""
    values = np.unique(codes).astype(np.int64)
    low, reach = int(values[0]), int(values[-1] - values[0])
    step = int(np.gcd.reduce(values - low)) or 1
    bits = next((bits for bits in DIGIT_BITS if reach < step << bits), None)
    if bits is None:
        return None
    # Values past 127 are of digits that do not occur.
    table = tuple(min(low + step * digit, 127) for digit in range(2**bits))
    return Encoding(name="uniform", bits=bits, table=table)


def find_encodings(codes: Int8Array) -> tuple[Encoding, ...]:
    """The encodings of these codes that are worth considering, raw first.

    Vectors, sparse and Huffman-coded weights only where they take less than raw ones: every small
    tensor is one of few vectors.

    Args:
        codes: (O, ...), or flat for one row; not empty.
    """
    return tuple(
        encoding
        for encoding in fitting_encodings(codes)
        if encoding.name in SCALAR_NAMES
        or encoding.data_bytes(codes.size) + len(encoding.table) < codes.size
    )


def fitting_encodings(codes: Int8Array) -> tuple[Encoding, ...]:
    """All encodings that hold these codes exactly, raw first; see ``find_encodings``."""
    found = [RAW]
    if -8 <= int(codes.min()) and int(codes.max()) <= 7:
        found.append(PACKED4)
    codebook = codebook_encoding(codes)
    others = (
        codebook,
        uniform_encoding(codes),
        *(vector_encoding(codes, width) for width in WIDTHS),
        sparse_encoding(codes),
        huffman_encoding(codes),
    )
    found += [encoding for encoding in others if encoding is not None]
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
    for encoding in fitting_encodings(codes):
        if encoding.name == name:
            return encoding
    raise DataError(
        f"The weights do not fit the encoding {name!r}.",
        found=f"{len(np.unique(codes))} distinct values in "
        f"[{int(codes.min())}, {int(codes.max())}]",
        expected="values in [-8, 7] for packed4, at most 64 distinct ones for codebook, 16 evenly "
        "spaced ones for uniform, 256 distinct vectors for vector, half of all zero for sparse, "
        "64 distinct ones for huffman",
        hint="cluster the weights of this layer first, or let the exporter choose the encoding",
    )


def encode(codes: Int8Array, encoding: Encoding) -> ByteArray:
    """Codes (flat, in the order the kernel reads them) as the bytes that go to flash.

    Sparse weights have a codec of their own (``sparse_code``).
    """
    if encoding.lengths:
        return encode_huffman(codes, encoding)
    if encoding.width > 1:
        return encode_vectors(codes, encoding)
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
    if encoding.lengths:
        return decode_huffman(data, encoding, count)
    if len(data) != encoding.data_bytes(count):
        raise DataError(
            "The encoded weights have the wrong length.",
            found=f"{len(data)} bytes",
            expected=f"{encoding.data_bytes(count)} bytes for {count} codes",
        )
    if encoding.width > 1:
        return decode_vectors(data, encoding)
    if encoding.bits == 8:
        return data.view(np.int8).copy()
    bits = np.unpackbits(data, bitorder="little")[: count * encoding.bits]
    place = (1 << np.arange(encoding.bits)).astype(np.uint8)
    indices = (bits.reshape(count, encoding.bits) * place).sum(axis=1, dtype=np.uint8)
    values: Int8Array = np.asarray(encoding.table, np.int8)[indices]
    return values
