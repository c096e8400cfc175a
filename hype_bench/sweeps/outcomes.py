"""How the jobs of one sweep ended, noted in the sweep's folder by whichever process ran them."""

from __future__ import annotations

import json
import re
import time
import traceback
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_type_hints

from hype_bench.options import UserError, is_file_name
from hype_bench.runs.folder import RunFolder, write_atomically
from hype_bench.runs.reading import broken, read_json
from hype_bench.runs.secrets import scrub, scrub_values
from hype_bench.runs.status import DIVERGED, DONE, FAILED, RUNNING, read_run

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


_KINDS = get_type_hints(Ended)
_NOTE = re.compile(r"job-\d{6,}\.json")


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
    paths = {
        int(path.stem.removeprefix("job-")): path for path in sweep.glob("job-*.json") if _NOTE.fullmatch(path.name)
    }
    numbers = sorted(paths if wanted is None else paths.keys() & wanted)
    return {number: _ended(paths[number]) for number in numbers}


def _ended(path: Path) -> Ended:
    """What a note says; one that cannot be read is of a job whose end nobody knows, and counts as failed."""
    try:
        said = read_json(path)
        is_note = isinstance(said, dict) and {name: type(value) for name, value in said.items()} == _KINDS
        if not is_note or not (said["identity"] == "" or is_file_name(said["identity"])):
            raise broken(path, "it does not say how a job ended")
        return Ended(**said)
    except UserError as error:
        return Ended(FAILED, path.stem, reason=str(error))


def wait_for(ended: Ended, results_dir: Path) -> Ended:
    """Waits for a run that another process is at, and says how that one ended."""
    folder = RunFolder.of(results_dir, ended.identity)
    while (status := read_run(folder)).state == RUNNING:
        time.sleep(_POLL_SECONDS)
    skipped = status.state in (DONE, DIVERGED)
    return replace(ended, state=status.state, reason=status.reason, skipped=skipped)


def _path(sweep: Path, job: int) -> Path:
    return sweep / f"job-{job:06d}.json"
