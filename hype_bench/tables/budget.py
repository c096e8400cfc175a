"""Rows at the same budget: what the best of equally many configurations comes to."""

from __future__ import annotations

from collections.abc import Mapping

from hype_bench.stats.search import expected_best, expected_best_std
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.sheet import Pieces, Sheet

BUDGET = "budget"

_NOTE = (
    "expected best mean dev score of {k} configuration{s} drawn without replacement from those that were tried, with "
    "its standard deviation over such draws; in brackets how many were tried"
)
_LOST = "lost: a seed diverged or has no finite score; such a configuration stands below all others"


def at_same_budget(found: Mapping[Place, Result]) -> list[Sheet]:
    """Every cell as if all rows of its block had tried as many configurations: the expected best of k of them.

    k is the smallest number of configurations in the block. A configuration that lost a seed stands below all others,
    as in the choice of the best one. A cell that lacks runs shows no number, nor does one in which a draw may consist
    of such configurations alone.
    """
    sheets = []
    for block in dict.fromkeys(block for block, _, _ in found):
        cells = {(row, task): result for (where, row, task), result in found.items() if where == block}
        rows, tasks = dict.fromkeys(row for row, _ in cells), dict.fromkeys(task for _, task in cells)
        k = min(len(result.candidates) for result in cells.values())
        lines = [(row.title, [_expected(cells.get((row, task)), k) for task in tasks]) for row in rows]
        notes = [_NOTE.format(k=k, s="s" * (k > 1))]
        if any(len(result.whole_means) < len(result.candidates) for result in cells.values()):
            notes.append(_LOST)
        sheets.append(Sheet(block, [(task, "") for task in tasks], lines, notes, kind="at the same budget, model"))
    return sheets


def _expected(result: Result | None, k: int) -> Pieces:
    if result is None:
        return "-", "", ""
    if result.chosen.cell.missing:
        return "X", "", f" ({result.chosen.cell.missing})"
    means, tried = result.whole_means, len(result.candidates)
    lost = tried - len(means)
    count = f" ({tried}, {lost} lost)" if lost else f" ({tried})"
    if lost >= k:
        return "X", "", count
    return f"{100 * expected_best(means, k, lost):.2f}", f" ± {100 * expected_best_std(means, k, lost):.2f}", count
