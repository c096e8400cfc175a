"""Does a technique help? Against vanilla, against the control that isolates it, on each task and over all of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from hype_bench.controls import VANILLA, Control
from hype_bench.stats.crossed import Crossed, average_difference
from hype_bench.stats.multiple import CORRECTIONS
from hype_bench.stats.verdict import UNDECIDED, Verdict, verdicts
from hype_bench.tables.cells import Row
from hype_bench.tables.compare import Compared, Criteria, Pair, decision_on, in_pairs, without_help
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.table import is_further

_Side = tuple[str, Row]  # block, row


@dataclass(frozen=True)
class Answer:
    """A row against one of its controls.

    ``shares``: what the control has in common with the row, in words, empty for vanilla; ``tasks``: task -> the
    comparison; ``overall``: the verdict on the mean over tasks; ``time``, ``memory``: of training, relative to the
    control, the median over tasks; NaN where they were not measured on one kind of device; ``searched``: the most
    configurations that the row and the control tried on a task.
    """

    block: str
    row: Row
    control: Control
    shares: str
    tasks: dict[str, Compared]
    overall: Verdict
    time: float
    memory: float
    searched: tuple[int, int]

    @property
    def gain(self) -> float:
        """The mean over tasks of the difference, as a fraction; NaN while a task has none."""
        return self.overall.difference.mean


@dataclass(frozen=True)
class Missing:
    """A control that was not run for a row of some tasks."""

    block: str
    row: Row
    control: Control
    tasks: tuple[str, ...]


def answers(
    results: Mapping[Place, Result],
    controls: Mapping[str, Mapping[Control, str]],
    criteria: Criteria,
    only: Control | None = None,
) -> tuple[list[Answer], list[Missing]]:
    """Every row against vanilla and its own controls, in the order of the rows; and the controls that were not run.

    Each control asks a question of its own: the comparisons with it on one task are a family, as are those over
    tasks.

    Args:
        controls: technique -> the controls of its card, each with what it shares; those of the techniques of a row
            count, and vanilla unless it is the row itself.
        only: the control to compare with, in place of these.
    """
    asked, missing = _asked(results, controls, only)
    pairs = {
        control: [(place, results[place], results[base]) for place, base in places] for control, places in asked.items()
    }
    compared = in_pairs(list(pairs.values()), criteria)
    every: list[Answer] = []
    for (control, of_control), cells in zip(pairs.items(), compared, strict=True):
        sides: dict[_Side, list[Pair]] = defaultdict(list)
        for pair in of_control:
            sides[pair[0][:2]].append(pair)
        every += _answers(control, sides, cells, controls, criteria)
    order = list(dict.fromkeys((block, row) for block, row, _ in results))
    return sorted(every, key=lambda answer: order.index((answer.block, answer.row))), missing


def undecided(
    results: Mapping[Place, Result], controls: Mapping[str, Mapping[Control, str]], criteria: Criteria
) -> list[tuple[Place, Place]]:
    """The cells, each with that of a control, between which a test that may stop after any seed has not decided; of
    each task only its first split.

    Args:
        controls: as for :func:`answers`.
    """
    asked, _ = _asked(results, controls, None)
    families: dict[tuple[Control, str, str], list[tuple[Place, Place]]] = defaultdict(list)
    for control, places in asked.items():
        for place, base in places:
            families[control, place[0], place[2]].append((place, base))
    return [
        (place, base)
        for (*_, task), family in families.items()
        if not is_further(task)
        for place, base in family
        if decision_on(results[place], results[base], criteria, len(family)).word == UNDECIDED
    ]


def _asked(
    results: Mapping[Place, Result], controls: Mapping[str, Mapping[Control, str]], only: Control | None
) -> tuple[dict[Control, list[tuple[Place, Place]]], list[Missing]]:
    """Every cell with that of each of its controls, and the controls that were not run. What an analysis measures in
    units of its own is left out: it has no margin, and no direction in which it is better."""
    asked: dict[Control, list[tuple[Place, Place]]] = defaultdict(list)
    missing: dict[tuple[str, Row, Control], list[str]] = defaultdict(list)
    for place, result in results.items():
        block, row, task = place
        for control in _controls(result, controls, only) if result.cell.is_fraction else ():
            if (base := _control_of(place, results, control)) is not None:
                asked[control].append((place, base))
            else:
                missing[block, row, control].append(task)
    return asked, [Missing(*where, tuple(tasks)) for where, tasks in missing.items()]


def _controls(result: Result, controls: Mapping[str, Mapping[Control, str]], only: Control | None) -> Iterator[Control]:
    """Vanilla first; none that is the row itself."""
    method = result.planned[0].method
    own = [control for name in method.split("+") for control in controls.get(name, {})]
    asked = [only] if only else dict.fromkeys([VANILLA, *own])
    yield from (control for control in asked if control != Control(method))


def _control_of(place: Place, results: Mapping[Place, Result], control: Control) -> Place | None:
    """The control's cell beside a cell: of the same block and task, its settings among those of the row."""
    block, row, task = place
    epochs = _epochs(results[place])
    if control.epochs != 1 and epochs is None:
        return None
    wanted = epochs and control.epochs * epochs
    beside = [
        (of_block, other, of_task)
        for (of_block, other, of_task), result in results.items()
        if (of_block, of_task) == (block, task) and result.planned[0].method == control.method
        if _epochs(result) == wanted and _settings(other, control) <= set(row.settings) and other != row
    ]
    return max(beside, key=lambda cell: len(cell[1].settings)) if beside else None


