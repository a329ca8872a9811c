"""Which activations need 16 bits, and the Graph with borders where widths meet."""
