"""The page of a run: its scores, its curve, its worst predictions, its configuration, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hype_bench.config import METRICS
from hype_bench.options import UserError
from hype_bench.output import inert
from hype_bench.render.page.examples import worst_examples
from hype_bench.render.sheet import number
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record, Request
from hype_bench.runs.status import DONE, RunStatus


def run_context(status: RunStatus) -> dict[str, Any]:
    """What the template ``run.html`` shows of a run, whatever became of it."""
    folder = RunFolder(status.path)
    record, failure = None, None
    try:
        record = folder.result()
        failure = None if record else folder.failure()
    except UserError as error:
        failure = str(error)
    about = record or status.about
    return {
        "run": status,
        "record": record,
        "scores": _scores(record) if record else {},
        "about": about,
        "failure": failure,
        "command": _again(status, record),
        "config": "\n".join(_flat(about.config)) if about else "",
        "curve": _columns(record) if record else {},
        "examples": worst_examples(status.path, record) if record and record.status == DONE else None,
        "facts": _facts(record) if record else {},
    }


def _again(status: RunStatus, record: Record | None) -> str:
    """The command that repeats a finished run, or starts another one again; empty where nobody knows it."""
    if record is not None:
        folder = status.runs.parent
        elsewhere = [] if folder == Path("results") else ["--results-dir", str(folder)]
        return shlex.join(["hype-bench", "repeat", status.identity, *elsewhere])
    return _started(status.request) if status.request else ""


def _started(about: Request) -> str:
    """The command line, as it was typed."""
    return shlex.join(["hype-bench", "run", *about.overrides]) if about.overrides else ""


def _facts(record: Record) -> dict[str, str]:
    """What is said of a run in a line each."""
    machine, git = record.machine, record.git or {}
    words = {
        "started": record.started,
        "command": _started(record),
        "in the folder": record.working_directory or "",
        "seconds": ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in record.seconds.items()),
        "updates": f"{record.updates:,}",
        "tokens": f"{record.tokens:,}",
        "peak memory": f"{record.peak_memory_bytes / 2**20:,.0f} MiB" if record.peak_memory_bytes else "",
        "machine": ", ".join(f"{name} {value}" for name, value in machine.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "commit": f"{git.get('commit', '')}{', with changes' * bool(git.get('changed'))}",
        "code format": str(record.format),
    }
    return {name: text for name, text in words.items() if text}


def _scores(record: Record) -> dict[str, str]:
    """Fractions x 100; what an analysis measures in its own units as it is."""
    scores = record.scores.to_json()
    return {name: number(score, is_fraction=name.rpartition("/")[2] in METRICS) for name, score in scores.items()}


def _columns(record: Record) -> dict[str, Any]:
    """The curve column by column: updates, and for each quantity its values there, None where it was not measured."""
    updates = sorted({point["update"] for point in record.curve if "update" in point})
    places = {update: place for place, update in enumerate(updates)}
    columns: dict[str, list[float | None]] = {}
    for point in record.curve:
        for name, value in point.items():
            if name != "update" and "update" in point:
                column = columns.setdefault(inert(name), [None] * len(updates))
                number = float(value)
                column[places[point["update"]]] = number if number - number == 0 else None  # JSON has no NaN
    return {"updates": updates, "columns": list(columns.items())} if columns else {}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """``training.learning_rate=5e-05``: the keys as a command line has them."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={value}"
