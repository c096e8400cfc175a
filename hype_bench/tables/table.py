"""Groups the runs of a results folder into tables: one per model, a row per method, a column per task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hype_bench.runs.identity import digest
from hype_bench.runs.record import Request
from hype_bench.runs.settings import differing, flat_settings, of_methods, short_names
from hype_bench.runs.status import RunStatus
from hype_bench.tables.cells import Cell, Row, cells_of, further_splits
from hype_bench.tables.notes import Note, notes_of
from hype_bench.tables.same_seed import mixtures, without_copies

if TYPE_CHECKING:
    import pandas as pd

_CELL = ["method", "task", "variant"]  # runs that agree in these make a cell

_Place = tuple[str, str, str]  # values of those
_Flat = Mapping[str, str]  # setting -> value, as text


@dataclass(frozen=True)
class Table:
    """``columns``: a task, or ``task/split`` for a split that is scored beside the first one (MNLI-mm)."""

    model: str
    columns: list[str]
    rows: dict[Row, dict[str, Cell]]
    notes: list[Note]

    def metric(self, column: str) -> str:
        return " or ".join(sorted({cells[column].metric for cells in self.rows.values() if column in cells}))


def build_tables(runs: Iterable[RunStatus]) -> list[Table]:
    """Tables of every run whose record or request can be read, in order of the models' names."""
    from hype_bench.runs.frame import tidy  # pandas: only who makes a table waits for it

    readable = [run for run in runs if run.about is not None]
    frame = tidy(readable)
    return [_table(str(model), members, readable) for model, members in frame.groupby("model", observed=True)]


def _table(model: str, frame: pd.DataFrame, statuses: Sequence[RunStatus]) -> Table:
    all_runs = frame[frame.headline]
    variants = all_runs.variant.drop_duplicates()
    flats = {variant: flat_settings(_about(statuses[n])) for n, variant in zip(variants.index, variants, strict=True)}
    runs, remarks = without_copies(all_runs, _CELL, lambda number: _is_own(statuses[number]))
    for place, mixture in mixtures(runs, _CELL).items():
        remarks[place].append(mixture)
    names = _rows(runs[_CELL].drop_duplicates().itertuples(index=False, name=None), flats)
    rows: dict[Row, dict[str, Cell]] = defaultdict(dict)
    columns: list[str] = []
    for task in sorted(frame.task.unique()):
        splits = further_splits(frame[frame.task == task])
        columns += [column(task, split) for split in ("", *splits)]
        for place, by_split in cells_of(runs[runs.task == task], _CELL, frame, splits).items():
            for split, cell in by_split.items():
                cell.remarks += remarks[place]
                rows[names[place]][column(task, split)] = cell
    ordered = {row: rows[row] for row in sorted(rows, key=lambda row: row.rank)}
    return Table(model, columns, ordered, notes_of(all_runs, ordered))


def _rows(places: Iterable[_Place], flats: Mapping[str, _Flat]) -> dict[_Place, Row]:
    """The row of every cell, named by the settings in which it differs from others."""
    places = list(places)
    names = _names(places, flats)
    rows: dict[_Place, Row] = {}
    taken: set[tuple[Row, str]] = set()
    for method, task, variant in places:
        flat = flats[variant]
        row = Row(method, tuple((name, flat[key]) for key, name in names[method].items() if key in flat))
        if (row, task) in taken:  # they differ in something that is not named, such as the 16th digit of a number
            row = Row(method, (*row.settings, ("variant", variant[:8])))
        taken.add((row, task))
        rows[method, task, variant] = row
    return rows


def _names(places: Iterable[_Place], flats: Mapping[str, _Flat]) -> dict[str, dict[str, str]]:
    """For each method the settings that its rows name, and how.

    Settings of the training and the data are compared across all methods of a task, so that no two rows look
    comparable that are not; those of a method among its own runs on a task.
    """
    of_task: dict[str, list[_Flat]] = defaultdict(list)
    of_method: dict[tuple[str, str], list[_Flat]] = defaultdict(list)
    for method, task, variant in places:
        of_task[task].append(of_methods(flats[variant], keep=False))
        of_method[method, task].append(of_methods(flats[variant], keep=True))
    shared = sorted(set().union(*map(differing, of_task.values())))
    own: dict[str, set[str]] = defaultdict(set)
    for (method, _), members in of_method.items():
        own[method] |= differing(members)
    return {method: short_names([*sorted(keys), *shared]) for method, keys in own.items()}


def _is_own(run: RunStatus) -> bool:
    """Whether it lies in the folder that is named by its identity."""
    about = _about(run)
    return run.identity == digest({**about.parts, "seed": about.label.seed})


def _about(run: RunStatus) -> Request:
    assert run.about is not None
    return run.about


def column(task: str, split: str) -> str:
    return f"{task}/{split.removeprefix('validation_')}" if split else task
