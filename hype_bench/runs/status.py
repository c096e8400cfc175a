"""The state of every run in a results folder, derived from what lies on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hype_bench.config import UserError
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.index import CHUNK, Index, stamp_of

DONE, DIVERGED, RUNNING, FAILED, INTERRUPTED, BROKEN = "done", "diverged", "running", "failed", "interrupted", "broken"
STATES = (DONE, DIVERGED, RUNNING, FAILED, INTERRUPTED, BROKEN)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """``record`` if done or diverged; else ``request``, what was asked for; ``reason`` in one line.

    ``runs``: the folder that its own folder lies in.
    """

    identity: str
    state: str
    runs: Path
    record: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    reason: str = ""

    @property
    def path(self) -> Path:
        return self.runs / self.identity

    @property
    def title(self) -> str:
        about = (self.record or self.request or {}).get("label", {})
        words = [about.get("model"), about.get("task"), about.get("method")]
        return " ".join([str(word) for word in words if word] + [f"seed {about['seed']}"] if about else [self.identity])


def read_runs(results_dir: str | Path) -> Iterator[RunStatus]:
    """Every run under ``<results_dir>/runs``, by name of its folder. Records as ``read_named`` gives them."""
    runs = Path(results_dir) / "runs"
    if runs.is_dir():
        with os.scandir(runs) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
        yield from read_named(results_dir, names)


def read_named(results_dir: str | Path, names: Iterable[str]) -> Iterator[RunStatus]:
    """Those of these runs that have begun, in this order; many at once are read from an index.

    Of records there is what :func:`hype_bench.runs.index.kept` leaves, and they share what they agree in: they are to
    be read, not changed. ``read_run`` gives a whole one.
    """
    runs, names = Path(results_dir) / "runs", list(names)
    with Index(results_dir) as index:
        for start in range(0, len(names), CHUNK):
            some = names[start : start + CHUNK]
            stamps = {name: stamp for name in some if (stamp := stamp_of(f"{runs}/{name}/result.json"))}
            known = index.find(stamps)
            for name in some:
                if record := known.get(name):
                    yield _with_record(name, runs, record)
                elif name in stamps or (runs / name).is_dir():
                    status = read_run(RunFolder(runs / name))
                    if status.record is not None:
                        status = replace(status, record=index.keep(name, stamps.get(name), status.record))
                    yield status


def read_run(folder: RunFolder) -> RunStatus:
    name, runs = folder.path.name, folder.path.parent
    try:
        record = folder.result()
        busy = record is None and folder.is_busy()
        record = record or folder.result()  # it may have ended between the two questions
    except UserError as error:
        state = RUNNING if folder.is_busy() else BROKEN
        return RunStatus(name, state, runs, request=folder.request(), reason=str(error))
    if record is not None:
        return _with_record(name, runs, record)
    request = folder.request()
    if busy:
        return RunStatus(name, RUNNING, runs, request=request)
    if (failure := folder.failure()) is not None:
        last = (failure.strip().splitlines() or ["no traceback"])[-1]
        return RunStatus(name, FAILED, runs, request=request, reason=last)
    return RunStatus(name, INTERRUPTED, runs, request=request, reason="killed before it ended")


def _with_record(name: str, runs: Path, record: dict[str, Any]) -> RunStatus:
    return RunStatus(name, str(record["status"]), runs, record, reason=record.get("reason", ""))
