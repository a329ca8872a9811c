"""The int8 Graph, the one source of truth, and the files that are written from it."""
