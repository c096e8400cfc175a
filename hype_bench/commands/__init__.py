"""The verbs of ``hype-bench``, one file each."""

IN_HELP = (  # in this order
    "run",
    "plan",
    "status",
    "table",
    "answer",
    "plot",
    "report",
    "compare",
    "retry",
    "clean",
    "submit",
    "publish",
    "methods",
    "plugins",
)
