"""Renders tables: text for a terminal, Markdown, LaTeX (booktabs), CSV (one line per cell, for programs)."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Callable, Sequence

from hype_bench.tables.cells import Cell
from hype_bench.tables.table import Table

CAPTION = "mean ± std (n) over seeds: accuracy and F1 in percent, correlations x 100; std with n - 1; last weights"
NOTHING = "no runs yet"
_WIDTH = 110  # of the lines under a text table
_METRIC_NAMES = {
    "f1": "F1",
    "accuracy_f1": "accuracy/F1",
    "matthews": "Matthews",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "pearson_spearman": "Pearson-Spearman",
}
_CSV_HEADER = ("model", "task", "method", "settings", "metric", "mean", "std", "n", "seeds", "scores", "unfinished")


def to_text(tables: list[Table]) -> str:
    """Columns are aligned at the decimal point, at the ± and at the bracket."""
    blocks = []
    for table in tables:
        heads = [["", *table.columns], ["method", *(_metric(table, column) for column in table.columns)]]
        body = [*zip(*([row.title for row in table.rows], *_aligned(table)), strict=True)]
        widths = [max(map(len, column)) for column in zip(*heads, *body, strict=True)]
        lines = [_line(words, widths) for words in (*heads, ["-" * width for width in widths], *body)]
        notes = [_wrapped(note.text) for note in table.notes]
        blocks.append("\n".join([f"model: {table.model}", *lines, "", *notes]).rstrip())
    return "\n\n".join([*blocks, _wrapped(CAPTION)]) if blocks else NOTHING


def to_markdown(tables: list[Table]) -> str:
    blocks = []
    for table in tables:
        body = [*zip(*([row.title for row in table.rows], *_aligned(table)), strict=True)]
        grid = [[_pipe_safe(word) for word in line] for line in (["method", *_headers(table)], *body)]
        widths = [max(3, *map(len, column)) for column in zip(*grid, strict=True)]
        lines = [f"| {' | '.join(w.ljust(width) for w, width in zip(line, widths, strict=True))} |" for line in grid]
        lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
        notes = [f"- {note.text}" for note in table.notes]
        blocks.append("\n".join([f"**{table.model}**", "", *lines, "", *notes]).rstrip())
    return "\n\n".join([*blocks, f"*{CAPTION}*"]) if blocks else NOTHING


def to_latex(tables: list[Table]) -> str:
    """A ``tabular`` per model with its notes below; needs the package booktabs."""
    blocks = []
    for table in tables:
        lines = [rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}", r"\toprule"]
        lines += [_tex_line([table.model, *_headers(table)]), r"\midrule"]
        lines += [_tex_line([row.title, *_cells(table, cells)]) for row, cells in table.rows.items()]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
        lines += [rf"{{\footnotesize {_tex(text)}\par}}" for text in (*(note.text for note in table.notes), CAPTION)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) if blocks else f"% {NOTHING}"


def to_csv(tables: list[Table]) -> str:
    """One line per cell; scores, mean and std in the metric's own units (fractions) and unrounded.

    ``seeds`` and ``scores`` are in the same order. No std below two seeds, no mean below one: the field is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_CSV_HEADER, "notes"])
    for table in tables:
        for row, cells in table.rows.items():
            for column in table.columns:
                if cell := cells.get(column):
                    settings = " ".join(f"{key}={value}" for key, value in row.settings)
                    task = column.partition("/")[0]
                    notes = "; ".join(note.text for note in table.notes if task in note.tasks)
                    writer.writerow([table.model, column, row.method, settings, *_csv_cell(cell), notes])
    return text.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[list[Table]], str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
}


def cell_text(cell: Cell | None) -> str:
    """``65.34 ± 1.20 (3)``; with what is missing behind it, as in ``65.34 ± 1.20 (2, 1 failed)``; ``-`` if empty."""
    return "".join(_pieces(cell))


def _pieces(cell: Cell | None) -> tuple[str, str, str]:
    """Mean, spread and count of a cell."""
    if cell is None:
        return "-", "", ""
    missing = [f"{cell.nans} nan"] * bool(cell.nans) + [f"{n} {state}" for state, n in sorted(cell.unfinished.items())]
    if cell.n == 0:
        return "X", "", f" ({', '.join(missing)})"
    spread = "" if math.isnan(cell.std) else f" ± {100 * cell.std:.2f}"
    return f"{100 * cell.mean:.2f}", spread, f" ({', '.join([str(cell.n), *missing])})"


def _aligned(table: Table) -> list[list[str]]:
    """The cells column by column, their pieces under one another."""
    columns = []
    for column in table.columns:
        pieces = [_pieces(cells.get(column)) for cells in table.rows.values()]
        mean, spread = (max(len(piece[part]) for piece in pieces) for part in (0, 1))
        columns.append([f"{m.rjust(mean)}{_widen(s, spread)}{n}".rstrip() for m, s, n in pieces])
    return columns


def _widen(spread: str, width: int) -> str:
    """Pads behind the ±: `` ± 1.20`` -> `` ±  1.20``."""
    return f" ± {spread[3:].rjust(width - 3)}" if spread else " " * width


def _line(words: Sequence[str], widths: list[int]) -> str:
    return "  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True)).rstrip()


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _metric(table: Table, column: str) -> str:
    metric = table.metric(column)
    return _METRIC_NAMES.get(metric, metric)


def _headers(table: Table) -> list[str]:
    return [f"{column} ({_metric(table, column)})" for column in table.columns]


def _cells(table: Table, cells: dict[str, Cell]) -> list[str]:
    return [cell_text(cells.get(column)) for column in table.columns]


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


def _pipe_safe(word: str) -> str:
    return word.replace("|", "\\|")


_TEX = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "_%&#$"},
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
    }
)


def _tex(text: str) -> str:
    return text.translate(_TEX)


def _tex_line(words: list[str]) -> str:
    return " & ".join(map(_tex, words)) + r" \\"
