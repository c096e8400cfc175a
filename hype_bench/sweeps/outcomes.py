"""How the jobs of one sweep ended, noted in the sweep's folder by whichever process ran them."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hype_bench.runs.folder import RunFolder, write_atomically
from hype_bench.runs.secrets import scrub, scrub_values
from hype_bench.runs.status import DIVERGED, DONE, RUNNING, read_run

NOT_BEGUN = "not begun"  # with --fail-fast, after a failure
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Ended:
    """How one job ended. ``state`` as in ``runs.status``, or ``NOT_BEGUN``; ``skipped``: its record was there before;
    ``found``: the headline score and the time it took, in words."""

    state: str
    title: str
    identity: str = ""
    reason: str = ""
    skipped: bool = False
    found: str = ""


def note(sweep: Path, job: int, ended: Ended) -> None:
    sweep.mkdir(parents=True, exist_ok=True)
    write_atomically(_path(sweep, job), json.dumps(scrub_values(asdict(ended))) + "\n")


def is_noted(sweep: Path, job: int) -> bool:
    return _path(sweep, job).exists()


def keep_traceback(sweep: Path, job: int, error: Exception) -> Path:
    """For a job that crashed before it had a folder of its own."""
    sweep.mkdir(parents=True, exist_ok=True)
    path = _path(sweep, job).with_suffix(".txt")
    write_atomically(path, scrub("".join(traceback.format_exception(error))))
    return path


def read(sweep: Path, wanted: Collection[int] | None = None) -> dict[int, Ended]:
    """Number -> how that job ended, in the order of the numbers; of all jobs, or of those that are wanted."""
    paths = {int(path.stem.removeprefix("job-")): path for path in sweep.glob("job-*.json")}
    numbers = sorted(paths if wanted is None else paths.keys() & wanted)
    return {number: Ended(**json.loads(paths[number].read_text(encoding="utf-8"))) for number in numbers}


def wait_for(ended: Ended, results_dir: Path) -> Ended:
    """Waits for a run that another process is at, and says how that one ended."""
    folder = RunFolder.of(results_dir, ended.identity)
    while (status := read_run(folder)).state == RUNNING:
        time.sleep(_POLL_SECONDS)
    skipped = status.state in (DONE, DIVERGED)
    return replace(ended, state=status.state, reason=status.reason, skipped=skipped)


def _path(sweep: Path, job: int) -> Path:
    return sweep / f"job-{job:06d}.json"
