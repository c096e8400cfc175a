"""Renders tables: their cells as words on sheets, or CSV (one line per cell, for programs)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hype_bench.render import table_csv, writers
from hype_bench.render.sheet import Pieces, Sheet, mean_and_std
from hype_bench.tables.cells import AVERAGE, Cell
from hype_bench.tables.table import Table

CAPTION = "mean ± std (n) over seeds: accuracy and F1 in percent, correlations x 100; std with n - 1; scored once"
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


def to_text(tables: Sequence[Table], caption: str = CAPTION) -> str:
    return writers.to_text(sheets(tables), caption)


def to_markdown(tables: Sequence[Table], caption: str = CAPTION) -> str:
    return writers.to_markdown(sheets(tables), caption)


def to_latex(tables: Sequence[Table], caption: str = CAPTION) -> str:
    return writers.to_latex(sheets(tables), caption)


def to_html(tables: Sequence[Table], caption: str = CAPTION) -> str:
    return writers.to_html(sheets(tables), caption)


def sheets(tables: Sequence[Table], intervals: bool = False) -> list[Sheet]:
    """What the renderers write: every cell as words; behind them, if asked for, the 95 % intervals of the means."""
    shown = [_sheet(table, table.columns, pieces, [note.text for note in table.notes], "model") for table in tables]
    for table in tables if intervals else ():
        tasks = [column for column in table.columns if column != AVERAGE]
        shown.append(_sheet(table, tasks, interval_pieces, [], "95 % intervals of the means (Student's t), model"))
    return shown


def _sheet(
    table: Table, columns: list[str], words: Callable[[Cell | None], Pieces], notes: list[str], kind: str
) -> Sheet:
    headers = [(column, _metric(table, column)) for column in columns]
    rows = [(row.title, [words(cells.get(column)) for column in columns]) for row, cells in table.rows.items()]
    return Sheet(table.model, headers, rows, notes, kind)


def to_csv(tables: Sequence[Table], caption: str = CAPTION) -> str:
    return table_csv.to_csv(table_csv.cell_rows(tables)).rstrip("\n")


FORMATS: dict[str, Callable[..., str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "html": to_html,
}


def cell_text(cell: Cell | None) -> str:
    """``65.34 ± 1.20 (3)``; with what is missing behind it, as in ``65.34 ± 1.20 (2, 1 failed)``; ``-`` if empty."""
    return "".join(pieces(cell))


def pieces(cell: Cell | None) -> Pieces:
    """Mean, spread and count of a cell."""
    if cell is None:
        return "-", "", ""
    if cell.metric == AVERAGE and not cell.missing:
        return f"{100 * cell.mean:.2f}", "", ""
    if cell.missing or cell.n == 0:
        return "X", "", f" ({', '.join(cell.lacks)})"
    return mean_and_std(cell.mean, cell.std, ", ".join([str(cell.n), *cell.lacks]))


def interval_pieces(cell: Cell | None) -> Pieces:
    """The 95 % interval of a cell's mean over seeds, ``[62.06, 81.94]``."""
    ends = table_csv.interval(cell) if cell is not None else None
    return "-" if ends is None else f"[{100 * ends[0]:.2f}, {100 * ends[1]:.2f}]", "", ""


def _metric(table: Table, column: str) -> str:
    metric = table.metric(column)
    return _METRIC_NAMES.get(metric, metric)
