"""What needs no training: always the most frequent class, as a row to hold the others against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hype_bench.options import UserError
from hype_bench.schema import REGRESSION_METRICS
from hype_bench.tables.cells import AVERAGE, Cell, Row
from hype_bench.tables.experiment import Place, Result, average_of
from hype_bench.tables.predictions import read_predictions
from hype_bench.tables.table import Table
from hype_bench.tasks.metrics import score

MAJORITY = Row("majority class")


def with_majority(tables: Sequence[Table], results: Mapping[Place, Result]) -> list[Table]:
    """The tables with a first row of what the most frequent class of the scored examples would score.

    Columns without classes have no number, nor have those of which no run's predictions can be read.
    """
    return [replace(table, rows={MAJORITY: _cells(table, results), **table.rows}) for table in tables]


def _cells(table: Table, results: Mapping[Place, Result]) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for (block, _, column), result in results.items():
        if block == table.model and column not in cells and (cell := _cell(result)):
            cells[column] = cell
    tasks = [column for column in table.columns if column != AVERAGE]
    if AVERAGE in table.columns and all(column in cells for column in tasks):
        cells[AVERAGE] = replace(average_of([cells[column] for column in tasks]), constant=True)
    return cells


def _cell(result: Result) -> Cell | None:
    """The mean over the cell's runs, which differ only where each seed has data of its own."""
    metric, scores = result.cell.metric, []
    runs = result.shown if metric not in REGRESSION_METRICS else result.shown.head(0)
    for path, recorded in zip(runs.path, runs.score, strict=True):
        try:
            labels, _ = read_predictions(Path(path), result.split, metric, recorded)
        except UserError:  # the comparison of rows names the file
            continue
        classes, counts = np.unique(labels, return_counts=True)
        scores.append(score(metric, labels, np.full_like(labels, classes[counts.argmax()]))[metric])
    return Cell(metric, {0: float(np.mean(scores))}, constant=True) if scores else None
