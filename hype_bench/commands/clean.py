"""``hype-bench clean``: removes what failed or was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.incomplete import incomplete
from hype_bench.options import UserError
from hype_bench.output import say
from hype_bench.runs.folder import BusyError, RunFolder
from hype_bench.runs.status import RunStatus


def clean(
    results_dir: ResultsDir = Path("results"),
    remove: Annotated[bool, typer.Option("--incomplete", help="Really remove them.")] = False,
) -> None:
    """Remove what failed or was interrupted.

    Records, good or broken, are never touched.
    """
    if remove_incomplete(existing(results_dir), really=remove):
        raise typer.Exit(1)


def remove_incomplete(results_dir: Path, really: bool) -> int:
    """Removes the folders of failed and interrupted runs, or lists them.

    Returns:
        How many could not be removed.
    """
    runs, failures = incomplete(results_dir)
    for run in runs:
        kept = _kept(run, really)
        failures += kept is not None
        done = "removed" if really else "would remove"
        say(f"{done} {run.path} ({run.state}: {run.title})" if kept is None else f"kept {run.path}: {kept}")
    if not runs:
        say("every run has its record, or is running")
    elif not really:
        say("--incomplete removes them")
    return failures


def _kept(run: RunStatus, really: bool) -> str | None:
    """Why a run is not removed; None if it is. It may have started or ended since it was listed."""
    folder = RunFolder(run.path)
    try:
        if set_aside := folder.set_aside():
            return f"it has a record that was set aside, {', '.join(set_aside)}"
        if not really:
            return None
        with folder.lock():
            if folder.result() is not None:
                return "it has its record now"
            left = folder.remove()
            return f"only what was the run's is removed; there is also {', '.join(left)}" if left else None
    except BusyError:
        return "another process is running it"
    except UserError as error:
        return str(error)
