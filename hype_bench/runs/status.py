"""The state of every run in a results folder, derived from what lies on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hype_bench.options import UserError
from hype_bench.runs.cache import RecordCache, Stamp, stamp_of
from hype_bench.runs.check import DIVERGED as DIVERGED
from hype_bench.runs.check import DONE as DONE
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.reading import BrokenError, UnreadableError
from hype_bench.runs.record import Record, Request, checked

RUNNING, FAILED, INTERRUPTED, BROKEN, UNREADABLE = "running", "failed", "interrupted", "broken", "unreadable"
NOT_SCORED = "not scored"  # in frames and tables: done, and without a score of the task's metric
STATES = (DONE, DIVERGED, RUNNING, FAILED, INTERRUPTED, BROKEN, UNREADABLE)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """``record`` if done or diverged, else ``request``; ``reason`` for the state, in one line.

    ``runs``: the parent of its folder. ``problem``: which file could not be read, and why; a run whose record cannot be
    read is ``BROKEN`` if the content is at fault, ``UNREADABLE`` if the file system is.
    """

    identity: str
    state: str
    runs: Path
    record: Record | None = None
    request: Request | None = None
    reason: str = ""
    problem: str = ""

    @property
    def path(self) -> Path:
        return self.runs / self.identity

    @property
    def title(self) -> str:
        return self.about.label.title if self.about else self.identity

    @property
    def about(self) -> Request | None:
        """The record, or what was asked for; None if neither can be read."""
        return self.record or self.request


def read_runs(results_dir: str | Path) -> Iterator[RunStatus]:
    """Every run under ``<results_dir>/runs``, by name of its folder. Records as ``read_named`` gives them.

    A folder without a file of a run is skipped.

    Raises:
        OSError: the folder of the runs cannot be listed.
    """
    yield from read_named(results_dir, folder_names(results_dir))


def folder_names(results_dir: str | Path) -> list[str]:
    """The names under ``<results_dir>/runs`` that may be a run's, in order. Raises as :func:`read_runs` does."""
    try:
        with os.scandir(Path(results_dir) / "runs") as entries:
            return sorted(entry.name for entry in entries if not entry.is_file(follow_symlinks=False))
    except FileNotFoundError:
        return []


def read_named(results_dir: str | Path, names: Iterable[str]) -> Iterator[RunStatus]:
    """Those of these runs that have started, in this order; many at once are read from a cache.

    Records have the fields in :data:`hype_bench.runs.cache.KEPT` alone, and share equal parts, which must not be
    changed. ``read_run`` gives a whole one.
    """
    runs, names = Path(results_dir) / "runs", list(names)
    with RecordCache(results_dir, len(names)) as cache:
        for name in names:
            stamp = stamp_of(f"{runs}/{name}/result.json")
            if stored := cache.find(name, stamp):
                yield _with_record(name, runs, Record.trusted(stored))
            elif stamp or RunFolder(runs / name).has_started():
                yield read_run(RunFolder(runs / name), partial(_kept, cache, name, stamp))


def _kept(cache: RecordCache, name: str, stamp: Stamp | None, content: Any) -> Record:
    return Record.trusted(cache.keep(name, stamp, checked(content)))


def read_run(folder: RunFolder, parse: Callable[[Any], Record] = Record.from_json) -> RunStatus:
    """The state of a run; ``parse`` makes a record of what its file holds, as :meth:`Record.from_json` does."""
    name, runs = folder.path.name, folder.path.parent
    try:
        record = folder.result(parse)
        busy = record is None and folder.is_busy()
        record = record or folder.result(parse)  # it may have ended between the two questions
    except UnreadableError as error:
        return _without_record(folder, UNREADABLE, str(error), str(error))
    except BrokenError as error:
        return _without_record(folder, RUNNING if folder.is_busy() else BROKEN, str(error), str(error))
    if record is not None:
        return _with_record(name, runs, record)
    if busy:
        return _without_record(folder, RUNNING)
    try:
        failure = folder.failure()
    except UserError as error:
        return _without_record(folder, FAILED, str(error))
    if failure is not None:
        return _without_record(folder, FAILED, (failure.strip().splitlines() or ["no traceback"])[-1])
    return _without_record(folder, INTERRUPTED, "killed before it ended")


def _without_record(folder: RunFolder, state: str, reason: str = "", problem: str = "") -> RunStatus:
    """A run that is known by its request alone, or by its name if that cannot be read either."""
    request = None
    try:
        request = folder.request()
    except UserError as error:
        problem = "; ".join(filter(None, (problem, str(error))))
        reason = "; ".join(filter(None, (reason, str(error))))
    return RunStatus(folder.path.name, state, folder.path.parent, None, request, reason, problem)


def _with_record(name: str, runs: Path, record: Record) -> RunStatus:
    return RunStatus(name, record.status, runs, record, reason=record.reason)
