"""How the jobs of a sweep ended, written to the sweep's folder by the process that ran them."""

from __future__ import annotations

import json
import os
import re
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_type_hints

from hype_bench.options import UserError, is_file_name
from hype_bench.runs.folder import Holder, RunFolder
from hype_bench.runs.reading import broken, read_json
from hype_bench.runs.secrets import scrub, scrub_values
from hype_bench.runs.status import DIVERGED, DONE, FAILED, RUNNING, read_run
from hype_bench.runs.writing import write_atomically, writing_to

NOT_STARTED = "not started"  # with --fail-fast, after a failure
_POLL_SECONDS = 1.0
_PATIENCE = 3600.0  # seconds to wait for the next run of another process to end


@dataclass(frozen=True)
class JobResult:
    """How one job ended. ``state`` as in ``runs.status``, or ``NOT_STARTED``; ``skipped``: its record existed before;
    ``summary``: the headline score and the time it took, in words."""

    state: str
    title: str
    identity: str = ""
    reason: str = ""
    skipped: bool = False
    summary: str = ""


_TYPES = get_type_hints(JobResult)
_NOTE = re.compile(r"job-\d{6,}\.json")


_UNWRITTEN: dict[Path, tuple[JobResult, str]] = {}  # notes that could not be written, and why


def write_note(sweep: Path, job: int, result: JobResult) -> None:
    """A note that cannot be written is kept in this process: see :func:`unwritten_notes`."""
    path = _path(sweep, job)
    try:
        with writing_to(path):
            sweep.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(scrub_values(asdict(result))) + "\n")
    except UserError as error:
        _UNWRITTEN[path.absolute()] = result, str(error)


def unwritten_notes(sweep: Path) -> dict[int, str]:
    """Number -> why this process could not write the note of that job."""
    return {_number(path): why for path, (_, why) in _UNWRITTEN.items() if path.parent == sweep.absolute()}


def has_note(sweep: Path, job: int) -> bool:
    return _path(sweep, job).exists() or job in unwritten_notes(sweep)


def write_traceback(sweep: Path, job: int, error: Exception) -> str:
    """For a job that crashed before it had a folder of its own; returns where the traceback is."""
    path = _path(sweep, job).with_suffix(".txt")
    try:
        with writing_to(path):
            sweep.mkdir(parents=True, exist_ok=True)
            write_atomically(path, scrub("".join(traceback.format_exception(error))))
    except UserError as error:
        return f"not written: {error}"
    return os.path.relpath(path)


def read_notes(sweep: Path, wanted: Collection[int] | None = None) -> dict[int, JobResult]:
    """Job number -> how that job ended, in order; of all jobs, or of the ``wanted`` ones that left a note."""
    paths = {_number(path): path for path in sweep.glob("job-*.json") if _NOTE.fullmatch(path.name)}
    unwritten = {_number(path): result for path, (result, _) in _UNWRITTEN.items() if path.parent == sweep.absolute()}
    numbers = sorted(paths.keys() | unwritten if wanted is None else (paths.keys() | unwritten) & set(wanted))
    return {number: unwritten.get(number) or _read_note(paths[number]) for number in numbers}


def read_all_notes(sweep: Path, jobs: int) -> list[JobResult]:
    """How the jobs 0, 1, ... of a sweep ended. One without a note counts as failed."""
    results = read_notes(sweep)
    reason = f"its note is no longer in {sweep}; run the same command to see how it ended"
    return [
        results.get(number) or JobResult(FAILED, f"job {number}", reason=reason) for number in {*range(jobs), *results}
    ]


def _read_note(path: Path) -> JobResult:
    """A job whose note cannot be read counts as failed."""
    try:
        content = read_json(path)
        is_note = isinstance(content, dict) and {name: type(value) for name, value in content.items()} == _TYPES
        if not is_note or not (content["identity"] == "" or is_file_name(content["identity"])):
            raise broken(path, "it does not say how a job ended")
        return JobResult(**content)
    except (UserError, FileNotFoundError) as error:  # a dangling link
        return JobResult(FAILED, path.stem, reason=str(error))


def wait_for_others(jobs: Iterable[JobResult], results_dir: Path, say: Callable[[str], None]) -> list[JobResult]:
    """Waits for runs that other processes hold, but not for a stopped process, nor for ever."""
    results, until = [], time.monotonic() + _PATIENCE
    announced: set[str] = set()
    for job in jobs:
        if job.state == RUNNING:
            holder = _in_words(RunFolder.of(results_dir, job.identity).holder())
            if holder not in announced:
                announced.add(holder)
                say(f"waiting for {holder}, which runs {job.title}")
            job = _wait_for(job, results_dir, until)
            if job.state != RUNNING:  # the others make progress
                until = time.monotonic() + _PATIENCE
        results.append(job)
    return results


def _wait_for(result: JobResult, results_dir: Path, until: float) -> JobResult:
    folder = RunFolder.of(results_dir, result.identity)
    was_stopped = False
    while (status := read_run(folder)).state == RUNNING:
        holder = folder.holder()
        is_stopped = holder is not None and holder.is_stopped()
        if is_stopped and was_stopped:
            remedy = f"holds it and is stopped; kill -CONT {holder.pid} lets it go on" if holder else ""
            return replace(result, reason=f"{_in_words(holder)} {remedy}")
        if time.monotonic() > until:
            return replace(result, reason=f"{_in_words(holder)} still holds it")
        was_stopped = is_stopped
        time.sleep(_POLL_SECONDS)
    skipped = status.state in (DONE, DIVERGED)
    return replace(result, state=status.state, reason=status.reason, skipped=skipped)


def _in_words(holder: Holder | None) -> str:
    return "another process" if holder is None else f"process {holder.pid} on {holder.host}"


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("job-"))


def _path(sweep: Path, job: int) -> Path:
    return sweep / f"job-{job:06d}.json"
