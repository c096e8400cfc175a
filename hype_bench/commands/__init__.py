"""The verbs of ``hype-bench``, one file each."""

IN_HELP = (  # in this order
    "run",
    "plan",
    "status",
    "watch",
    "table",
    "answer",
    "plot",
    "report",
    "compare",
    "repeat",
    "retry",
    "clean",
    "submit",
    "publish",
    "push",
    "methods",
    "plugins",
)
