"""Whole numbers as activations: token ids, classes. Their codes are exact: the scale is 1.

Indices below 128 are their own int8 codes; up to 256 they lie 128 below. Longer tables and axes
have int16 indices, inside of the network and as its inputs and outputs; those that are larger still
are refused.
"""

from __future__ import annotations

from edgefactor.export.ir import DType, Quantization
from edgefactor.export.ops.family import Lowering, Node

#: Indices that int8 and int16 codes tell apart.
MOST_NARROW, MOST = 256, 2**15
_OWN_CODES = 128


def index_quantization(count: int) -> Quantization:
    """The quantization of indices below ``count``."""
    below = _OWN_CODES if _OWN_CODES < count <= MOST_NARROW else 0
    return Quantization(scales=(1.0,), zero_point=-below)


def index_type(count: int) -> DType:
    """The type of indices below ``count``."""
    return DType.INT16 if count > MOST_NARROW else DType.INT8


def require_few(node: Node, lowering: Lowering, count: int, what: str) -> None:
    """Refuse more indices than int16 holds."""
    if count > MOST:
        lowering.unsupported(
            node,
            f"{what} has {count} elements, and an index is one int16 code",
            f"use at most {MOST}",
        )
