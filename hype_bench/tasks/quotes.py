"""Finds a quote that was never closed: it turns all rows up to the next quote into one field, which parsers accept."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from hype_bench.options import UserError


def check_quotes(path: Path, frame: pd.DataFrame, label_column: str) -> None:
    """A text may have several lines. But if one of its lines is a row of this file, or the end or the beginning of one,
    with one of its labels in the label's column, the text has swallowed rows.

    Raises:
        UserError: a field contains rows.
    """
    if label_column not in frame.columns:
        return
    width, label = len(frame.columns), list(frame.columns).index(label_column)
    labels = set(frame[label_column].dropna())
    for position, column in enumerate(frame.columns):
        cells = frame[column].dropna()
        for row, cell in cells[cells.str.contains("\n", regex=False)].items():
            first, *middle, last = (next(csv.reader([line]), []) for line in cell.split("\n"))
            ends_row = len(first) == width - position and label > position and first[label - position] in labels
            is_row = any(len(line) == width and line[label] in labels for line in middle)
            begins_row = len(last) == position + 1 and label < position and last[label] in labels
            if ends_row or is_row or begins_row:
                raise UserError(
                    f"{path}: column {column!r} of row {row} contains rows of the file: a quote at its start is not "
                    'closed (within a quoted field a quote is written "")'
                )
