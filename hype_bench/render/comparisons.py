"""What a table is compared with, as sheets below it and as columns of its CSV."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hype_bench.paper.published import Published
from hype_bench.render.budget import budget_numbers, budget_sheets, equal_search_numbers, equal_search_sheet
from hype_bench.render.order import order_numbers, order_sheet
from hype_bench.render.over_tasks import over_tasks_numbers, over_tasks_sheets, ranks_numbers, ranks_sheet
from hype_bench.render.paired import paired_numbers, paired_sheet
from hype_bench.render.sheet import EMPTY, Pieces, Sheet, difference, mean_and_std
from hype_bench.render.signal import signal_numbers, signal_sheets
from hype_bench.render.table_csv import difference_numbers
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.beside_paper import OTHER_SETTING, PAPER, BesidePaper, against_paper
from hype_bench.tables.budget import BUDGET, at_equal_search, at_same_budget
from hype_bench.tables.cells import AVERAGE
from hype_bench.tables.compare import DEFAULT, Criteria, against_method
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.order import orders
from hype_bench.tables.over_tasks import RANKS, over_tasks, rankings
from hype_bench.tables.signal import SIGNAL, signals

_CORNER = "method, task"
_PAPER_COLUMNS = [
    ("here", "mean ± std (n)"),
    ("paper", "mean ± std (n)"),
    ("difference", "95 % interval"),
    ("verdict", ""),
]
_PAPER_NOTE = (
    "difference: here minus the paper, with Welch's 95 % interval from mean, std and n of both; agrees: shown to lie "
    "within ± {margin} points (--margin; two one-sided tests at 5 %); differs: the interval leaves 0 out; undecided: "
    "neither; without a printed std there is no verdict; the paper prints the population std (n in the "
    "denominator, shown after its n), which is compared as a sample std (n - 1), as here"
)


@dataclass(frozen=True)
class Comparison:
    """``columns``: for the cells that are compared, name -> number or word; ``complaints``: damaged files, so
    that the comparison is incomplete."""

    sheets: list[Sheet] = field(default_factory=list)
    columns: dict[Place, dict[str, object]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


def compare(
    plan: Plan, results: Mapping[Place, Result], baseline: str | None, criteria: Criteria = DEFAULT
) -> Comparison:
    """An experiment's cells against ``paper``, at the same ``budget``, by ``signal``, by ``ranks``, or against the row
    of that title.

    Raises:
        UserError: there is nothing to compare with.
    """
    if baseline is None:
        return Comparison()
    if baseline == PAPER:
        beside = against_paper(plan, results, criteria.margin)
        sheets = [_paper_sheet(plan, block, _in_block(beside, block), criteria.margin) for block in _blocks(results)]
        return Comparison(sheets, {place: paper_numbers(cell) for place, cell in beside.items()})
    if baseline == BUDGET:
        best = at_same_budget(results)
        sheets = [sheet for block in _blocks(best) for sheet in budget_sheets(block, _in_block(best, block))]
        return Comparison(sheets, {place: budget_numbers(cell) for place, cell in best.items()})
    if baseline == SIGNAL:
        of_column = signals(results)
        columns = {place: signal_numbers(of_column[place[0], place[2]]) for place in results}
        return Comparison(signal_sheets(of_column), columns)
    if baseline == RANKS:
        ranked = rankings(results)
        return Comparison([ranks_sheet(*item) for item in ranked.items()], ranks_numbers(ranked))
    return _against_method(plan, results, baseline, criteria)


def _against_method(plan: Plan, results: Mapping[Place, Result], baseline: str, criteria: Criteria) -> Comparison:
    compared, searches = against_method(plan, results, baseline, criteria), at_equal_search(results, baseline)
    averages, ordered = over_tasks(results, baseline, compared), orders(results, baseline) if criteria.order else {}
    sheets = [paired_sheet(block, _in_block(compared, block), baseline, criteria) for block in _blocks(compared)]
    sheets += over_tasks_sheets(averages, baseline)
    sheets += [equal_search_sheet(block, _in_block(searches, block), baseline) for block in _blocks(searches)]
    sheets += [order_sheet(block, _in_block(ordered, block), baseline) for block in _blocks(ordered)]
    columns = {
        place: {
            "baseline": baseline,
            **paired_numbers(cell),
            **equal_search_numbers(searches.get(place)),
            **order_numbers(ordered.get(place)),
        }
        for place, cell in compared.items()
    }
    of_averages = {(*place, AVERAGE): over_tasks_numbers(baseline, cell) for place, cell in averages.items()}
    complaints = list(dict.fromkeys(text for cell in compared.values() for text in cell.measured.complaints))
    return Comparison(sheets, {**columns, **of_averages}, complaints)


def _blocks(cells: Mapping[Place, Any]) -> list[str]:
    return list(dict.fromkeys(block for block, _, _ in cells))


def _in_block(cells: Mapping[Place, Any], block: str) -> dict[Place, Any]:
    return {place: cell for place, cell in cells.items() if place[0] == block}


def _paper_sheet(plan: Plan, block: str, cells: Mapping[Place, BesidePaper], margin: float) -> Sheet:
    lines, remarks = [], []
    for (_, row, task), cell in cells.items():
        title = f"{row.title}, {task}{' (quoted there)' * cell.printed.quoted}"
        lines.append((title, _paper_pieces(cell)))
        remarks += [(f"{OTHER_SETTING}: {reason}", title) for reason in cell.other]
        remarks += [(f"the printed number: {cell.printed.note}", title)] * bool(cell.printed.note)
    notes = [_PAPER_NOTE.format(margin=f"{100 * margin:g}"), *_grouped(remarks, len(lines))]
    if not lines:
        notes = [f"Table {plan.table} of the paper has no cell for {block}"]
    kind = f"against Table {plan.table} of the paper, model"
    return Sheet(block, _PAPER_COLUMNS, lines, notes, kind=kind, corner=_CORNER)


def _paper_pieces(beside: BesidePaper) -> list[Pieces]:
    cell, paper, verdict = beside.cell, _printed(beside.printed), ("", "", beside.verdict)
    if cell.missing or not cell.n or math.isnan(cell.mean):
        return [("X", "", f" ({cell.missing or 'no score'})"), paper, EMPTY, verdict]
    here = mean_and_std(cell.mean, cell.std, ", ".join(cell.counts))
    return [here, paper, difference(*beside.difference[:3]), verdict]


def _printed(cell: Published) -> Pieces:
    """``72.24 ± 2.67 (3; printed 2.18)``; a std that cannot be converted as it is printed."""
    if cell.sample_std is not None:
        return mean_and_std(cell.mean / 100, cell.sample_std / 100, f"{cell.n}; printed {cell.std:.2f}")
    std = math.nan if cell.std is None else cell.std / 100
    return mean_and_std(cell.mean / 100, std, "" if cell.n is None else str(cell.n))


def paper_numbers(beside: BesidePaper) -> dict[str, object]:
    paper, gap = beside.printed, beside.difference
    return {
        "paper_mean_fraction": _as_printed(paper.mean),
        "paper_std_fraction": None if paper.sample_std is None else paper.sample_std / 100,
        "paper_std_printed_fraction": None if paper.std is None else _as_printed(paper.std),
        "paper_n": paper.n,
        **difference_numbers(gap.mean, gap.low, gap.high),
        "verdict": beside.verdict,
        "other_setting": "; ".join(beside.other),
    }


def _as_printed(percent: float) -> float:
    """72.24 -> 0.7224, without the error of a division."""
    return round(percent / 100, 6)


def _grouped(remarks: Iterable[tuple[str, str]], lines: int) -> list[str]:
    """Remarks on lines, each once, with the lines that it is about unless those are all."""
    titles: dict[str, list[str]] = defaultdict(list)
    for text, title in remarks:
        titles[text].append(title)
    return [text if len(which) == lines else f"{text} ({'; '.join(which)})" for text, which in titles.items()]
