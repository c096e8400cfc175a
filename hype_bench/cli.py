"""The verbs besides the run: ``hype-bench status`` and ``hype-bench table``. Imports no torch."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hype_bench.runs.status import DONE, STATES, read_runs
from hype_bench.tables.table import build_tables
from hype_bench.tables.text import FORMATS

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What ran, and what came out.")
Format = StrEnum("Format", list(FORMATS))  # type: ignore[misc]
ResultsDir = Annotated[Path, typer.Option(help="The folder that the runs were written to.")]


@app.command()
def status(results_dir: ResultsDir = Path("results")) -> None:
    """What ran, what is running, what failed and why."""
    runs = list(read_runs(_existing(results_dir)))
    counts = Counter(run.state for run in runs)
    print(f"{results_dir}: {len(runs)} runs" + "".join(f", {counts[s]} {s}" for s in STATES if counts[s]))
    for run in runs:
        if run.state != DONE:
            print(f"  {run.state:<11} {run.title}" + (f": {run.reason}" if run.reason else ""))
            if run.state == "failed":
                print(f"{'':14}traceback: {run.path / 'failure.txt'}")


@app.command()
def table(
    results_dir: ResultsDir = Path("results"),
    format: Annotated[Format, typer.Option(help="How it is written.")] = Format.text,  # type: ignore[attr-defined]
) -> None:
    """Mean ± std over seeds, method by task, of whatever is there; also while a sweep goes on."""
    print(FORMATS[format.value](build_tables(read_runs(_existing(results_dir)))))


def _existing(results_dir: Path) -> Path:
    if not results_dir.is_dir():
        typer.echo(f"error: {results_dir}: no such folder", err=True)
        raise typer.Exit(2)
    return results_dir


def main() -> None:
    app()


if __name__ == "__main__":
    main()
