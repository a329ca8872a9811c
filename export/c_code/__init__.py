"""Pieces of generated C: names, numbers, and what an operator becomes."""
