"""``hype-bench run``: one run, or a sweep."""

from __future__ import annotations

import sys

import typer


def run(context: typer.Context) -> None:
    """Fine-tune: one run, or with -m a sweep; hype-bench run --help says what can be chosen."""
    from hype_bench.launch.main import main as start

    sys.argv = ["hype-bench run", *context.args]
    start()
