"""Softmax and log-softmax; the form for 16 bits is in a file of its own."""

from edgefactor.export.ops.softmax.family import FAMILY

__all__ = ["FAMILY"]
