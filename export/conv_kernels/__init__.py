"""Which C kernel a convolution or dense layer gets, what it costs, and the data it wants."""