def _epochs(result: Result) -> float | None:
    value = dict(result.planned[0].workload.length).get("training.epochs")
    return None if value is None else float(value)


def _settings(row: Row, control: Control) -> set[tuple[str, str]]:
    """Those in which a control has to agree; a control with other epochs names these."""
    return {(key, value) for key, value in row.settings if control.epochs == 1 or not key.endswith("epochs")}


def _answers(
    control: Control,
    sides: Mapping[_Side, Sequence[Pair]],
    compared: Mapping[Place, Compared],
    controls: Mapping[str, Mapping[Control, str]],
    criteria: Criteria,
) -> list[Answer]:
    by_side = {side: {place[2]: compared[place] for place, _, _ in pairs} for side, pairs in sides.items()}
    blocks: dict[str, list[_Side]] = defaultdict(list)
    for block, row in sides:
        blocks[block].append((block, row))
    overall: dict[_Side, Verdict] = {}
    for of_block in blocks.values():
        means = [_average(by_side[side]) for side in of_block]
        overall |= zip(of_block, verdicts(means, criteria.margin, CORRECTIONS[criteria.correction]), strict=True)
    return [
        Answer(
            *side,
            control,
            _shares(control, pairs[0][1], controls),
            by_side[side],
            without_help(overall[side]) if _gains_by_collapse(by_side[side]) else overall[side],
            *_relative(pairs),
            (max(len(result.candidates) for _, result, _ in pairs), max(len(base.candidates) for *_, base in pairs)),
        )
        for side, pairs in sides.items()
    ]


def _average(cells: Mapping[str, Compared]) -> Crossed:
    """Over the tasks, each by its first split."""
    return average_difference([cell.measured.difference for task, cell in cells.items() if not is_further(task)])


def _gains_by_collapse(cells: Mapping[str, Compared]) -> bool:
    """Whether the mean over tasks is raised by one on which most of the runs have learnt nothing."""
    measured = [cell.measured for task, cell in cells.items() if not is_further(task)]
    return any(cell.collapsed and cell.difference.mean > 0 for cell in measured)


def _shares(control: Control, result: Result, controls: Mapping[str, Mapping[Control, str]]) -> str:
    methods = result.planned[0].method.split("+")
    return next((controls[name][control] for name in methods if control in controls.get(name, {})), "")


def _relative(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Time and memory: the median over tasks of the ratio of the sides' medians."""
    ratios: dict[str, list[float]] = {"train_seconds": [], "peak_memory_bytes": []}
    for _, result, base in pairs:
        sides = [side.shown[["device_name", *ratios]] for side in (result, base)]
        alike = len({name for side in sides for name in side.device_name.dropna()}) == 1
        for column, of_column in ratios.items():
            method, control = (side[column].dropna() for side in sides)
            if alike and len(method) and len(control) and min(method.min(), control.min()) > 0:
                of_column.append(float(method.median() / control.median()))
    time, memory = (median(of_column) if of_column else math.nan for of_column in ratios.values())
    return time, memory
