"""The table of an experiment: its plan says which runs make which cell, a rule says which of them are reported."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hype_bench.runs.record import Scores
from hype_bench.runs.settings import Settings
from hype_bench.runs.status import DIVERGED, DONE, RunStatus
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.tables.cells import AVERAGE, Cell, Row
from hype_bench.tables.notes import Note, notes_of
from hype_bench.tables.same_seed import mixtures
from hype_bench.tables.selection import RULES, Candidate, Chosen
from hype_bench.tables.table import Table, column

Place = tuple[str, Row, str]  # block, row, task


@dataclass(frozen=True)
class Result:
    """A cell of an experiment, before it becomes words.

    ``runs``: the planned runs behind it; ``candidates``: one for each of its configurations, in the plan's order;
    ``statuses``: identity -> what became of a run; ``split``: which one is scored, if it is not the first.
    """

    runs: list[PlannedRun]
    candidates: list[Candidate]
    chosen: Chosen
    statuses: Mapping[str, RunStatus]
    split: str = ""

    @property
    def whole_means(self) -> list[float]:
        """The mean scores of the configurations of which every planned seed has a finite score."""
        cells = [one.further.get(self.split, Cell("")) if self.split else one.reported for one in self.candidates]
        whole = zip(cells, self.candidates, strict=True)
        return [cell.mean for cell, candidate in whole if cell.finite == candidate.planned]

    def reported(self) -> dict[int, PlannedRun]:
        """seed -> the run of the configuration that is reported."""
        return {run.seed: run for run in self.runs if run.configuration == self.chosen.configuration}

    def shown(self) -> dict[int, RunStatus]:
        """seed -> the run whose score the cell shows."""
        scores = self.chosen.cell.scores
        return {seed: self.statuses[run.identity] for seed, run in self.reported().items() if seed in scores}


def results(plan: Plan, statuses: Mapping[str, RunStatus], rule: str) -> dict[Place, Result]:
    """Every cell of the plan: block by block and row by row, in the order in which the plan first names them.

    Args:
        statuses: identity -> what became of the run; one that is not there has not begun.
        rule: a key of :data:`hype_bench.tables.selection.RULES`.
    """
    alike: dict[tuple[str, str, Settings, str], list[PlannedRun]] = defaultdict(list)  # 100,000 Rows would take long
    for run in plan.runs:
        alike[run.block, run.row or run.method, tuple(run.settings.items()), run.task].append(run)
    places = {(block, Row(name, settings), task): runs for (block, name, settings, task), runs in alike.items()}
    select = RULES[rule][0]
    found = {}
    blocks, rows = (list(dict.fromkeys(place[part] for place in places)) for part in (0, 1))
    for place in sorted(places, key=lambda place: (blocks.index(place[0]), rows.index(place[1]))):
        runs = places[place]
        candidates = _candidates(runs, statuses)
        chosen = select(candidates)
        result = found[place] = Result(runs, candidates, chosen, statuses)
        if mixed := mixtures(run.record for run in result.shown().values() if run.record is not None):
            chosen.cell.odd.append(f"its runs differ in {'; '.join(mixed)}")
        for split, cell in chosen.further.items():
            of_split = replace(chosen, cell=cell)
            found[*place[:2], column(place[2], split)] = Result(runs, candidates, of_split, statuses, split)
    return found


def experiment_tables(plan: Plan, statuses: Mapping[str, RunStatus], found: Mapping[Place, Result]) -> list[Table]:
    """A table per block: rows and tasks in the order of the plan, and the mean over tasks if there are several."""
    blocks: dict[str, dict[Row, dict[str, Result]]] = defaultdict(lambda: defaultdict(dict))
    for (block, row, task), result in found.items():
        blocks[block][row][task] = result
    return [_table(block, results, plan, statuses) for block, results in blocks.items()]


def _table(block: str, results: dict[Row, dict[str, Result]], plan: Plan, statuses: Mapping[str, RunStatus]) -> Table:
    rows = {row: {task: result.chosen.cell for task, result in of_row.items()} for row, of_row in results.items()}
    tasks = list(dict.fromkeys(task for cells in rows.values() for task in cells))
    if len(tasks) > 1:
        for cells in rows.values():
            cells[AVERAGE] = _average([cells.get(task) for task in tasks])
    wanted = {run.identity for run in plan.runs if run.block == block}
    begun = [status for name, status in statuses.items() if name in wanted]
    notes = notes_of([run for run in begun if run.about], rows)
    notes += [*_unreachable(plan, block), *_configurations(results)]
    return Table(block, [*tasks, AVERAGE] if len(tasks) > 1 else tasks, rows, notes)


def _candidates(runs: list[PlannedRun], statuses: Mapping[str, RunStatus]) -> list[Candidate]:
    candidates: dict[tuple[tuple[str, str], ...], Candidate] = {}
    planned: set[tuple[tuple[tuple[str, str], ...], str]] = set()
    for run in runs:
        key = tuple(run.configuration.items())
        if key not in candidates:
            new = Candidate(run.configuration, Cell(run.metric), Cell(run.metric), is_default=run.is_default)
            candidates[key] = new
        candidate, status = candidates[key], statuses.get(run.identity)
        if run.identity and (key, run.identity) in planned:  # two grids of the plan have it
            continue
        planned.add((key, run.identity))
        candidate.planned += 1
        scores = status.record.scores if status and status.record and status.state == DONE else Scores()
        is_second = run.seed in candidate.reported.scores  # nobody knows which of the two is meant
        if run.metric in scores.first and not is_second:
            candidate.reported.scores[run.seed] = scores.first[run.metric]
        elif status is not None:
            state = "of the same seed" if is_second else "not scored" if status.state == DONE else status.state
            candidate.reported.unfinished[state] = candidate.reported.unfinished.get(state, 0) + 1
        if not is_second:
            _add(candidate, run, scores)
    return list(candidates.values())


def _add(candidate: Candidate, run: PlannedRun, scores: Scores) -> None:
    """Scores on the splits beside the first one."""
    if run.metric in scores.heldout:
        candidate.heldout.scores[run.seed] = scores.heldout[run.metric]
    for split, of_split in scores.further.items():
        if run.metric in of_split:
            candidate.further.setdefault(split, Cell(run.metric)).scores[run.seed] = of_split[run.metric]


def _average(cells: list[Cell | None]) -> Cell:
    """The mean over tasks of their means; it has no spread of its own and is not shown while one is missing."""
    average = Cell(AVERAGE)
    means = [math.nan if cell is None or cell.missing or not cell.n else cell.mean for cell in cells]
    if any(map(math.isnan, means)):
        average.missing = f"{sum(not math.isnan(mean) for mean in means)} of {len(means)} tasks"
    else:
        average.scores[0] = math.fsum(means) / len(means)
    return average


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
        row.title: len({tuple(one.configuration.items()) for result in of_row.values() for one in result.candidates})
        for row, of_row in results.items()
    }
    if max(tried.values()) == 1:
        return []
    return [Note("configurations: " + "; ".join(f"{title} {n}" for title, n in tried.items()), frozenset())]


def collapsed(statuses: Mapping[str, RunStatus]) -> int:
    """Runs whose loss was no longer finite."""
    return sum(status.state == DIVERGED for status in statuses.values())
