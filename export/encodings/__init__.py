"""How the int8 codes of a weight tensor lie in flash: raw, codebook, vectors, sparse."""
