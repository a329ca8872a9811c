"""Weights that share few values, found or made at export without training."""
