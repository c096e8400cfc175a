"""What becomes of runs that did not end: ``hype-bench retry`` runs them again, ``hype-bench clean`` removes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hype_bench.runs.folder import RunFolder
from hype_bench.runs.status import FAILED, INTERRUPTED, RunStatus, read_runs

_COMMAND = "from hype_bench.main import main; main()"


def retry(results_dir: Path) -> int:
    """Runs every failed or interrupted run again, one process each; returns how many still fail."""
    failures = 0
    runs = list(_incomplete(results_dir))
    if not runs:
        print("nothing failed and nothing was interrupted")
    for run in runs:
        overrides = (run.request or {}).get("overrides")
        if overrides is None:
            print(f"{run.title}: {run.path} does not say how it was started; run its command again")
            failures += 1
            continue
        kept = [word for word in overrides if not word.startswith("results_dir=")]
        command = [sys.executable, "-c", _COMMAND, *kept, f"results_dir={results_dir}"]
        failures += subprocess.run(command, check=False).returncode != 0
    return failures


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
