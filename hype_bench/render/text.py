"""Renders tables: their cells as words on sheets, or CSV (one line per cell, for programs)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from hype_bench.render import table_csv
from hype_bench.render.sheet import Pieces, Sheet, mean_and_std, number
from hype_bench.render.writers import WRITERS
from hype_bench.tables.cells import AVERAGE, Cell
from hype_bench.tables.table import Table

CAPTION = "mean ± std (n) over seeds: accuracy and F1 in percent, correlations x 100; std with n - 1; scored once"
FORMATS = (*WRITERS, "csv")
_METRIC_NAMES = {
    AVERAGE: "",
    "f1": "F1",
    "accuracy_f1": "accuracy/F1",
    "macro_f1": "macro F1",
    "matthews": "Matthews",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "pearson_spearman": "Pearson-Spearman",
}


def write(tables: Sequence[Table], format: str = "text", caption: str = CAPTION) -> str:
    """Tables in one of :data:`FORMATS`."""
    if format == "csv":
        return table_csv.to_csv(table_csv.cell_rows(tables)).rstrip("\n")
    return WRITERS[format](sheets(tables), caption)


def sheets(tables: Sequence[Table], intervals: bool = False) -> list[Sheet]:
    """What the renderers write: every cell as words; behind them, if asked for, the 95 % intervals of the means and the
    extremes of the scores."""
    shown = []
    for table in tables:
        sheet = _sheet(table, table.columns, pieces)
        shown.append(replace(sheet, notes=[note.text for note in table.notes], best=_best(table)))
    for table in tables if intervals else ():
        sheet = _sheet(table, table.columns, interval_pieces)
        shown.append(replace(sheet, kind="95 % intervals of the means (Student's t), model"))
        sheet = _sheet(table, [column for column in table.columns if column != AVERAGE], extremes)
        shown.append(replace(sheet, kind="median, least and most over seeds, model"))
    return shown


def _sheet(table: Table, columns: Sequence[str], words: Callable[[Cell | None], Pieces]) -> Sheet:
    headers = [(column, _METRIC_NAMES.get(table.metric(column), table.metric(column))) for column in columns]
    rows = [(row.title, [words(cells.get(column)) for column in columns]) for row, cells in table.rows.items()]
    return Sheet(table.model, headers, rows)


def _best(table: Table) -> frozenset[tuple[int, int]]:
    """Row and column of the highest mean of every column whose means differ, and of what equals it."""
    best: set[tuple[int, int]] = set()
    for x, column in enumerate(table.columns):
        cells = [of_row.get(column) for of_row in table.rows.values()]
        means = {y: cell.mean for y, cell in enumerate(cells) if cell and cell.n and not (cell.lacks or cell.constant)}
        if len(set(means.values())) > 1:
            best.update((y, x) for y, mean in means.items() if mean == max(means.values()))
    return frozenset(best)


def cell_text(cell: Cell | None) -> str:
    """``65.34 ± 1.20 (3)``; with what is missing behind it, as in ``65.34 ± 1.20 (2, 1 failed)``; ``-`` if empty."""
    return "".join(pieces(cell))


def pieces(cell: Cell | None) -> Pieces:
    """Mean, spread and count of a cell."""
    if cell is None:
        return "-", "", ""
    if (cell.metric == AVERAGE or cell.constant) and not cell.missing:
        return number(cell.mean, cell.is_fraction), "", ""
    if cell.missing or cell.n == 0:
        return "X", "", f" ({', '.join(cell.lacks)})"
    return mean_and_std(cell.mean, cell.std, ", ".join(cell.counts), cell.is_fraction)


def interval_pieces(cell: Cell | None) -> Pieces:
    """The 95 % interval of a cell's mean over seeds, ``[62.06, 81.94]``."""
    ends = table_csv.interval(cell) if cell is not None else None
    if cell is None or ends is None:
        return "", "", "-"
    return "", "", f"[{number(ends[0], cell.is_fraction)}, {number(ends[1], cell.is_fraction)}]"


def extremes(cell: Cell | None) -> Pieces:
    """What a mean hides: ``72.00 (68.00 to 76.00)``, the median of the finite scores and their range."""
    scores = [score for score in cell.scores.values() if math.isfinite(score)] if cell else []
    if cell is None or cell.missing or cell.constant or not scores:
        return "-", "", ""
    middle, least, most = (number(of(scores), cell.is_fraction) for of in (statistics.median, min, max))
    return middle, "", f" ({least} to {most})"
