"""Recurrent layers: GRU, LSTM and plain; a file a face, since each is long."""

from edgefactor.export.ops.recurrent.family import FAMILY

__all__ = ["FAMILY"]
