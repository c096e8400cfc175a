"""W&B behind three calls: start, log, finish. A mirror of the record, never its source."""
