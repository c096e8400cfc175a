"""Predictions read back from a run's file: what they are, and what is said of a file that is at fault."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hype_bench.options import UserError
from hype_bench.tables.predictions import predicted_splits, read_predictions

ROWS = ["one,0,1,1", "two,0,0,0", "two,1,1,1", "two,2,1,0", "two,3,0,0"]  # three of the four of `two` are right


def run_with(folder: Path, *rows: str) -> Path:
    (folder / "predictions.csv").write_text("\n".join(["split,index,label,prediction", *rows]))
    return folder


def test_the_splits_of_a_run_are_known(tmp_path: Path) -> None:
    assert predicted_splits(tmp_path) == ()
    assert predicted_splits(run_with(tmp_path, *ROWS)) == {"one", "two"}


def test_a_split_is_read_by_its_name_and_the_first_one_without(tmp_path: Path) -> None:
    run = run_with(tmp_path, *ROWS)
    labels, predictions = read_predictions(run, "two", "accuracy", 0.75 + 9e-7)
    assert (labels.tolist(), predictions.tolist()) == ([0, 1, 1, 0], [0, 1, 0, 0])
    assert labels.dtype == predictions.dtype == np.float64
    assert [values.tolist() for values in read_predictions(run, "", "accuracy", 1.0)] == [[1], [1]]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (ROWS[:-2] + ROWS[-1:], "cannot be read (its examples are not all there, once each and in order)"),
        ([*ROWS[:-1], "two,3,0,inf"], "cannot be read (a label or a prediction is NaN or infinite)"),
        ([*ROWS[:-1], "two,3,nan,0"], "cannot be read (a label or a prediction is NaN or infinite)"),
        (ROWS, "gives accuracy 75.00 and the record 80.00"),
        (ROWS[:1], "cannot be read ("),
    ],
)
def test_a_file_at_fault_is_named_with_the_reason(tmp_path: Path, rows: list[str], complaint: str) -> None:
    run = run_with(tmp_path, *rows)
    message = f"{re.escape(f'{tmp_path}/predictions.csv {complaint}')}.*; the run is left out$"
    with pytest.raises(UserError, match=message):
        read_predictions(run, "two", "accuracy", 0.8)
