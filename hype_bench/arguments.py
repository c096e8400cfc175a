"""Command-line arguments that verbs and analyses share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.options import UserError

ResultsDir = Annotated[Path, typer.Option(help="The folder that the runs were written to.", metavar="DIR")]


def existing(results_dir: Path) -> Path:
    """Raises UserError if there is no such folder."""
    if not results_dir.is_dir():
        raise UserError(f"{results_dir}: no such folder; name another one with --results-dir")
    return results_dir
