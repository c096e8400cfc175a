"""What W&B is shown of a run's errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from hype_bench.tracking.files import send_errors, worst_errors

CLASSES = pd.DataFrame(
    {
        "split": ["validation"] * 4 + ["other"],
        "label": [0, 1, 2, 0, 1],
        "prediction": [0, 0, 0, 2, 0],
        "logit_0": [1.0, 1.0, 5.0, 0.0, 0.0],
        "logit_1": [0.0, 0.5, 0.0, 0.0, 0.0],
        "logit_2": [0.0, 0.0, 1.0, 2.0, 0.0],
        "label_name": list("abcab"),
        "prediction_name": list("aaaca"),
    }
)
NUMBERS = pd.DataFrame({"split": ["validation"] * 3, "label": [0.0, 1.0, 2.0], "prediction": [0.5, 4.0, 2.0]})


class Session:
    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}

    def log(self, row: dict[str, Any]) -> None:
        self.logged |= row


def sent(folder: Path, table: pd.DataFrame) -> dict[str, Any]:
    table.to_csv(folder / "predictions.csv", index=False)
    session = Session()
    send_errors(session, folder)
    return session.logged


def test_classes_have_a_matrix_and_the_widest_margin_comes_first(tmp_path: Path) -> None:
    assert worst_errors(CLASSES[:4]).margin.to_dict() == {2: 4.0, 3: 2.0, 1: 0.5}
    logged = sent(tmp_path, CLASSES)
    counts = {tuple(row[:2]): row[2] for row in logged["eval/confusion_matrix"].table.data if row[2]}
    assert counts == {("a", "a"): 1, ("b", "a"): 1, ("c", "a"): 1, ("a", "c"): 1}
    assert [row[-1] for row in logged["eval/errors"].data] == [4.0, 2.0, 0.5]


def test_of_a_regression_it_is_the_distance(tmp_path: Path) -> None:
    logged = sent(tmp_path, NUMBERS)
    assert logged.keys() == {"eval/errors"}
    assert [row[-1] for row in logged["eval/errors"].data] == [3.0, 0.5, 0.0]
