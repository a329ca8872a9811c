"""Integer functions of int8 codes, as the runtimes compute them."""
