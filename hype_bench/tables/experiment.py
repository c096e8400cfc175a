"""The table of an experiment: its plan says which runs make which cell, a rule says which of them are reported."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from hype_bench.runs.frame import tidy
from hype_bench.runs.record import HELDOUT
from hype_bench.runs.settings import Settings
from hype_bench.runs.status import DIVERGED, DONE, RunStatus
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.tables.cells import AVERAGE, Cell, Row, cells_of, further_splits, on_split
from hype_bench.tables.notes import Note, notes_of
from hype_bench.tables.same_seed import mixtures
from hype_bench.tables.selection import RULES, Candidate, Chosen
from hype_bench.tables.table import Table, column

Place = tuple[str, Row, str]  # block, row, task

_CANDIDATE = ["place", "candidate"]  # planned runs that agree in these differ in the seed alone


@dataclass(frozen=True)
class Result:
    """A cell of an experiment, before it becomes words.

    ``runs``: the planned runs behind it; ``candidates``: one for each of its configurations, in the plan's order;
    ``statuses``: identity -> what became of a run; ``begun``: the same of its own runs, as a frame of one row each;
    ``split``: which one is scored, if it is not the first.
    """

    runs: list[PlannedRun]
    candidates: list[Candidate]
    chosen: Chosen
    statuses: Mapping[str, RunStatus]
    begun: pd.DataFrame
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
    frame = tidy(list(statuses.values()))
    places = _places(plan)
    planned, candidates = _planned(places.values())
    begun = planned.merge(frame[frame.headline].reset_index(), on="identity").set_index("run")
    _fill(candidates, planned, begun, frame)
    chosen = [RULES[rule][0](members) for members in candidates]
    for (place, number), mixture in mixtures(begun[begun.status == DONE], _CANDIDATE).items():
        if candidates[place][number].reported is chosen[place].cell:
            chosen[place].cell.remarks.append(mixture)
    results = {}
    of_place = dict(iter(begun.groupby("place")))
    for number, (place, runs) in enumerate(places.items()):
        begun_here = of_place.get(number, begun[:0])
        result = results[place] = Result(runs, candidates[number], chosen[number], statuses, begun_here)
        for split, cell in result.chosen.further.items():
            of_split = replace(result, chosen=replace(result.chosen, cell=cell), split=split)
            results[*place[:2], column(place[2], split)] = of_split
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


def _planned(places: Iterable[list[PlannedRun]]) -> tuple[pd.DataFrame, list[list[Candidate]]]:
    """The planned runs of every place, each once, by number of the place and of the candidate there; those candidates,
    without runs."""
    rows: list[tuple[int, int, str]] = []
    candidates: list[list[Candidate]] = []
    for place, runs in enumerate(places):
        numbers: dict[Settings, int] = {}
        members: list[Candidate] = []
        candidates.append(members)
        for run in runs:
            number = numbers.setdefault(tuple(run.configuration.items()), len(members))
            if number == len(members):
                cells = Cell(run.metric), Cell(run.metric)
                members.append(Candidate(run.configuration, *cells, is_default=run.is_default))
            rows.append((place, number, run.identity))
    planned = pd.DataFrame(rows, columns=[*_CANDIDATE, "identity"])
    return planned[(planned.identity == "") | ~planned.duplicated()], candidates  # two grids may have the same run


def _fill(candidates: list[list[Candidate]], planned: pd.DataFrame, begun: pd.DataFrame, frame: pd.DataFrame) -> None:
    """Gives the candidates their scores. Of two done runs of one seed the first counts: nobody knows which is meant."""
    for place, number in zip(planned.place, planned.candidate, strict=True):
        candidates[place][number].planned += 1
    done = (begun.status == DONE).astype(int)
    earlier = done.groupby([begun[name] for name in (*_CANDIDATE, "seed")]).cumsum() - done
    runs = begun.assign(status=begun.status.astype(object).mask(earlier > 0, "of the same seed"))
    for (place, number), cell in cells_of(runs, _CANDIDATE).items():
        cell.metric = candidates[place][number].reported.metric
        candidates[place][number].reported = cell
    for split in (HELDOUT, *further_splits(frame)):
        for (place, number), cell in cells_of(on_split(runs, frame, split), _CANDIDATE).items():
            if split == HELDOUT:
                candidates[place][number].heldout = cell
            elif cell.n:
                candidates[place][number].further[split] = cell


def experiment_tables(plan: Plan, results: Mapping[Place, Result]) -> list[Table]:
    """A table per block: rows and tasks in the order of the plan, and the mean over tasks if there are several."""
    blocks: dict[str, dict[Row, dict[str, Result]]] = defaultdict(lambda: defaultdict(dict))
    for (block, row, task), result in results.items():
        blocks[block][row][task] = result
    return [_table(block, rows, plan) for block, rows in blocks.items()]


def _table(block: str, results: dict[Row, dict[str, Result]], plan: Plan) -> Table:
    rows = {row: {task: result.chosen.cell for task, result in of_row.items()} for row, of_row in results.items()}
    tasks = list(dict.fromkeys(task for cells in rows.values() for task in cells))
    if len(tasks) > 1:
        for cells in rows.values():
            cells[AVERAGE] = _average([cells.get(task) for task in tasks])
    begun = pd.concat([result.begun for of_row in results.values() for result in of_row.values()])
    notes = notes_of(begun.drop_duplicates("identity"), rows)
    notes += [*_unreachable(plan, block), *_configurations(results)]
    return Table(block, [*tasks, AVERAGE] if len(tasks) > 1 else tasks, rows, notes)


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
