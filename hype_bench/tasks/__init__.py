"""What is learnt: sources, text columns, labels, metrics, subsets."""
