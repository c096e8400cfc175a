"""The table of an experiment: its plan says which runs make which cell, a rule says which of them are reported."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hype_bench.runs.frame import tidy
from hype_bench.runs.record import HELDOUT
from hype_bench.runs.settings import Settings
from hype_bench.runs.status import DIVERGED, DONE, RunStatus
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.tables.cells import AVERAGE, Cell, Row, cells_of, further_splits
from hype_bench.tables.notes import Note, notes_of
from hype_bench.tables.same_predictions import same_predictions
from hype_bench.tables.same_seed import mixtures
from hype_bench.tables.selection import RULES, Candidate, Chosen
from hype_bench.tables.table import Table, column, is_further

Place = tuple[str, Row, str]  # block, row, task

_CANDIDATE = ["place", "candidate"]  # planned runs that agree in these differ in the seed alone


@dataclass(frozen=True)
class Result:
    """A cell of an experiment, before it becomes words.

    ``planned``: the runs behind it; ``candidates``: one for each of its configurations, in the plan's order;
    ``frame``: a row for every run of the plan that has started, as :func:`hype_bench.runs.frame.tidy` has them;
    ``rows``: the numbers of its own rows; ``statuses``: identity -> what became of the run;
    ``rule``: by which one of them is chosen; ``split``: which one is scored, if it is not the first.
    """

    planned: list[PlannedRun]
    candidates: list[Candidate]
    chosen: Chosen
    frame: pd.DataFrame
    rows: NDArray[np.intp]
    statuses: Mapping[str, RunStatus]
    rule: str
    split: str = ""

    @property
    def cell(self) -> Cell:
        """What the rule reports."""
        return self.chosen.cell

    @property
    def runs(self) -> pd.DataFrame:
        """The planned runs of the cell that have started."""
        return self.frame.take(self.rows)

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The runs of which the cell shows the score, by seed."""
        chosen = [run.identity for run in self.planned if run.configuration == self.chosen.configuration]
        runs = self.runs
        done = runs[(runs.status == DONE) & runs.identity.isin(chosen)]
        runs = done[done.seed.isin(list(self.cell.scores))].set_index("seed")
        return runs.assign(score=[self.cell.scores[seed] for seed in runs.index])


def results(plan: Plan, statuses: Mapping[str, RunStatus], rule: str) -> dict[Place, Result]:
    """Every cell of the plan: block by block and row by row, in the order in which the plan first names them.

    Args:
        statuses: identity -> what became of the run; one that is not there has not started.
        rule: a key of :data:`hype_bench.tables.selection.RULES`.
    """
    frame, places = tidy(list(statuses.values())), _places(plan)
    searches = [_search(planned) for planned in places.values()]
    members = [
        (place, n, name) for place, search in enumerate(searches) for n, alike in enumerate(search) for name in alike
    ]
    candidate_of = pd.DataFrame(members, columns=[*_CANDIDATE, "identity"])
    runs = candidate_of.merge(frame[frame.headline].reset_index(), on="identity").set_index("run")
    cells, rows_of = _cells(runs, frame), runs.groupby("place").indices
    results = {}
    for number, ((block, row, task), planned) in enumerate(places.items()):
        candidates = [_candidate(alike, cells[number, n]) for n, alike in enumerate(searches[number])]
        chosen = RULES[rule][0](candidates)
        own = np.asarray(rows_of.get(number, ()), np.intp)
        result = Result(planned, candidates, chosen, runs, own, statuses, rule)
        for split, cell in {"": chosen.cell, **chosen.further}.items():
            of_split = replace(result, chosen=replace(chosen, cell=cell), split=split)
            results[block, row, column(task, split)] = of_split
    return results


def _places(plan: Plan) -> dict[Place, list[PlannedRun]]:
    """The planned runs of every cell, block by block and row by row."""
    alike: dict[tuple[str, str, Settings, str], list[PlannedRun]] = defaultdict(list)  # 100,000 Rows would take long
    for run in plan.runs:
        alike[run.block, run.row or run.method, tuple(run.settings.items()), run.task].append(run)
    places = {(block, Row(name, settings), task): runs for (block, name, settings, task), runs in alike.items()}
    blocks, rows = (list(dict.fromkeys(place[part] for place in places)) for part in (0, 1))
    order = sorted(places, key=lambda place: (blocks.index(place[0]), rows.index(place[1])))
    return {place: places[place] for place in order}


def _search(runs: list[PlannedRun]) -> list[dict[str, PlannedRun]]:
    """The runs of each configuration by identity, or by what starts them; two grids may have the same run."""
    search: dict[Settings, dict[str, PlannedRun]] = defaultdict(dict)
    for run in runs:
        search[tuple(run.configuration.items())].setdefault(run.identity or run.title, run)
    return list(search.values())


