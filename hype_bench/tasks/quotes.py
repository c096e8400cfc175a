"""Finds the quote that was never closed: it makes one field of all rows up to the next quote, and no parser minds."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from hype_bench.options import UserError


def check_quotes(path: Path, frame: pd.DataFrame, label_column: str) -> None:
    """A text may well have several lines. One whose lines end as the rows of this file do, with one of its labels in
    the label's place, has swallowed them.

    Raises:
        UserError: a field that holds rows.
    """
    if label_column not in frame.columns:
        return
    behind = len(frame.columns) - list(frame.columns).index(label_column)  # places from the end of a row
    labels = set(frame[label_column].dropna())
    for place, column in enumerate(frame.columns):
        cells = frame[column].dropna()
        for row, cell in cells[cells.str.contains("\n", regex=False)].items():
            *lines, _ = cell.splitlines() or [""]
            tails = [next(csv.reader([line]), []) for line in lines]
            widths = [len(frame.columns) - place, *(len(frame.columns) for _ in lines[1:])]
            if any(
                len(tail) == width >= behind and tail[-behind] in labels
                for tail, width in zip(tails, widths, strict=True)
            ):
                raise UserError(
                    f"{path}: column {column!r} of row {row} holds rows of the file: a quote at its start is not "
                    'closed (within a quoted field a quote is written "")'
                )
