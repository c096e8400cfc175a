"""Runs as a pandas DataFrame: ``hype_bench.load_results``. docs/results_frame.md describes its columns."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from hype_bench import __version__
from hype_bench.config import ROWS, TIED
from hype_bench.options import UserError
from hype_bench.runs.cache import WORTHWHILE, has_settled, load_table, stamp_of, store_table
from hype_bench.runs.identity import digest
from hype_bench.runs.record import HELDOUT, Record, Request, Scores
from hype_bench.runs.settings import is_tied, options, siblings
from hype_bench.runs.status import DIVERGED, DONE, NOT_SCORED, RunStatus, folder_names, read_runs
from hype_bench.tasks.sizes import part_of_rows

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
    "subset": "category",
    "absent": "category",
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

FILE = "frame.cache"  # of a results folder; it may be deleted at any time, as RecordCache's may

_LABEL = ("model", "task", "method", "seed", "experiment", "generated")
_COSTS = ("updates", "tokens", "peak_memory_bytes")
_label, _costs = attrgetter(*_LABEL), attrgetter(*_COSTS)
_OF_RUN = ("status", "reason", "identity", "path", *_LABEL, *_COSTS, "seconds", "train_seconds")
_OF_SCORE = ("run", "split", "metric", "score", "n", "headline")
_RENAMED = {"model": "checkpoint", "data": "fingerprint"}


def load_results(folders: str | Path | Iterable[str | Path] = "results") -> pd.DataFrame:
    """Every run of one or several results folders: one row a run, split and metric.

    A run without a score (diverged, failed, running, ...) has one row, with its state and a missing score. Scores are
    fractions, as records have them.

    Args:
        folders: results folders, the ``results_dir=`` of the runs.

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
        if len(folders) == 1:
            return _load(Path(folders[0]))
        return tidy([run for folder in folders for run in read_runs(folder)]).reset_index(drop=True)
    finally:
        if was_enabled:
            gc.enable()


def _load(folder: Path) -> pd.DataFrame:
    """One folder's frame: as it was stored, if all of its runs had ended and are as they were."""
    key = _key(folder)
    if key and (table := load_table(folder / FILE, key)) is not None:
        stored: pd.DataFrame = table.to_pandas(use_threads=False)
        return stored.astype(COLUMNS)  # Parquet has no categories of a column without values
    frame = tidy(list(read_runs(folder))).reset_index(drop=True)
    if key and frame.status.isin([DONE, NOT_SCORED, DIVERGED]).all():
        import pyarrow as pa

        store_table(folder / FILE, key, pa.Table.from_pandas(frame, nthreads=1))
    return frame


def _key(folder: Path) -> str:
    """What the frame of a folder depends on; empty if it is small, or a run has not ended or just now."""
    names = folder_names(folder)
    stamps = [stamp_of(f"{folder}/runs/{name}/result.json") for name in names]
    if len(names) < WORTHWHILE or not all(name.isascii() for name in names) or not all(map(has_settled, stamps)):
        return ""
    return repr((str(folder), __version__, COLUMNS, pd.__version__, names, stamps))


def tidy(runs: Sequence[RunStatus]) -> pd.DataFrame:
    """The frame of these runs; its index is the number of the run among them."""
    cells, setups = _Distinct(), _Distinct()
    rows: list[tuple[Any, ...]] = []
    scores: list[tuple[Any, ...]] = []
    for number, run in enumerate(runs):
        about, record = run.about, run.record
        shared = cells.number(*_of_cell(about, record)), setups.number(*_of_setup(record))
        rows.append((*_run_row(run, about, record), *shared))
        scores += _score_rows(number, about, record)
    frame = pd.DataFrame(scores, None, _OF_SCORE).join(pd.DataFrame(rows, None, (*_OF_RUN, "cell", "setup")), on="run")
    of_cells, of_setups = _cells(cells.parts), _setups(setups.parts)
    further = sorted({*of_cells, *of_setups} - COLUMNS.keys(), key=lambda name: (not name.startswith("version."), name))
    frame = frame.join(of_cells, on="cell").join(of_setups, on="setup").set_index("run")
    return frame.reindex(columns=[*COLUMNS, *further]).astype(COLUMNS)


