"""What becomes of runs that did not end: ``hype-bench retry`` runs them again, ``hype-bench clean`` removes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hype_bench.options import UserError
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.status import FAILED, INTERRUPTED, RunStatus, read_runs

# Modules are found where this package is, and not in the folder of the run, which a foreign file may name.
_IMPORTS = f"import sys; sys.path[0] = {str(Path(__file__).resolve().parents[1])!r}"
_COMMAND = f"{_IMPORTS}; from hype_bench.again import main; main(*sys.argv[1:])"


def retry(results_dir: Path) -> int:
    """Runs every failed or interrupted run again, one process each; returns how many still fail."""
    failures = 0
    runs = list(_incomplete(results_dir))
    if not runs:
        print("nothing failed and nothing was interrupted")
    for run in runs:
        began_in = Path((run.request or {}).get("working_directory", "."))
        if not began_in.is_dir():
            print(f"{run.title}: the folder that it began in is not there: {began_in}")
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
        run_alone(composed)


def remove_incomplete(results_dir: Path, really: bool) -> Iterator[str]:
    """Removes the folders of failed and interrupted runs, or says which those are; a line for each."""
    runs = list(_incomplete(results_dir))
    for run in runs:
        if really:
            with RunFolder(run.path).lock():  # nobody may begin it meanwhile
                shutil.rmtree(run.path)
        yield f"{'removed' if really else 'would remove'} {run.path} ({run.state}: {run.title})"
    if not runs:
        yield "every run has its record, or is running"
    elif not really:
        yield "--incomplete removes them"


def _incomplete(results_dir: Path) -> Iterator[RunStatus]:
    return (run for run in read_runs(results_dir) if run.state in (FAILED, INTERRUPTED))
