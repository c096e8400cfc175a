"""The verbs of ``hype-bench``, one file each."""
