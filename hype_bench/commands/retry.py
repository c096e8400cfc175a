"""``hype-bench retry``: runs again what failed or was interrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.incomplete import incomplete
from hype_bench.options import UserError
from hype_bench.output import say
from hype_bench.runs.folder import RunFolder

# Imports come from this package's folder, not from the run's working directory, which a foreign file may name.
_IMPORTS = f"import sys; sys.path[0] = {str(Path(__file__).resolve().parents[2])!r}"
_COMMAND = f"{_IMPORTS}; from hype_bench.commands.retry import main; main(*sys.argv[1:])"


def retry(results_dir: ResultsDir = Path("results")) -> None:
    """Run again, one after the other, what failed or was interrupted."""
    if run_again(existing(results_dir)):
        raise typer.Exit(1)


def run_again(results_dir: Path) -> int:
    """Runs every failed or interrupted run again, one process each; returns how many still fail."""
    runs, failures = incomplete(results_dir)
    if not runs:
        say("nothing failed and nothing was interrupted")
    for run in runs:
        if run.request is None:
            say(f"{run.problem or f'{run.path} does not say how it was started'}; run its command again")
            failures += 1
            continue
        directory = Path(run.request.working_directory or ".")
        if not directory.is_dir():
            say(f"{run.title}: its working directory does not exist: {directory}")
            failures += 1
            continue
        command = [sys.executable, "-c", _COMMAND, str(run.path.absolute()), str(results_dir.absolute())]
        failures += subprocess.run(command, check=False, cwd=directory).returncode != 0
    return failures


def main(run: str, results_dir: str) -> None:
    """Runs one of them again, in its own working directory: relative paths keep their meaning."""
    from hype_bench.launch.main import one_line_errors, run_alone
    from hype_bench.launch.rebuild import rebuild

    folder = RunFolder(Path(run))
    with one_line_errors():
        try:
            if (request := folder.request()) is None:
                raise UserError("it does not exist any more")
            composed = rebuild(request, Path(results_dir))
        except UserError as error:
            raise UserError(f"{folder.path / 'run.json'} cannot be run again: {error}") from error
        result = run_alone(composed)
    if result.identity != folder.path.name:
        say(f"it is a different run now, {result.identity}: its settings, data, checkpoint or code have changed")
