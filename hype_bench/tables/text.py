"""Renders tables: text for a terminal, Markdown, LaTeX (booktabs), CSV (one line per cell, for programs)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable

from hype_bench.tables.table import Cell, Table

CAPTION = "mean ± std (n) over seeds, x 100; std with n - 1; scored once, on the last weights"
_METRIC_NAMES = {"f1": "F1", "accuracy_f1": "acc./F1", "matthews": "Matthews", "pearson_spearman": "Pearson-Spearman"}


def to_text(tables: list[Table]) -> str:
    if not tables:
        return "no runs yet"
    blocks = []
    for table in tables:
        grid = [
            ["method", *_headers(table)],
            *([row.title, *_cells(table, cells)] for row, cells in table.rows.items()),
        ]
        widths = [max(len(line[column]) for line in grid) for column in range(len(grid[0]))]
        lines = [
            "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in grid
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        blocks.append("\n".join([table.model, *lines, *table.notes]))
    return "\n\n".join([*blocks, CAPTION])


def to_markdown(tables: list[Table]) -> str:
    blocks = []
    for table in tables:
        lines = [f"**{table.model}**", "", _pipes(["method", *_headers(table)])]
        lines.append("|---" * (len(table.tasks) + 1) + "|")
        lines += [_pipes([row.title, *_cells(table, cells)]) for row, cells in table.rows.items()]
        lines += ["", *(f"*{note}*  " for note in table.notes)]
        blocks.append("\n".join(lines).rstrip())
    return "\n\n".join([*blocks, f"*{CAPTION}*"])


def to_latex(tables: list[Table]) -> str:
    """A ``tabular`` per model; needs the package booktabs."""
    blocks = []
    for table in tables:
        lines = [f"% {table.model}: {CAPTION}", *(f"% {note}" for note in table.notes)]
        lines += [rf"\begin{{tabular}}{{l{'c' * len(table.tasks)}}}", r"\toprule"]
        lines += [" & ".join(map(_tex, [table.model, *_headers(table)])) + r" \\", r"\midrule"]
        for row, cells in table.rows.items():
            lines.append(" & ".join(map(_tex, [row.title, *_cells(table, cells)])) + r" \\")
        if table.notes:
            lines.append(r"\midrule")
        for note in table.notes:
            lines.append(rf"\multicolumn{{{len(table.tasks) + 1}}}{{l}}{{\footnotesize {_tex(note)}}} \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def to_csv(tables: list[Table]) -> str:
    """model, task, method, settings, metric, mean, std (fractions, not percent), n, seeds, unfinished, notes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["model", "task", "method", "settings", "metric", "mean", "std", "n", "seeds", "unfinished", "notes"]
    )
    for table in tables:
        for row, cells in table.rows.items():
            for task, cell in cells.items():
                settings = " ".join(f"{key}={value}" for key, value in row.settings)
                unfinished = " ".join(f"{state}={count}" for state, count in sorted(cell.unfinished.items()))
                seeds = " ".join(map(str, sorted(cell.scores)))
                numbers = [f"{cell.mean:.6f}", f"{cell.std:.6f}", cell.n]
                notes = "; ".join(note for note in table.notes if task in note)
                writer.writerow(
                    [table.model, task, row.method, settings, cell.metric, *numbers, seeds, unfinished, notes]
                )
    return text.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[list[Table]], str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
}


def cell_text(cell: Cell | None) -> str:
    """``65.34 ± 1.20 (3)``; with what is missing behind it, as in ``65.34 ± 1.20 (2, 1 failed)``; ``-`` if empty."""
    if cell is None:
        return "-"
    unfinished = [f"{count} {state}" for state, count in sorted(cell.unfinished.items())]
    if cell.n == 0:
        return f"X ({', '.join(unfinished)})"
    nan = sum(math.isnan(value) for value in cell.scores.values())
    unfinished = [f"{nan} nan"] * bool(nan) + unfinished
    spread = "" if math.isnan(cell.std) else f" ± {100 * cell.std:.2f}"
    return f"{100 * cell.mean:.2f}{spread} ({', '.join([str(cell.n), *unfinished])})"


def _headers(table: Table) -> list[str]:
    metrics = {task: cell.metric for cells in table.rows.values() for task, cell in cells.items()}
    return [f"{task} ({_METRIC_NAMES.get(metrics[task], metrics[task])})" for task in table.tasks]


def _cells(table: Table, cells: dict[str, Cell]) -> list[str]:
    return [cell_text(cells.get(task)) for task in table.tasks]


def _pipes(words: list[str]) -> str:
    return "| " + " | ".join(word.replace("|", "\\|") for word in words) + " |"


def _tex(text: str) -> str:
    for plain, escaped in (("\\", r"\textbackslash "), ("_", r"\_"), ("%", r"\%"), ("&", r"\&"), ("#", r"\#")):
        text = text.replace(plain, escaped)
    return text.replace("±", r"$\pm$")
