"""Vectors: one 8-bit index for 2, 4 or 8 consecutive weights of an output channel.

Product quantization of weights (arXiv 1806.09228, 1907.05686). Consecutive means in OHWI order.
"""

from __future__ import annotations

import numpy as np

from edgefactor.errors import DataError
from edgefactor.export.encodings.encoding import INDEX_BITS, ByteArray, Encoding, Int8Array

WIDTHS = (2, 4, 8)
MOST_VECTORS = 2**INDEX_BITS


def vector_encoding(codes: Int8Array, width: int) -> Encoding | None:
    """The table of all vectors of a tensor, or None if there are too many of them.

    Args:
        codes: (O, ...): vectors do not run over the end of an output channel.
        width: Weights in a vector.
    """
    taps = codes.size if codes.ndim == 1 else codes.size // codes.shape[0]
    if taps % width:
        return None
    vectors = np.unique(_joined(codes.reshape(-1), width))
    if len(vectors) > MOST_VECTORS:
        return None
    # A full table: an index that a flash error has turned still reads inside it.
    full = np.pad(vectors, (0, MOST_VECTORS - len(vectors)), mode="edge")
    values = full.view(np.int8).reshape(MOST_VECTORS, -1)[:, :width].reshape(-1)
    return Encoding(
        name=f"vector{width}",
        bits=INDEX_BITS // width,
        table=tuple(values.tolist()),
        width=width,
    )


def _joined(flat: Int8Array, width: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Each vector as one number."""
    wide = np.zeros((flat.size // width, 8), np.int8)
    wide[:, :width] = flat.reshape(-1, width)
    return wide.view(np.uint64).reshape(-1)


def encode_vectors(codes: Int8Array, encoding: Encoding) -> ByteArray:
    """Indices of the vectors of codes that lie in the order the kernel reads them.

    Raises:
        DataError: A vector is not in the table.
    """
    table = _joined(np.asarray(encoding.table, np.int8), encoding.width)
    wanted = _joined(codes.reshape(-1), encoding.width)
    order = np.argsort(table, kind="stable")
    found = np.minimum(np.searchsorted(table[order], wanted), MOST_VECTORS - 1)
    if np.any(table[order][found] != wanted):
        raise DataError(f"A weight is not in the table of its {encoding.name} encoding.")
    indices: ByteArray = order[found].astype(np.uint8)
    return indices


def decode_vectors(data: ByteArray, encoding: Encoding) -> Int8Array:
    """The codes of all indices: the inverse of ``encode_vectors``."""
    values: Int8Array = np.asarray(encoding.table, np.int8).reshape(-1, encoding.width)[data]
    return values.reshape(-1)
