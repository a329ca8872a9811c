"""The check: rungs compared, accuracy, footprint and limits."""
