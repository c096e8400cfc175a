"""What becomes of runs that did not end: ``hype-bench retry`` runs them again, ``hype-bench clean`` removes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hype_bench.options import UserError
from hype_bench.output import say
from hype_bench.runs.folder import BusyError, RunFolder
from hype_bench.runs.status import FAILED, INTERRUPTED, UNREADABLE, RunStatus, read_runs

# Modules are found where this package is, and not in the folder of the run, which a foreign file may name.
_IMPORTS = f"import sys; sys.path[0] = {str(Path(__file__).resolve().parents[1])!r}"
_COMMAND = f"{_IMPORTS}; from hype_bench.again import main; main(*sys.argv[1:])"


def retry(results_dir: Path) -> int:
    """Runs every failed or interrupted run again, one process each; returns how many still fail."""
    runs, failures = _incomplete(results_dir)
    if not runs:
        say("nothing failed and nothing was interrupted")
    for run in runs:
        if run.request is None:
            say(f"{run.problem or f'{run.path} does not say how it was started'}; run its command again")
            failures += 1
            continue
        began_in = Path(run.request.get("working_directory", "."))
        if not began_in.is_dir():
            say(f"{run.title}: the folder that it began in is not there: {began_in}")
            failures += 1
            continue
        command = [sys.executable, "-c", _COMMAND, str(run.path.absolute()), str(results_dir.absolute())]
        failures += subprocess.run(command, check=False, cwd=began_in).returncode != 0
    return failures


def main(run: str, results_dir: str) -> None:
    """Runs one of them again, in the folder that it began in: its relative paths mean what they meant."""
    from hype_bench.main import complaining, run_alone
    from hype_bench.rebuild import rebuild

    folder = RunFolder(Path(run))
    with complaining():
        try:
            composed = rebuild(folder.request() or {}, Path(results_dir))
        except UserError as error:
            raise UserError(f"{folder.path / 'run.json'} cannot be run again: {error}") from error
        ended = run_alone(composed)
    if ended.identity != folder.path.name:
        say(f"it is another run now, {ended.identity}: its settings, data, checkpoint or code are not those of then")


def remove_incomplete(results_dir: Path, really: bool) -> int:
    """Removes what failed and interrupted runs have left, or says which those are.

    Returns:
        How many could not be removed.
    """
    runs, failures = _incomplete(results_dir)
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
    """Why a run is not removed; None if it is. It may have been begun, or have ended, since it was looked at."""
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
        return "another process is at it"
    except UserError as error:
        return str(error)


def _incomplete(results_dir: Path) -> tuple[list[RunStatus], int]:
    """What failed or was interrupted; and of how many runs nobody can say now, each named in a line."""
    runs = list(read_runs(results_dir))
    unreadable = [run for run in runs if run.state == UNREADABLE]
    for run in unreadable:
        say(run.problem)
    return [run for run in runs if run.state in (FAILED, INTERRUPTED)], len(unreadable)
