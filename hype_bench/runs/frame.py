"""Runs as a pandas DataFrame: ``hype_bench.load_results``. docs/results_frame.md describes its columns."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hype_bench.options import UserError
from hype_bench.runs.identity import digest
from hype_bench.runs.record import HELDOUT, Scores
from hype_bench.runs.settings import options, without_seed
from hype_bench.runs.status import RunStatus, read_runs

COLUMNS = {
    "model": "category",
    "task": "category",
    "method": "category",
    "seed": "Int64",
    "split": "category",
    "metric": "category",
    "score": "float64",
    "n": "Int64",
    "headline": "bool",
    "status": "category",
    "reason": "string",
    "experiment": "category",
    "generated": "boolean",
    "seconds": "float64",
    "train_seconds": "float64",
    "updates": "Int64",
    "tokens": "Int64",
    "peak_memory_bytes": "Int64",
    "device": "category",
    "device_name": "category",
    "threads": "Int64",
    "git_commit": "category",
    "git_changed": "boolean",
    "variant": "category",
    "identity": "string",
    "path": "string",
}  # and, behind them: version.<package>, and every option that differs

_LABEL = ("model", "task", "method", "seed", "experiment", "generated")
_OF_SCORE = ("run", "split", "metric", "score", "n", "headline")
_OF_RUN = (*_LABEL, "status", "reason", "identity", "path", "seconds", "train_seconds")
_COUNTED = ("updates", "tokens", "peak_memory_bytes")
_NOTHING: Mapping[str, Any] = {}
_RENAMED = {"model": "checkpoint", "data": "fingerprint"}


def load_results(folders: str | Path | Iterable[str | Path] = "results") -> pd.DataFrame:
    """Every run of one or several results folders: one row a run, split and metric.

    A run without a score (diverged, failed, running, ...) has one row, with its state and a missing score. Scores are
    fractions, as records have them.

    Args:
        folders: as ``results_dir=`` was when the runs were made.

    Raises:
        UserError: there is no such folder.
    """
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"{folder}: no such folder; name the results_dir of the runs")
    was_enabled = gc.isenabled()
    gc.disable()  # looking for garbage among 100,000 records takes longer than reading them
    try:
        return tidy([run for folder in folders for run in read_runs(folder)]).reset_index(drop=True)
    finally:
        if was_enabled:
            gc.enable()


def tidy(runs: Sequence[RunStatus]) -> pd.DataFrame:
    """The frame of these runs; its index is the number of the run among them."""
    cells, setups = _Distinct(), _Distinct()
    rows = []
    for run in runs:
        about, record = run.about, run.record
        cell = cells.number(about.parts, about.config) if about else cells.number(_NOTHING, _NOTHING)
        setup = (record.machine, record.versions, record.git or _NOTHING) if record else [_NOTHING] * 3
        rows.append((*_run_row(run), cell, setups.number(*setup)))
    frame = pd.DataFrame([row for number, run in enumerate(runs) for row in _score_rows(number, run)], None, _OF_SCORE)
    frame = frame.join(pd.DataFrame(rows, None, (*_OF_RUN, *_COUNTED, "cell", "setup")), on="run")
    of_cells, of_setups = _cells(cells.parts), _setups(setups.parts)
    further = sorted(of_setups.columns.union(of_cells.columns, sort=False).difference(list(COLUMNS)), key=_is_option)
    frame = frame.join(of_cells, on="cell").join(of_setups, on="setup").set_index("run")
    return frame.reindex(columns=[*COLUMNS, *further]).astype(COLUMNS)


class _Distinct:
    """Numbers parts that many runs share: the same objects have the same number."""

    def __init__(self) -> None:
        self.parts: list[tuple[Mapping[str, Any], ...]] = []  # which keeps them alive: an id holds no longer
        self._numbers: dict[tuple[int, ...], int] = {}

    def number(self, *parts: Mapping[str, Any]) -> int:
        number = self._numbers.setdefault(tuple(map(id, parts)), len(self.parts))
        if number == len(self.parts):
            self.parts.append(parts)
        return number


def _run_row(run: RunStatus) -> tuple[Any, ...]:
    label, seconds = run.about and run.about.label, run.record.seconds if run.record else {}
    return (
        *(getattr(label, name, None) for name in _LABEL),
        run.state,
        run.reason,
        run.identity,
        f"{run.runs}/{run.identity}",
        sum(seconds.values()) if seconds else None,
        seconds.get("train"),
        *(getattr(run.record, name, None) for name in _COUNTED),
    )


def _score_rows(number: int, run: RunStatus) -> Iterator[tuple[Any, ...]]:
    if run.about is None:
        yield number, None, None, None, None, True
        return
    headline, first = run.about.label.metric, (run.about.task.get("evaluation_splits") or ["validation"])[0]
    rows = run.record.scored_rows if run.record else {}
    scores = run.record.scores if run.record else Scores()
    if headline not in scores.first:
        yield number, first, headline, None, rows.get(first), True
    for metric, score in scores.first.items():
        yield number, first, metric, score, rows.get(first), metric == headline
    for split, of_split in (*scores.further.items(), (HELDOUT, scores.heldout)):
        for metric, score in of_split.items():
            yield number, split, metric, score, rows.get(split), False


def _cells(parts: Sequence[tuple[Mapping[str, Any], ...]]) -> pd.DataFrame:
    """What the runs of a cell share: its variant, and the options in which some cells differ."""
    cells = [options(of_identity, config) for of_identity, config in parts]
    values: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        for name, value in cell.items():
            values[name].add(repr(value))
    names = [name for name, different in values.items() if len(different) > 1 and name != "metric"]
    columns = {name: [_plain(cell.get(name)) for cell in cells] for name in names}
    frame = pd.DataFrame(columns, range(len(cells)), dtype=object).convert_dtypes()
    frame = frame.rename(columns=lambda name: _RENAMED.get(name, name.replace("methods.", "method.", 1)))
    variants = [digest(without_seed(of_identity)) if of_identity else None for of_identity, _ in parts]
    return frame.assign(variant=pd.Series(variants, dtype="string"))


def _setups(parts: Sequence[tuple[Mapping[str, Any], ...]]) -> pd.DataFrame:
    """On what the runs ran."""
    return pd.DataFrame(
        {
            **{name: machine.get(name) for name in ("device", "device_name", "threads")},
            "git_commit": git.get("commit"),
            "git_changed": git.get("changed"),
            **{f"version.{package}": version for package, version in versions.items()},
        }
        for machine, versions, git in parts
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _is_option(column: str) -> tuple[bool, str]:
    return not column.startswith("version."), column
