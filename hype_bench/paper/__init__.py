"""The published numbers of the HyPe paper, as data. Imports no torch."""
