"""The cells of an experiment as plain lines, one each: what a spreadsheet, a figure or W&B takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace

from hype_bench import output
from hype_bench.paper.published import Published
from hype_bench.paper.published import table as published_table
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.beside_paper import counterpart
from hype_bench.tables.cells import AVERAGE, Cell, Row
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.table import Table


@dataclass(frozen=True)
class Line:
    """One cell. Scores as in print: accuracy and F1 in percent, correlations x 100; None where there is none.

    ``configuration``: the point of the search that is reported; ``missing``: what the cell lacks, in words;
    ``paper_std``: with n - 1, as ``std``; ``paper_std_printed``: as in print; ``difference``: this mean minus the
    paper's. The paper's numbers stand only beside runs of its own setting.
    """

    block: str
    row: str
    task: str
    metric: str
    mean: float | None
    std: float | None
    n: int | None
    configuration: str
    missing: str
    paper_mean: float | None = None
    paper_std: float | None = None
    paper_std_printed: float | None = None
    paper_n: int | None = None
    difference: float | None = None


def lines_of(plan: Plan, tables: Iterable[Table], found: Mapping[Place, Result]) -> list[Line]:
    """Every cell of an experiment's tables, in their order, beside the paper's if it regenerates one of its tables."""
    printed = published_table(plan.table) if plan.table is not None else []
    return [
        _line(table.model, row, column, cells[column], found.get((table.model, row, column)), printed)
        for table in tables
        for row, cells in table.rows.items()
        for column in table.columns
        if column in cells
    ]


def to_csv(lines: Sequence[Line]) -> str:
    return output.to_csv([[field.name for field in fields(Line)], *map(astuple, lines)])


def _line(block: str, row: Row, column: str, cell: Cell, result: Result | None, printed: list[Published]) -> Line:
    shown = not cell.missing and bool(cell.n)
    mean, std = (_percent(score) if shown else None for score in (cell.mean, cell.std))
    configuration = result.chosen.configuration if result is not None and shown else {}
    line = Line(
        block=block,
        row=row.title,
        task=column,
        metric=cell.metric,
        mean=mean,
        std=std,
        n=None if cell.metric == AVERAGE else cell.n,
        configuration=" ".join(f"{key}={value}" for key, value in configuration.items()),
        missing=", ".join(cell.lacks),
    )
    theirs = counterpart(printed, result, row, column) if result is not None else None
    if theirs is None or theirs.other:
        return line
    paper = theirs.printed
    return replace(
        line,
        paper_mean=paper.mean,
        paper_std=paper.sample_std,
        paper_std_printed=paper.std,
        paper_n=paper.n,
        difference=None if mean is None or cell.lacks else mean - paper.mean,
    )


def _percent(score: float) -> float | None:
    return 100 * score if math.isfinite(score) else None
