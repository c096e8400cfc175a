"""Groups the runs of a results folder into tables: one per model, a row per method, a column per task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hype_bench.runs.identity import digest
from hype_bench.runs.record import Request
from hype_bench.runs.settings import cached_variant, differing, flat_settings, of_methods, short_names
from hype_bench.runs.status import DONE, RunStatus
from hype_bench.tables.cells import Cell, Row
from hype_bench.tables.notes import Note, notes_of
from hype_bench.tables.same_seed import mixtures, rightful


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
    by_model: dict[str, list[RunStatus]] = defaultdict(list)
    for run in runs:
        if run.about is not None:
            by_model[run.about.label.model].append(run)
    return [_table(model, members) for model, members in sorted(by_model.items())]


def _about(run: RunStatus) -> Request:
    assert run.about is not None
    return run.about


def _table(model: str, runs: list[RunStatus]) -> Table:
    groups: dict[tuple[str, str], dict[str, list[RunStatus]]] = defaultdict(lambda: defaultdict(list))
    variant = cached_variant()
    for run in runs:
        label = _about(run).label
        groups[label.method, label.task][variant(_about(run))].append(run)
    flats = {place: [flat_settings(_about(same[0])) for same in found.values()] for place, found in groups.items()}
    keys = _keys(flats)
    splits = _further_splits(runs)
    rows: dict[Row, dict[str, Cell]] = defaultdict(dict)
    for (method, task), variants in groups.items():
        for (text, members), flat in zip(variants.items(), flats[method, task], strict=True):
            row = Row(method, tuple((name, flat[key]) for key, name in keys[method].items() if key in flat))
            if task in rows[row]:  # they differ in what no word says, such as the 16th digit of a number
                row = Row(method, (*row.settings, ("variant", digest({"parts": text})[:8])))
            rows[row][task] = _cell(members)
            for split in splits[task]:
                rows[row][column(task, split)] = _cell(members, split)
    columns = [name for task in sorted(splits) for name in (task, *(column(task, s) for s in splits[task]))]
    ordered = {row: rows[row] for row in sorted(rows, key=lambda row: row.rank)}
    return Table(model, columns, ordered, notes_of(runs, ordered))


def _keys(flats: Mapping[tuple[str, str], list[dict[str, str]]]) -> dict[str, dict[str, str]]:
    """For each method the settings that its rows name, and how.

    Settings of the training and the data are compared across all methods of a task, so that no two rows look
    comparable that are not; those of a method among its own runs.
    """
    by_task: dict[str, list[dict[str, str]]] = defaultdict(list)
    own: dict[str, set[str]] = defaultdict(set)
    for (method, task), found in flats.items():
        by_task[task] += (of_methods(flat, keep=False) for flat in found)
        own[method] |= differing(of_methods(flat, keep=True) for flat in found)
    shared = sorted(set().union(*map(differing, by_task.values())))
    return {method: short_names([*sorted(keys), *shared]) for method, keys in own.items()}


def _further_splits(runs: list[RunStatus]) -> dict[str, list[str]]:
    """task -> the splits that some run scored beside the first one."""
    splits: dict[str, dict[str, None]] = defaultdict(dict)
    for run in runs:
        further = run.record.scores.further if run.record and run.state == DONE else ()
        splits[_about(run).label.task].update(dict.fromkeys(further))
    return {task: list(found) for task, found in splits.items()}


def column(task: str, split: str) -> str:
    return f"{task}/{split.removeprefix('validation_')}"


def _cell(runs: list[RunStatus], split: str = "") -> Cell:
    counted, notes = rightful(runs)
    cell = Cell(_about(runs[0]).label.metric, odd=notes)
    if copies := len(runs) - len(counted):
        cell.unfinished["not counted"] = copies
    for run in counted:
        score = run.record.scores.get(cell.metric, split) if run.record and run.state == DONE else None
        if score is not None:
            cell.scores[_about(run).label.seed] = score
        else:
            state = "not scored" if run.state == DONE else run.state
            cell.unfinished[state] = cell.unfinished.get(state, 0) + 1
    if mixed := mixtures(run.record for run in counted if run.record is not None):
        cell.odd.append(f"its runs differ in {'; '.join(mixed)}")
    return cell
