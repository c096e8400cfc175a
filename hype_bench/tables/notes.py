"""What must be said beside a table, lest its numbers be taken for what they are not."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hype_bench.config import ROWS
from hype_bench.output import counted
from hype_bench.runs.record import Record, Request
from hype_bench.runs.status import DIVERGED, DONE, RunStatus
from hype_bench.tables.cells import Cell, Row
from hype_bench.tasks.sizes import SUBSET, part_of_rows

_NAN = "nan: labels or predictions are constant or not finite, and no correlation is defined; not averaged away"


@dataclass(frozen=True)
class Note:
    """A line under a table; ``tasks``: the ones it is about."""

    text: str
    tasks: frozenset[str]


def notes_of(runs: list[RunStatus], rows: Mapping[Row, Mapping[str, Cell]]) -> list[Note]:
    """Generated tasks and subsets first, since they change what a number means; then what is missing, and why."""
    about = [run.about for run in runs if run.about]
    found = [_generated(about), _subset(about), *_cells(rows), *_not_scored(runs), _diverged(runs), *_legend(rows)]
    return [note for note in found if note is not None]


def _generated(about: Iterable[Request]) -> Note | None:
    tasks = sorted({one.label.task for one in about if one.label.generated})
    if not tasks:
        return None
    what = "is made by a program; its scores say" if len(tasks) == 1 else "are made by a program; their scores say"
    return Note(f"generated: {', '.join(tasks)} {what} nothing about the real task", frozenset(tasks))


def _subset(about: Iterable[Request]) -> Note | None:
    parts: dict[str, set[str]] = defaultdict(set)
    for one in about:
        parts[one.label.task].update(_parts(one))
    alike: dict[str, list[str]] = defaultdict(list)
    for task in sorted(task for task, which in parts.items() if which):
        alike["; ".join(sorted(parts[task]))].append(task)
    named = [f"{', '.join(tasks)} ({which})" for which, tasks in alike.items()]
    tasks = frozenset(itertools.chain(*alike.values()))
    return Note(f"{SUBSET}no more of the data than said of {', '.join(named)}", tasks) if named else None


def _parts(about: Request) -> Iterator[str]:
    if isinstance(about, Record):
        yield from (part_of_rows(split, *rows) for split, rows in about.subset.items())
    yield from (f"data.{key}={about.data[key]}" for key in ROWS if about.data.get(key))


def _cells(rows: Mapping[Row, Mapping[str, Cell]]) -> list[Note]:
    """What is odd about the runs of single cells."""
    odd: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row, cells in rows.items():
        for task, cell in cells.items():
            for text in cell.odd:
                odd[text].append((row.title, task))
    return [
        Note(f"{', '.join(map(' '.join, where))}: {text}", frozenset(task.partition("/")[0] for _, task in where))
        for text, where in odd.items()
    ]


def _not_scored(runs: list[RunStatus]) -> list[Note]:
    records = [run.record for run in runs if run.state == DONE and run.record is not None]
    absent = {(record.label.task, split) for record in records for split in record.absent}
    why = "is not at the source and was not scored"
    return [Note(f"{task}: split {split!r} {why}", frozenset([task])) for task, split in sorted(absent)]


def _diverged(runs: list[RunStatus]) -> Note | None:
    diverged = [run.about.label.task for run in runs if run.state == DIVERGED and run.about]
    if not diverged:
        return None
    return Note(f"diverged: {counted(len(diverged), 'run')}, counted and not averaged", frozenset(diverged))


def _legend(rows: Mapping[Row, Mapping[str, Cell]]) -> list[Note]:
    cells = [(column.partition("/")[0], cell) for row in rows.values() for column, cell in row.items()]
    notes = []
    if empty := frozenset(task for task, cell in cells if not cell.n):
        notes.append(Note("X: no score", empty))
    if nan := frozenset(task for task, cell in cells if cell.nans):
        notes.append(Note(_NAN, nan))
    return notes
