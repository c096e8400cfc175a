"""A table beside the one that the paper printed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hype_bench.options import UserError
from hype_bench.paper.published import Published
from hype_bench.paper.published import table as published_table
from hype_bench.paper.setting import contradictions
from hype_bench.stats.means import Difference, difference_of_means
from hype_bench.stats.verdict import MARGIN
from hype_bench.sweeps.planned import ALL, Plan, PlannedRun
from hype_bench.tables.cells import INFERENCE_FROM, Cell, Row
from hype_bench.tables.experiment import Place, Result

PAPER = "paper"
AGREES, DIFFERS, UNDECIDED, UNKNOWN, OTHER_SETTING = "agrees", "differs", "undecided", "-", "other setting"

_TASKS = {"mnli/mismatched": "mnli_mm"}  # a column here, a task of its own there
_NO_DIFFERENCE = Difference(math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class BesidePaper:
    """A cell here and in the paper.

    ``other``: in which settings the runs here differ from the paper's, so that the two are not compared;
    ``difference``: here minus the paper, as fractions, with Welch's 95 % interval; NaN where it cannot be given;
    ``verdict``: agrees, if the difference is shown to lie within the margin; differs, if the interval leaves 0 out.
    """

    cell: Cell
    printed: Published
    other: list[str] = field(default_factory=list)
    difference: Difference = _NO_DIFFERENCE
    verdict: str = UNKNOWN


def against_paper(plan: Plan, results: Mapping[Place, Result], margin: float = MARGIN) -> dict[Place, BesidePaper]:
    """Every cell that the paper printed too; one whose runs are of another setting is not compared.

    Args:
        margin: a difference below it does not matter, as a fraction.

    Raises:
        UserError: the experiment regenerates no table of the paper.
    """
    if plan.table is None:
        what = "all runs regenerate" if plan.name == ALL else f"{plan.key} regenerates"
        raise UserError(f"{what} no table of the paper: nothing to compare with")
    published = published_table(plan.table)
    printed = {
        (block, row, task): printed_cell(published, replace(result.planned[0], task=task), row)
        for (block, row, task), result in results.items()
    }
    return {place: _beside(results[place], cell, margin) for place, cell in printed.items() if cell is not None}


def printed_cell(printed: list[Published], run: PlannedRun, row: Row) -> Published | None:
    """The printed cell of the same model, task and method, or of the row's own name, whose settings do not contradict
    the row's; of several the one that says most of what the row says. None if the paper has no such cell."""
    own, task = dict(row.settings), _TASKS.get(run.task, run.task)
    fitting = [
        (sum(key in own for key in cell.setting), cell)
        for cell in printed
        if (cell.model, cell.task) == (run.model, task)
        and "split" not in cell.setting  # a score on the test server is not one on the dev set
        and (cell.row == run.row if run.row else cell.method == run.method)
        and all(_same(own[key], value) for key, value in cell.setting.items() if key in own)
    ]
    most = max((shared for shared, _ in fitting), default=0)
    best = [cell for shared, cell in fitting if shared == most]
    return best[0] if len(best) == 1 else None


def _beside(result: Result, printed: Published, margin: float) -> BesidePaper:
    cell = result.cell
    if other := _other_settings(result, printed):
        return BesidePaper(cell, printed, other, verdict=OTHER_SETTING)
    if not cell.n or math.isnan(cell.mean) or cell.lacks:  # survivors of a divergence are no sample of the runs
        return BesidePaper(cell, printed)
    mean, std = printed.mean / 100, printed.sample_std
    if std is None or printed.n is None or min(cell.n, printed.n) < INFERENCE_FROM:
        return BesidePaper(cell, printed, difference=_NO_DIFFERENCE._replace(mean=cell.mean - mean))
    sides = (cell.mean, cell.std, cell.n, mean, std / 100, printed.n)
    difference, one_sided = difference_of_means(*sides), difference_of_means(*sides, level=0.9)
    verdict = UNDECIDED if difference.low <= 0 <= difference.high else DIFFERS
    if -margin < one_sided.low and one_sided.high < margin:  # two one-sided tests at 5 %
        verdict = AGREES
    return BesidePaper(cell, printed, difference=difference, verdict=verdict)


def _other_settings(result: Result, printed: Published) -> list[str]:
    records = [run.record for name in result.shown.identity if (run := result.statuses[name]).record is not None]
    reasons = [contradictions(printed, record.parts, record.config, record.subset) for record in records]
    return list(dict.fromkeys(itertools.chain(*reasons)))


def _same(own: str, printed: object) -> bool:
    try:
        return math.isclose(float(own), float(printed))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return own == str(printed)
