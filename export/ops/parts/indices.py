"""Whole numbers as activations: token ids, classes. Their codes are exact: the scale is 1.

Indices below 128 are their own codes; up to 256 they lie 128 below. Longer tables and axes need
wider activations and are refused.
"""

from __future__ import annotations

from edgefactor.export.ir import Quantization
from edgefactor.export.ops.family import Lowering, Node

#: Indices that int8 codes tell apart.
MOST = 256
_OWN_CODES = 128


def index_quantization(count: int) -> Quantization:
    """The quantization of indices below ``count``."""
    return Quantization(scales=(1.0,), zero_point=0 if count <= _OWN_CODES else -_OWN_CODES)


def require_few(node: Node, lowering: Lowering, count: int, what: str) -> None:
    """Refuse more indices than int8 holds."""
    if count > MOST:
        lowering.unsupported(
            node,
            f"{what} has {count} elements, and an index is one int8 code",
            f"use at most {MOST}",
        )