def _cells(runs: pd.DataFrame, frame: pd.DataFrame) -> dict[tuple[int, int], dict[str, Cell]]:
    """Candidate -> split -> cell. Of two done runs of one seed the first counts: nobody knows which is meant."""
    done = (runs.status == DONE).astype(int)
    earlier = done.groupby([runs[name] for name in (*_CANDIDATE, "seed")]).cumsum() - done
    counted = runs.assign(status=runs.status.astype(object).mask(earlier > 0, "of the same seed"))
    cells = cells_of(counted, _CANDIDATE, frame, (HELDOUT, *further_splits(frame)))
    for candidate, mixture in mixtures(runs[runs.status == DONE], _CANDIDATE).items():
        cells[candidate][""].remarks.append(mixture)
    return cells


def _candidate(alike: Mapping[str, PlannedRun], cells: Mapping[str, Cell]) -> Candidate:
    first = next(iter(alike.values()))
    reported, heldout = (cells.get(split, Cell(first.metric)) for split in ("", HELDOUT))
    further = {split: cell for split, cell in cells.items() if split not in ("", HELDOUT) and cell.n}
    reported.metric = first.metric
    return Candidate(first.configuration, reported, heldout, further, len(alike), first.is_default)


def experiment_tables(plan: Plan, results: Mapping[Place, Result]) -> list[Table]:
    """A table per block: rows and tasks in the order of the plan, and the mean over tasks if there are several."""
    blocks: dict[str, dict[Row, dict[str, Result]]] = defaultdict(lambda: defaultdict(dict))
    for (block, row, task), result in results.items():
        blocks[block][row][task] = result
    return [_table(block, rows, plan) for block, rows in blocks.items()]


def _table(block: str, results: dict[Row, dict[str, Result]], plan: Plan) -> Table:
    rows = {row: {task: result.cell for task, result in of_row.items()} for row, of_row in results.items()}
    tasks = list(dict.fromkeys(task for cells in rows.values() for task in cells))
    of_block = [result for of_row in results.values() for result in of_row.values()]
    averaged = _averaged(tasks, of_block)
    if len(averaged) > 1:
        for cells in rows.values():
            cells[AVERAGE] = _average([cells.get(task) for task in averaged])
    runs = of_block[0].frame.take(np.unique(np.concatenate([result.rows for result in of_block])))
    notes = notes_of(runs.drop_duplicates("identity"), rows)
    notes += same_predictions(rows, lambda row, column: dict(results[row][column].shown.path))
    notes += [*_unreachable(plan, block), *_configurations(results)]
    return Table(block, [*tasks, AVERAGE] if len(averaged) > 1 else tasks, rows, notes)


def _averaged(tasks: Sequence[str], results: Iterable[Result]) -> list[str]:
    """The columns that the average is of: of an analysis the first, as those beside it measure something else; none of
    several analyses, which have no unit in common."""
    analyses = {run.analysis for result in results for run in result.planned}
    if analyses == {""}:
        return list(tasks)
    return [task for task in tasks if not is_further(task)] if len(analyses) == 1 else []


def _average(cells: list[Cell | None]) -> Cell:
    """It is not shown while the mean of a task is missing."""
    whole = [cell for cell in cells if cell is not None and not math.isnan(cell.mean)]
    return (
        average_of(whole) if len(whole) == len(cells) else Cell(AVERAGE, missing=f"{len(whole)} of {len(cells)} tasks")
    )


def average_of(cells: list[Cell]) -> Cell:
    """The mean over tasks of their means."""
    return Cell(AVERAGE, {0: math.fsum(cell.mean for cell in cells) / len(cells)}, tasks=cells)


def _unreachable(plan: Plan, block: str) -> list[Note]:
    """Why some runs of the plan cannot even be told from others."""
    problems: dict[str, set[str]] = defaultdict(set)
    for run in plan.runs:
        if run.problem and run.block == block:
            problems[run.problem].add(run.task)
    return [Note(f"{', '.join(sorted(tasks))}: {problem}", frozenset(tasks)) for problem, tasks in problems.items()]


def _configurations(results: dict[Row, dict[str, Result]]) -> list[Note]:
    """How much search each row got, where it is not the same for all."""
    tried = {
        row.title: len(
            {tuple(candidate.configuration.items()) for result in of_row.values() for candidate in result.candidates}
        )
        for row, of_row in results.items()
    }
    if max(tried.values()) == 1:
        return []
    return [Note("configurations: " + "; ".join(f"{title} {n}" for title, n in tried.items()), frozenset())]


def collapsed(statuses: Mapping[str, RunStatus]) -> int:
    """Runs whose loss was no longer finite."""
    return sum(status.state == DIVERGED for status in statuses.values())