class _Distinct:
    """Numbers parts that many runs share: the same objects have the same number."""

    def __init__(self) -> None:
        self.parts: list[tuple[Any, ...]] = []  # which keeps them alive: an id holds no longer
        self._numbers: dict[tuple[int, ...], int] = {}

    def number(self, *parts: Any) -> int:
        number = self._numbers.setdefault(tuple(map(id, parts)), len(self.parts))
        if number == len(self.parts):
            self.parts.append(parts)
        return number


def _of_cell(about: Request | None, record: Record | None) -> tuple[Any, ...]:
    return about and about.parts, about and about.config, record and record.subset, record and record.absent


def _of_setup(record: Record | None) -> tuple[Any, ...]:
    return (record.machine, record.versions, record.git) if record else ()


def _run_row(run: RunStatus, about: Request | None, record: Record | None) -> tuple[Any, ...]:
    state = run.state if record is None or run.state != DONE or record.headline is not None else NOT_SCORED
    seconds = record.seconds if record else {}
    return (
        *(state, run.reason, run.identity, f"{run.runs}/{run.identity}"),
        *(_label(about.label) if about else [None] * len(_LABEL)),
        *(_costs(record) if record else [None] * len(_COSTS)),
        *(sum(seconds.values()) if seconds else None, seconds.get("train")),
    )


def _score_rows(number: int, about: Request | None, record: Record | None) -> list[tuple[Any, ...]]:
    if about is None:
        return [(number, None, None, None, None, True)]
    scores, n = (record.scores, record.scored_rows) if record else (Scores(), {})
    metric = about.label.metric
    first = _first_split(about, n)
    on_first = scores.first if metric in scores.first else {**scores.first, metric: None}
    rows = [(number, first, name, score, n.get(first), name == metric) for name, score in on_first.items()]
    for split, on_split in (*scores.further.items(), (HELDOUT, scores.heldout)):
        rows += [(number, split, name, score, n.get(split), False) for name, score in on_split.items()]
    return rows


def _first_split(about: Request, n: Mapping[str, int]) -> str:
    if "analysis" in about.parts:  # which names its own
        return next(iter(n), "")
    return (about.task.get("evaluation_splits") or ["validation"])[0]  # type: ignore[no-any-return]


def _cells(parts: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """What the runs of a cell share: its variant, its part of the data, and the options in which some cells differ."""
    cells = [options(of_identity or {}, config or {}) for of_identity, config, _, _ in parts]
    values: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        for name, value in cell.items():
            values[name].add(repr(value))
    names = [name for name, different in values.items() if len(different) > 1 and name != "metric"]
    columns = {name: [_plain(cell.get(name)) for cell in cells] for name in names}
    frame = pd.DataFrame(columns, range(len(cells)), dtype=object).convert_dtypes()
    frame = frame.rename(columns=lambda name: _RENAMED.get(name, name.replace("methods.", "method.", 1)))
    shared: dict[str, list[Any]] = {
        "variant": [digest(siblings(identity, config or {})) if identity else None for identity, config, *_ in parts],
        "subset": [_subset(config or {}, subset or {}) for _, config, subset, _ in parts],
        "absent": [", ".join(splits or ()) or None for *_, splits in parts],
    }
    return frame.assign(**shared)


def _subset(config: Mapping[str, Any], rows_of: Mapping[str, Sequence[int]]) -> str | None:
    """Which part of the data a run is limited to, in words; None if it has all."""
    data = config.get("data", {})
    asked = [f"data.{name}={data[name]}" for name in ROWS if data.get(name)]
    asked += [f"data.subset_seed={TIED}"] if is_tied(config) else []
    return "; ".join([*(part_of_rows(split, *rows) for split, rows in rows_of.items()), *asked]) or None


def _setups(parts: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Machine, software and commit of the runs."""
    rows = []
    for machine, versions, git in (part or ({}, {}, None) for part in parts):
        row = {name: machine.get(name) for name in ("device", "device_name", "threads")}
        row |= {f"git_{name}": (git or {}).get(name) for name in ("commit", "changed")}
        rows.append(row | {f"version.{package}": version for package, version in versions.items()})
    return pd.DataFrame(rows)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
