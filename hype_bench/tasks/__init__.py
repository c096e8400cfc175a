"""The tasks: sources, text columns, labels, metrics, subsets."""
