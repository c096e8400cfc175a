"""What analyses of one run share: what one is, what it sees of a run, data that are only scored."""
