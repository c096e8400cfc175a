"""The state of every run in a results folder, derived from what lies on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hype_bench.config import UserError
from hype_bench.runs.folder import RunFolder

DONE, DIVERGED, RUNNING, FAILED, INTERRUPTED, BROKEN = "done", "diverged", "running", "failed", "interrupted", "broken"
STATES = (DONE, DIVERGED, RUNNING, FAILED, INTERRUPTED, BROKEN)


@dataclass(frozen=True)
class RunStatus:
    """``record`` if done or diverged; else ``request``, what was asked for; ``reason`` in one line."""

    identity: str
    state: str
    path: Path
    record: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    reason: str = ""

    @property
    def title(self) -> str:
        about = (self.record or self.request or {}).get("label", {})
        words = [about.get("model"), about.get("task"), about.get("method")]
        return " ".join([str(word) for word in words if word] + [f"seed {about['seed']}"] if about else [self.identity])


def read_runs(results_dir: str | Path) -> Iterator[RunStatus]:
    """Every run under ``<results_dir>/runs``, by name of its folder."""
    runs = Path(results_dir) / "runs"
    if runs.is_dir():
        for path in sorted(runs.iterdir()):
            if path.is_dir():
                yield read_run(RunFolder(path))


def read_run(folder: RunFolder) -> RunStatus:
    name = folder.path.name
    try:
        record = folder.result()
        busy = record is None and folder.is_busy()
        record = record or folder.result()  # it may have ended between the two questions
    except UserError as error:
        state = RUNNING if folder.is_busy() else BROKEN
        return RunStatus(name, state, folder.path, request=folder.request(), reason=str(error))
    if record is not None:
        return RunStatus(name, str(record["status"]), folder.path, record, reason=record.get("reason", ""))
    request = folder.request()
    if busy:
        return RunStatus(name, RUNNING, folder.path, request=request)
    if (failure := folder.failure()) is not None:
        last = (failure.strip().splitlines() or ["no traceback"])[-1]
        return RunStatus(name, FAILED, folder.path, request=request, reason=last)
    return RunStatus(name, INTERRUPTED, folder.path, request=request, reason="killed before it ended")
