"""Groups the runs of a results folder into tables: one per model, a row per method, a column per task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hype_bench.runs.identity import digest
from hype_bench.runs.record import Request
from hype_bench.runs.status import DONE, RunStatus
from hype_bench.tables.cells import Cell, Row, cells_of, further_splits
from hype_bench.tables.notes import Note, notes_of
from hype_bench.tables.rows import flat_settings, rows_of
from hype_bench.tables.same_predictions import same_predictions
from hype_bench.tables.same_seed import mixtures, without_copies

if TYPE_CHECKING:
    import pandas as pd

CELL = ["method", "task", "variant"]  # runs that agree in these make a cell


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
    row_of = named_rows(all_runs, statuses)
    runs, remarks = without_copies(all_runs, CELL, lambda number: is_own(statuses[number]))
    for place, mixture in mixtures(runs, CELL).items():
        remarks[place].append(mixture)
    rows: dict[Row, dict[str, Cell]] = defaultdict(dict)
    columns: list[str] = []
    for task in sorted(frame.task.unique()):
        splits = further_splits(frame[frame.task == task])
        columns += [column(task, split) for split in ("", *splits)]
        for place, by_split in cells_of(runs[runs.task == task], CELL, frame, splits).items():
            for split, cell in by_split.items():
                cell.remarks += remarks[place]
                rows[row_of[place]][column(task, split)] = cell
    ordered = {row: rows[row] for row in sorted(rows, key=lambda row: row.rank)}
    places = {(row, place[1]): place for place, row in row_of.items()}
    notes = notes_of(all_runs, ordered)
    notes += same_predictions(ordered, lambda row, column: _paths(runs, places[row, column.partition("/")[0]]))
    return Table(model, columns, ordered, notes)


def _paths(runs: pd.DataFrame, place: tuple[Any, ...]) -> dict[int, str]:
    """The folders of a cell's done runs by seed."""
    done = runs[(runs[CELL] == list(place)).all(axis=1) & (runs.status == DONE)]
    return dict(zip(done.seed.tolist(), done.path.tolist(), strict=True))


def named_rows(runs: pd.DataFrame, statuses: Sequence[RunStatus]) -> dict[tuple[Any, ...], Row]:
    """The row of every cell: one of :data:`CELL`'s values -> its method and the settings in which it differs.

    Args:
        runs: of one model, their headline scores as :func:`hype_bench.runs.frame.tidy` has them.
        statuses: those runs by their number in the frame.
    """
    variants = runs.variant.drop_duplicates()
    flats = {variant: flat_settings(_about(statuses[n])) for n, variant in zip(variants.index, variants, strict=True)}
    return {**rows_of(runs[CELL].drop_duplicates().itertuples(index=False, name=None), flats)}


def is_own(run: RunStatus) -> bool:
    """Whether it lies in the folder that is named by its identity."""
    about = _about(run)
    return run.identity == digest({**about.parts, "seed": about.label.seed})


def _about(run: RunStatus) -> Request:
    assert run.about is not None
    return run.about


def column(task: str, split: str) -> str:
    return f"{task}/{split.removeprefix('validation_')}" if split else task


def is_further(column: str) -> bool:
    """Whether it shows a split that is scored beside the first one of its task, by the same runs."""
    return "/" in column
