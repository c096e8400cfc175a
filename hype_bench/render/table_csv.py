"""Tables as CSV: one line per cell, one schema for every command that writes it (docs/table_csv.md).

Scores are fractions as the records have them, unrounded, and their columns say so (``mean_fraction``): accuracy 0.72,
a correlation between -1 and 1. A field without a value is empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hype_bench import output
from hype_bench.tables.cells import AVERAGE, INFERENCE_FROM, Cell, Row, compact
from hype_bench.tables.table import Table

if TYPE_CHECKING:
    from hype_bench.tables.experiment import Place, Result

COLUMNS = (
    "model", "task", "method", "settings", "configuration", "metric", "n", "mean_fraction", "std_fraction",
    "low_fraction", "high_fraction", "seeds", "scores_fraction", "collapsed", "missing", "notes",
)  # fmt: skip


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of :func:`cell_rows`."""
    columns = columns_of(rows)
    return output.to_csv([columns, *([row.get(name) for name in columns] for row in rows)])


def columns_of(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Those of every table, and behind them those of a comparison."""
    return list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))


def cell_rows(
    tables: Sequence[Table],
    results: Mapping[Place, Result] | None = None,
    compared: Mapping[Place, Mapping[str, object]] | None = None,
) -> list[dict[str, object]]:
    """A row for every cell, in the order of the tables.

    Args:
        results: of an experiment: which configuration of its search a cell reports.
        compared: for cells that are compared, columns behind the others (:mod:`hype_bench.render.comparisons`).
    """
    results, compared = results or {}, compared or {}
    return [
        {**_row(table, *place[1:], cell, results.get(place)), **compared.get(place, {})}
        for table in tables
        for place, cell in _cells(table)
    ]


def _cells(table: Table) -> Iterator[tuple[Place, Cell]]:
    for row, cells in table.rows.items():
        yield from (((table.model, row, column), cells[column]) for column in table.columns if column in cells)


def _row(table: Table, row: Row, column: str, cell: Cell, result: Result | None) -> dict[str, object]:
    is_of_runs = cell.metric != AVERAGE and not cell.constant
    scores = dict(sorted(cell.scores.items())) if is_of_runs else {}
    mean, std = cell.mean, cell.std
    low, high = interval(cell) or (None, None)
    configuration = result.chosen.configuration if result and cell.n and not cell.missing else {}
    values = (
        table.model,
        column,
        row.method,
        _settings(row.settings),
        _settings(configuration.items()),
        cell.metric,
        cell.n if is_of_runs else None,
        None if cell.missing or math.isnan(mean) else mean,
        None if cell.missing or math.isnan(std) else std,
        low,
        high,
        " ".join(map(str, scores)),
        " ".join(map(repr, scores.values())),
        len(cell.collapsed) if is_of_runs else None,
        ", ".join(cell.lacks),
        "; ".join(note.text for note in table.notes if column.partition("/")[0] in note.tasks),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _settings(items: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"{key}={compact(value)}" for key, value in items)


def interval(cell: Cell) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean over seeds, within the range of the metric; None where there is none."""
    cells = cell.tasks or [cell]
    if cell.missing or any(of_task.n < INFERENCE_FROM or of_task.nans for of_task in cells):
        return None
    low, high = _over_tasks(cells) if cell.tasks else _of_mean(cell)
    return max(low, sum(of_task.lowest for of_task in cells) / len(cells)), min(high, cell.highest)


def _of_mean(cell: Cell) -> tuple[float, float]:
    from hype_bench.stats.means import interval_of_mean  # numpy and scipy: only who asks for it waits for them

    return interval_of_mean(cell.mean, cell.std, cell.n)


def _over_tasks(cells: Sequence[Cell]) -> tuple[float, float]:
    from hype_bench.stats.over_tasks import mean_over_tasks

    mean = mean_over_tasks([list(cell.scores.values()) for cell in cells])
    return mean.low, mean.high


def difference_numbers(mean: float, low: float, high: float) -> dict[str, object]:
    """Columns of a difference and the ends of its interval."""
    names = ("difference_fraction", "difference_low_fraction", "difference_high_fraction")
    return dict(zip(names, map(number, (mean, low, high)), strict=True))


def number(value: float) -> float | None:
    """No number is an empty field."""
    return None if math.isnan(value) else value
