"""Notes below a table, without which its numbers would mislead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hype_bench.config import TIED
from hype_bench.output import counted
from hype_bench.runs.status import DIVERGED, DONE, NOT_SCORED
from hype_bench.tables.cells import Cell, Row
from hype_bench.tasks.sizes import SUBSET

if TYPE_CHECKING:
    import pandas as pd

_NAN = "nan: labels or predictions are constant or not finite, and no correlation is defined; not averaged away"
_CONDITIONAL = (
    "one subset for all seeds ({tasks}): intervals are conditional on it; data.subset_seed=tied draws one for each"
)
_COLLAPSED = "collapsed: the run always gives one class; it is averaged like the others"


@dataclass(frozen=True)
class Note:
    """A line under a table; ``tasks``: the ones it is about."""

    text: str
    tasks: frozenset[str]


def notes_of(runs: pd.DataFrame, rows: Mapping[Row, Mapping[str, Cell]]) -> list[Note]:
    """Generated tasks and subsets first, since they change the meaning of a number; then what is missing, and why.

    Args:
        runs: one row a run, as :func:`hype_bench.runs.frame.tidy` has them.
    """
    notes = [
        _generated(runs),
        _subset(runs),
        conditional(runs),
        *_remarks(rows),
        *_absent(runs),
        _diverged(runs),
        *_legend(rows),
    ]
    return [note for note in notes if note is not None]


def _generated(runs: pd.DataFrame) -> Note | None:
    tasks = sorted(runs.task[runs.generated.fillna(False)].unique())
    if not tasks:
        return None
    what = "is made by a program; its scores say" if len(tasks) == 1 else "are made by a program; their scores say"
    return Note(f"generated: {', '.join(tasks)} {what} nothing about the real task", frozenset(tasks))


def _subset(runs: pd.DataFrame) -> Note | None:
    limited = runs.dropna(subset="subset")
    alike: dict[str, list[str]] = defaultdict(list)
    for task, words in limited.groupby("task", observed=True).subset:
        parts = {part for subset in words.unique() for part in subset.split("; ")}
        alike["; ".join(sorted(parts))].append(str(task))
    named = [f"{', '.join(tasks)} ({words})" for words, tasks in alike.items()]
    tasks = frozenset(limited.task)
    return Note(f"{SUBSET}{', '.join(named)}", tasks) if named else None


def conditional(runs: pd.DataFrame) -> Note | None:
    """Of which tasks a part of the data was drawn once, so that nothing is said about other parts."""
    tasks = sorted(runs.task[has_one_subset(runs)].astype(str).unique())
    return Note(conditional_on(tasks), frozenset(tasks)) if tasks else None


def has_one_subset(runs: pd.DataFrame) -> pd.Series[bool]:
    """Of every run, whether its part of the data was drawn, and once for all seeds."""
    drawn = [words for words in runs.subset.dropna().unique() if "data." in words and TIED not in words]
    return runs.subset.isin(drawn)


def conditional_on(tasks: Iterable[str]) -> str:
    return _CONDITIONAL.format(tasks=", ".join(tasks))


def _remarks(rows: Mapping[Row, Mapping[str, Cell]]) -> list[Note]:
    """Remarks on single cells."""
    remarks: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row, cells in rows.items():
        for task, cell in cells.items():
            for text in cell.remarks:
                remarks[text].append((row.title, task))
    return [
        Note(f"{', '.join(map(' '.join, where))}: {text}", frozenset(task.partition("/")[0] for _, task in where))
        for text, where in remarks.items()
    ]


def _absent(runs: pd.DataFrame) -> list[Note]:
    done = runs[runs.status.isin([DONE, NOT_SCORED])].dropna(subset="absent")
    absent = {
        (task, split) for task, splits in zip(done.task, done.absent, strict=True) for split in splits.split(", ")
    }
    why = "is missing at the source and was not scored"
    return [Note(f"{task}: split {split!r} {why}", frozenset([task])) for task, split in sorted(absent)]


def _diverged(runs: pd.DataFrame) -> Note | None:
    tasks = runs.task[runs.status == DIVERGED]
    if tasks.empty:
        return None
    return Note(f"diverged: {counted(len(tasks), 'run')}, counted and not averaged", frozenset(tasks))


def _legend(rows: Mapping[Row, Mapping[str, Cell]]) -> list[Note]:
    cells = [(column.partition("/")[0], cell) for row in rows.values() for column, cell in row.items()]
    notes = []
    if empty := frozenset(task for task, cell in cells if not cell.n):
        notes.append(Note("X: no score", empty))
    if nan := frozenset(task for task, cell in cells if cell.nans):
        notes.append(Note(_NAN, nan))
    if collapsed := frozenset(task for task, cell in cells if cell.collapsed):
        notes.append(Note(_COLLAPSED, collapsed))
    return notes
