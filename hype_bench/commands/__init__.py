"""The verbs of ``hype-bench``, one file each."""

IN_HELP = ("run", "plan", "status", "table", "retry", "clean", "submit", "publish", "methods", "plugins")  # in order
