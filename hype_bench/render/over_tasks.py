"""Rows over all tasks, as sheets below a table and as columns of its CSV."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from hype_bench.output import counted
from hype_bench.render.sheet import Pieces, Sheet, difference, p_value
from hype_bench.render.table_csv import difference_numbers, interval, number
from hype_bench.tables.cells import AVERAGE, Cell, Row
from hype_bench.tables.experiment import Place, average_of
from hype_bench.tables.over_tasks import OverTasks, Ranking

_COLUMNS = [
    ("difference", "95 % interval"),
    ("P(improvement)", "95 % interval"),
    ("tasks better", "won at least"),
]
_NOTE = (
    "over the tasks on which both have pairs of runs: mean difference and mean probability that a run of the row is "
    "better than one of {baseline}, each with an interval over other seeds on these same tasks (Student's, "
    "Satterthwaite's degrees of freedom); tasks better: with the higher mean; won at least: on so many with 95 % "
    "certainty (Dror et al. 2017)"
)
_RANK_COLUMNS = [("mean rank", ""), (AVERAGE, "95 % interval")]
_RANK_NOTE = (
    "mean rank over {tasks}, 1 is best; that all rows are alike has p {p} (Friedman, by permutation of ranks within "
    "tasks); rows whose mean ranks differ by less than {critical:.2f} are not told apart (Nemenyi, 0.05): the tasks "
    "are the sample here, and few of them tell little; the interval is about other seeds on these same tasks"
)


def over_tasks_sheets(rows: Mapping[tuple[str, Row], OverTasks], baseline: str) -> list[Sheet]:
    blocks: dict[str, list[tuple[str, list[Pieces]]]] = defaultdict(list)
    for (block, row), cell in rows.items():
        blocks[block].append((f"{row.title}, {counted(len(cell.tasks), 'task')}", _pieces(cell)))
    kind, note = f"over tasks against {baseline}, model", _NOTE.format(baseline=baseline)
    return [Sheet(block, _COLUMNS, lines, [note], kind=kind) for block, lines in blocks.items()]


def _pieces(cell: OverTasks) -> list[Pieces]:
    improvement = cell.improvement
    ends = "" if math.isnan(improvement.low) else f" [{improvement.low:.2f}, {improvement.high:.2f}]"
    return [
        difference(*cell.difference[:3]),
        (f"{improvement.mean:.2f}", "", ends),
        (f"{cell.better:g} of {len(cell.tasks)}", "", f" ({cell.won})"),
    ]


def over_tasks_numbers(baseline: str, cell: OverTasks) -> dict[str, object]:
    gap, improvement = cell.difference, cell.improvement
    return {
        "baseline": baseline,
        **difference_numbers(gap.mean, gap.low, gap.high),
        "p_improvement": improvement.mean,
        "p_improvement_low": number(improvement.low),
        "p_improvement_high": number(improvement.high),
        "tasks_compared": len(cell.tasks),
        "tasks_better": cell.better,
        "tasks_won": cell.won,
    }


def ranks_sheet(block: str, ranking: Ranking) -> Sheet:
    lines = [(row.title, [(f"{rank:.2f}", "", ""), _average(cells)]) for row, (rank, cells) in ranking.rows.items()]
    p = p_value(ranking.p)
    notes = [_RANK_NOTE.format(tasks=counted(len(ranking.tasks), "task"), p=p, critical=ranking.critical)]
    notes += [f"left out, without a number on every task: {', '.join(ranking.left_out)}"] if ranking.left_out else []
    return Sheet(block, _RANK_COLUMNS, lines, notes, kind="by ranks, model")


def _average(cells: list[Cell]) -> Pieces:
    average = average_of(cells)
    ends = interval(average)
    return f"{100 * average.mean:.2f}", "", "" if ends is None else f" [{100 * ends[0]:.2f}, {100 * ends[1]:.2f}]"


def ranks_numbers(rankings: Mapping[str, Ranking]) -> dict[Place, dict[str, object]]:
    """In the lines of the averages."""
    return {
        (block, row, AVERAGE): {
            "mean_rank": rank,
            "critical_difference": ranking.critical,
            "p_friedman": number(ranking.p),
        }
        for block, ranking in rankings.items()
        for row, (rank, _) in ranking.rows.items()
    }
