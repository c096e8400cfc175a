"""Which encoder is trained: finding and loading it, its stack of layers, its dropout, packing of a batch."""
