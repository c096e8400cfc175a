"""Renders tables: their cells as words on sheets, or CSV (one line per cell, for programs)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hype_bench import output
from hype_bench.render import writers
from hype_bench.tables.cells import AVERAGE, Cell
from hype_bench.tables.sheet import Pieces, Sheet
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
_CSV_HEADER = ("model", "task", "method", "settings", "metric", "mean", "std", "n", "seeds", "scores", "unfinished")


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


def to_csv(tables: Sequence[Table], caption: str = CAPTION, intervals: bool = False) -> str:
    """One line per cell; scores, mean and std in the metric's own units (fractions) and unrounded.

    ``seeds`` and ``scores`` are in the same order. No std below two seeds, no mean below one: the field is empty.
    ``intervals``: also the ends of Student's 95 % interval of the mean.
    """
    lines: list[list[object]] = [[*_CSV_HEADER, *(("low", "high") if intervals else ()), "notes"]]
    for table in tables:
        for row, cells in table.rows.items():
            for column in table.columns:
                if cell := cells.get(column):
                    settings = " ".join(f"{key}={value}" for key, value in row.settings)
                    task = column.partition("/")[0]
                    notes = "; ".join(note.text for note in table.notes if task in note.tasks)
                    ends = ([repr(end) for end in _ends(cell)] or ["", ""]) if intervals else []
                    lines.append(
                        [
                            table.model,
                            column,
                            row.method,
                            settings,
                            *_csv_cell(cell),
                            *ends,
                            notes,
                        ]
                    )
    return output.to_csv(lines).rstrip("\n")


FORMATS: dict[str, Callable[..., str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "html": to_html,
}


def _ends(cell: Cell) -> list[float]:
    """Of the interval of the mean; none where there is no such interval."""
    from hype_bench.stats.means import interval_of_mean  # numpy and scipy: only who asks for it waits for them

    if cell.n < 2 or cell.nans or cell.missing:
        return []
    return list(interval_of_mean(cell.mean, cell.std, cell.n))


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
    std = cell.std
    spread = "" if math.isnan(std) else f" ± {100 * std:.2f}"
    return f"{100 * cell.mean:.2f}", spread, f" ({', '.join([str(cell.n), *cell.lacks])})"


def interval_pieces(cell: Cell | None) -> Pieces:
    """The 95 % interval of a cell's mean over seeds, ``[62.06, 81.94]``."""
    ends = _ends(cell) if cell is not None else []
    return f"[{', '.join(f'{100 * end:.2f}' for end in ends)}]" if ends else "-", "", ""


def _metric(table: Table, column: str) -> str:
    metric = table.metric(column)
    return _METRIC_NAMES.get(metric, metric)


def _csv_cell(cell: Cell) -> list[str | int]:
    seeds = sorted(cell.scores)
    return [
        cell.metric,
        repr(cell.mean) if cell.n else "",
        repr(cell.std) if cell.n > 1 else "",
        cell.n,
        " ".join(map(str, seeds)),
        " ".join(repr(cell.scores[seed]) for seed in seeds),
        " ".join(f"{state}={count}".replace(" ", "_") for state, count in sorted(cell.unfinished.items())),
    ]
