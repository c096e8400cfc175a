"""How the jobs of one sweep ended, noted in the sweep's folder by whichever process ran them."""

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

NOT_BEGUN = "not begun"  # with --fail-fast, after a failure
_POLL_SECONDS = 1.0
_PATIENCE = 3600.0  # seconds in which none of the runs that others are at ends


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


_UNWRITTEN: dict[Path, tuple[Ended, str]] = {}  # notes for which the disk had no room, and why


def note(sweep: Path, job: int, ended: Ended) -> None:
    """Where the folder cannot be written to, this process remembers it: see :func:`unwritten`."""
    path = _path(sweep, job)
    try:
        with writing_to(path):
            sweep.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(scrub_values(asdict(ended))) + "\n")
    except UserError as error:
        _UNWRITTEN[path.absolute()] = ended, str(error)


def unwritten(sweep: Path) -> dict[int, str]:
    """Number -> why this process could not write the note of that job."""
    return {_number(path): why for path, (_, why) in _UNWRITTEN.items() if path.parent == sweep.absolute()}


def is_noted(sweep: Path, job: int) -> bool:
    return _path(sweep, job).exists() or job in unwritten(sweep)


def keep_traceback(sweep: Path, job: int, error: Exception) -> str:
    """For a job that crashed before it had a folder of its own; returns where the traceback is."""
    path = _path(sweep, job).with_suffix(".txt")
    try:
        with writing_to(path):
            sweep.mkdir(parents=True, exist_ok=True)
            write_atomically(path, scrub("".join(traceback.format_exception(error))))
    except UserError as full:
        return f"not kept, as {full}"
    return os.path.relpath(path)


def read(sweep: Path, wanted: Collection[int] | None = None) -> dict[int, Ended]:
    """Number -> how that job ended, in the order of the numbers; of all jobs, or of those that are wanted.

    A job that is wanted and left no note is not there.
    """
    paths = {_number(path): path for path in sweep.glob("job-*.json") if _NOTE.fullmatch(path.name)}
    ended = {_number(path): told for path, (told, _) in _UNWRITTEN.items() if path.parent == sweep.absolute()}
    numbers = sorted(paths.keys() | ended if wanted is None else (paths.keys() | ended) & set(wanted))
    return {number: ended.get(number) or _ended(paths[number]) for number in numbers}


def read_all(sweep: Path, jobs: int) -> list[Ended]:
    """How the jobs 0, 1, ... of a sweep ended. One whose note has gone counts as failed, whatever became of it."""
    found = read(sweep)
    gone = f"its note is not in {sweep} any more; the same command says what became of it"
    return [found.get(number) or Ended(FAILED, f"job {number}", reason=gone) for number in {*range(jobs), *found}]


def _ended(path: Path) -> Ended:
    """What a note says; one that cannot be read is of a job whose end nobody knows, and counts as failed."""
    try:
        said = read_json(path)
        is_note = isinstance(said, dict) and {name: type(value) for name, value in said.items()} == _KINDS
        if not is_note or not (said["identity"] == "" or is_file_name(said["identity"])):
            raise broken(path, "it does not say how a job ended")
        return Ended(**said)
    except (UserError, FileNotFoundError) as error:  # not there: a link that leads nowhere
        return Ended(FAILED, path.stem, reason=str(error))


def wait_for_others(jobs: Iterable[Ended], results_dir: Path, say: Callable[[str], None]) -> list[Ended]:
    """How jobs ended whose runs other processes are at. Nobody waits for a process that is stopped, nor for ever."""
    ended, until = [], time.monotonic() + _PATIENCE
    said: set[str] = set()
    for job in jobs:
        if job.state == RUNNING:
            who = _in_words(RunFolder.of(results_dir, job.identity).holder())
            if who not in said:
                said.add(who)
                say(f"waiting for {who}, which is at {job.title}")
            job = _wait_for(job, results_dir, until)
            if job.state != RUNNING:  # they go on
                until = time.monotonic() + _PATIENCE
        ended.append(job)
    return ended


def _wait_for(ended: Ended, results_dir: Path, until: float) -> Ended:
    folder = RunFolder.of(results_dir, ended.identity)
    was_stopped = False
    while (status := read_run(folder)).state == RUNNING:
        holder = folder.holder()
        is_stopped = holder is not None and holder.is_stopped()
        if is_stopped and was_stopped:
            way_out = f"is stopped while at it; kill -CONT {holder.pid} lets it go on" if holder else ""
            return replace(ended, reason=f"{_in_words(holder)} {way_out}")
        if time.monotonic() > until:
            return replace(ended, reason=f"{_in_words(holder)} is still at it")
        was_stopped = is_stopped
        time.sleep(_POLL_SECONDS)
    skipped = status.state in (DONE, DIVERGED)
    return replace(ended, state=status.state, reason=status.reason, skipped=skipped)


def _in_words(holder: Holder | None) -> str:
    return "another process" if holder is None else f"process {holder.pid} on {holder.host}"


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("job-"))


def _path(sweep: Path, job: int) -> Path:
    return sweep / f"job-{job:06d}.json"
