"""A table beside the one that the paper printed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hype_bench.options import UserError
from hype_bench.paper.published import Published
from hype_bench.paper.published import table as published_table
from hype_bench.paper.setting import contradictions
from hype_bench.stats.means import difference_of_means
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.tables.cells import Cell, Row
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.sheet import Pieces, Sheet, difference

PAPER = "paper"
AGREES, DIFFERS, UNKNOWN, OTHER_SETTING = "agrees", "differs", "-", "other setting"

_TASKS = {"mnli/mismatched": "mnli_mm"}  # a column here, a task of its own there
_COLUMNS = [("here", "mean ± std (n)"), ("paper", "mean ± std (n)"), ("difference", "95 % interval"), ("", "")]
_NOTE = (
    "difference: this run minus the paper, with Welch's 95 % interval from mean, std and n of both; it agrees if that "
    "interval contains 0; without a printed std nothing can be said; the paper prints the population's std (n in the "
    "denominator), which stands behind its n and is compared as a sample's (n - 1), as here"
)
_NOTHING: Pieces = ("", "", "")


@dataclass(frozen=True)
class Counterpart:
    """The printed cell for one of ours; ``other``: in what the runs here are of another setting, if in anything."""

    printed: Published
    other: list[str] = field(default_factory=list)


def against_paper(plan: Plan, found: Mapping[Place, Result]) -> list[Sheet]:
    """Every cell that the paper printed too, block by block; one whose runs are of another setting is not compared.

    Raises:
        UserError: the experiment regenerates no table of the paper.
    """
    if plan.table is None:
        raise UserError(f"experiment {plan.name} regenerates no table of the paper: nothing to compare with")
    printed = published_table(plan.table)
    sheets = []
    for block in dict.fromkeys(block for block, _, _ in found):
        lines, remarks = [], []
        for (where, row, task), result in found.items():
            theirs = counterpart(printed, result, row, task) if where == block else None
            if theirs is not None:
                title = f"{row.title}, {task}{' (quoted there)' * theirs.printed.quoted}"
                lines.append((title, _beside(result.chosen.cell, theirs)))
                remarks += [(f"{OTHER_SETTING}: {reason}", title) for reason in theirs.other]
                remarks += [(f"of the printed number: {theirs.printed.note}", title)] * bool(theirs.printed.note)
        notes = [_NOTE, *_grouped(remarks, len(lines))]
        nothing = [f"Table {plan.table} of the paper has no cell for {block}"]
        kind = f"against Table {plan.table} of the paper, model"
        sheets.append(Sheet(block, _COLUMNS, lines, notes if lines else nothing, kind=kind))
    return sheets


def counterpart(printed: list[Published], result: Result, row: Row, task: str) -> Counterpart | None:
    """What the paper prints for a cell of ours, if it does, and what forbids to compare the two."""
    cell = printed_cell(printed, replace(result.runs[0], task=task), row)
    if cell is None:
        return None
    records = [run.record for run in result.shown().values() if run.record is not None]
    return Counterpart(cell, list(dict.fromkeys(reason for one in records for reason in contradictions(cell, one))))


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


def _beside(cell: Cell, theirs: Counterpart) -> list[Pieces]:
    printed = theirs.printed
    paper, verdict = _printed(printed), OTHER_SETTING if theirs.other else UNKNOWN
    if cell.missing or not cell.n or math.isnan(cell.mean):
        return [("X", "", f" ({cell.missing or 'no score'})"), paper, _NOTHING, (verdict, "", "")]
    spread = "" if math.isnan(cell.std) else f" ± {100 * cell.std:.2f}"
    ours = f"{100 * cell.mean:.2f}", spread, f" ({', '.join([str(cell.n), *cell.lacks])})"
    if theirs.other or cell.lacks:  # survivors of a divergence are no sample of the runs
        return [ours, paper, _NOTHING, (verdict, "", "")]
    std = printed.sample_std
    if std is None or printed.n is None or cell.n < 2:
        return [ours, paper, difference(cell.mean - printed.mean / 100, math.nan, math.nan), (verdict, "", "")]
    gap = difference_of_means(cell.mean, cell.std, cell.n, printed.mean / 100, std / 100, printed.n)
    verdict = AGREES if gap.low <= 0 <= gap.high else DIFFERS
    return [ours, paper, difference(gap.mean, gap.low, gap.high), (verdict, "", "")]


def _printed(cell: Published) -> Pieces:
    """``72.24 ± 2.67 (3; printed 2.18)``; a std that cannot be converted as it is printed."""
    if cell.sample_std is not None:
        return f"{cell.mean:.2f}", f" ± {cell.sample_std:.2f}", f" ({cell.n}; printed {cell.std:.2f})"
    spread = "" if cell.std is None else f" ± {cell.std:.2f}"
    return f"{cell.mean:.2f}", spread, "" if cell.n is None else f" ({cell.n})"


def _grouped(remarks: Iterable[tuple[str, str]], lines: int) -> list[str]:
    """Remarks on lines, each once, with the lines that it is about unless those are all."""
    titles: dict[str, list[str]] = defaultdict(list)
    for text, title in remarks:
        titles[text].append(title)
    return [text if len(which) == lines else f"{text} ({'; '.join(which)})" for text, which in titles.items()]


def _same(own: str, printed: object) -> bool:
    try:
        return math.isclose(float(own), float(printed))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return own == str(printed)
