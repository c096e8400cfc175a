"""Rows that nothing tells apart: with every seed their runs made the same predictions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hype_bench.options import UserError
from hype_bench.output import counted
from hype_bench.runs.predictions import read_columns
from hype_bench.stats.means import Floats
from hype_bench.tables.cells import AVERAGE, Cell, Row
from hype_bench.tables.notes import Note

_Scores = tuple[tuple[int, float], ...]  # seed and score


def same_predictions(
    rows: Mapping[Row, Mapping[str, Cell]], paths: Callable[[Row, str], Mapping[Any, str]]
) -> list[Note]:
    """A note on every set of such rows. Rows whose runs have all collapsed are marked as that; only predictions of rows
    with equal scores are read.

    Args:
        paths: row and column -> seed -> the folder of the run whose score the cell shows.
    """
    alike: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    for column, candidates in _equal_scores(rows).items():
        for members in candidates:
            by_predictions: dict[tuple[bytes, ...], list[str]] = defaultdict(list)
            for row in members:
                if predictions := _predictions(paths(row, column)):
                    by_predictions[predictions].append(row.title)
            for titles in by_predictions.values():
                if len(titles) > 1:
                    alike[tuple(titles)][column.partition("/")[0]] = None
    return [
        Note(
            f"the same predictions with every seed: {', '.join(titles)} on {', '.join(sorted(tasks))}", frozenset(tasks)
        )
        for titles, tasks in alike.items()
    ]


def alike_by_seed(of_row: Sequence[Floats], of_base: Sequence[Floats]) -> list[str]:
    """With how many seeds two rows make the same predictions, if with any; both in the same order of seeds."""
    same = sum(len(a) > 0 and np.array_equal(a, b) for a, b in zip(of_row, of_base, strict=True))
    return [f"both sides make the same predictions with {same} of {counted(len(of_row), 'seed')}"] if same else []


def _equal_scores(rows: Mapping[Row, Mapping[str, Cell]]) -> dict[str, list[list[Row]]]:
    """Column -> sets of rows with the same score for each seed."""
    columns: dict[str, dict[_Scores, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row, cells in rows.items():
        for column, cell in cells.items():
            if cell.metric != AVERAGE and cell.n > len(cell.collapsed):
                columns[column][tuple(sorted(cell.scores.items()))].append(row)
    return {column: [members for members in sets.values() if len(members) > 1] for column, sets in columns.items()}


def _predictions(paths: Mapping[Any, str]) -> tuple[bytes, ...]:
    """Of every run, in order of the seeds; nothing if one cannot be read."""
    try:
        files = [Path(paths[seed], "predictions.csv") for seed in sorted(paths)]
        return tuple(read_columns(file, ["prediction"])[1].tobytes() for file in files)
    except (OSError, UserError, ValueError):
        return ()
