"""Rows after searches of equal size, as sheets below a table and as columns of its CSV."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping

from hype_bench.output import counted
from hype_bench.render.sheet import EMPTY, Pieces, Sheet, difference, mean_and_std, p_value
from hype_bench.render.table_csv import number
from hype_bench.tables.budget import EqualSearch, ExpectedBest
from hype_bench.tables.experiment import Place

_NOTE = (
    "expected best mean dev score of {configurations} drawn without replacement from those tried, with its standard "
    "deviation over such draws; in brackets the number tried"
)
_LOST = "lost: a seed diverged or has no finite score; such a configuration counts as the worst run of its search"
_CURVE_NOTE = "expected best mean dev score of a search over so many configurations; the last number is the best found"
_CURVE = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100)  # numbers of configurations that are shown
_EQUAL_COLUMNS = [("configurations", "row, baseline, compared"), ("difference", "95 % interval"), ("p", "")]
_EQUAL_NOTE = (
    "these rows and {baseline} searched unequally, so that the comparison above favours whoever searched more; here "
    "both sides take the expected best of as many configurations as the side with fewer tried; the interval "
    "(Student's, of jackknife pseudo-values over seeds) chooses anew without each seed; p is not adjusted"
)


def budget_sheets(block: str, cells: Mapping[Place, ExpectedBest]) -> list[Sheet]:
    """Rows at the same number of configurations; and where there are several, the curve over that number."""
    rows = dict.fromkeys(row for _, row, _ in cells)
    tasks = dict.fromkeys(task for _, _, task in cells)
    lines = [(row.title, [_budget_pieces(cells.get((block, row, task))) for task in tasks]) for row in rows]
    k = next(iter(cells.values())).k
    notes = [_NOTE.format(configurations=counted(k, "configuration"))]
    notes += [_LOST] if any(cell.lost for cell in cells.values()) else []
    budget = Sheet(block, [(task, "") for task in tasks], lines, notes, kind="at the same budget, model")
    return [budget, *_curves(block, cells)]


def _curves(block: str, cells: Mapping[Place, ExpectedBest]) -> list[Sheet]:
    most = max(len(cell.curve) for cell in cells.values())
    shown = [k for k in _CURVE if k < most] + [most]
    if most < 2:
        return []
    lines = [
        (f"{row.title}, {task}", [_at(cell.curve, k) for k in shown])
        for (_, row, task), cell in cells.items()
        if cell.curve
    ]
    columns = [(str(k), "") for k in shown]
    return [Sheet(block, columns, lines, [_CURVE_NOTE], kind="expected best, model", corner="method, task")]


def _at(curve: tuple[float, ...], k: int) -> Pieces:
    return (f"{100 * curve[k - 1]:.2f}", "", "") if k <= len(curve) else ("-", "", "")


def _budget_pieces(best: ExpectedBest | None) -> Pieces:
    if best is None:
        return "-", "", ""
    tried = f"{best.tried}, {best.lost} lost" if best.lost else str(best.tried)
    if math.isnan(best.mean):
        return "X", "", f" ({best.missing or tried})"
    return mean_and_std(best.mean, best.std, tried)


def budget_numbers(best: ExpectedBest) -> dict[str, object]:
    return {
        "budget_configurations": best.k,
        "budget_mean_fraction": number(best.mean),
        "budget_std_fraction": number(best.std),
        "configurations_tried": best.tried,
        "configurations_lost": best.lost,
        "budget_curve_fraction": " ".join(map(repr, best.curve)),
    }


def equal_search_sheet(block: str, cells: Mapping[Place, EqualSearch], baseline: str) -> Sheet:
    lines = [(f"{row.title}, {task}", _equal_pieces(cell)) for (_, row, task), cell in cells.items()]
    notes = [_EQUAL_NOTE.format(baseline=baseline)]
    notes += dict.fromkeys(
        f"{row.title}: {' and '.join(cell.as_much)} searched as much: --compare {shlex.quote(cell.as_much[0])}"
        for (_, row, _), cell in cells.items()
        if cell.as_much
    )
    kind = f"against {baseline} after equal searches, model"
    return Sheet(block, _EQUAL_COLUMNS, lines, notes, kind=kind, corner="method, task")


def _equal_pieces(search: EqualSearch) -> list[Pieces]:
    gap, searched = search.difference, (f"{search.tried[0]}, {search.tried[1]}, {search.k}", "", "")
    if math.isnan(gap.mean):
        return [searched, ("X", "", ""), EMPTY]
    return [searched, difference(gap.mean, gap.low, gap.high), (p_value(gap.p), "", "")]


def equal_search_numbers(search: EqualSearch | None) -> dict[str, object]:
    """None where both sides searched equally."""
    if search is None:
        return {}
    gap = search.difference
    return {
        "equal_search_configurations": search.k,
        "equal_search_difference_fraction": number(gap.mean),
        "equal_search_low_fraction": number(gap.low),
        "equal_search_high_fraction": number(gap.high),
        "p_equal_search": number(gap.p),
    }
