"""Layer, RMS, group and instance norm; a file a face, since TFLite's is long."""

from edgefactor.export.ops.normalize.family import FAMILY

__all__ = ["FAMILY"]
