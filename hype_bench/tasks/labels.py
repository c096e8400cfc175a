"""How the labels of a file, whatever its columns' types, become class numbers or targets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hype_bench.config import TaskConfig, UserError

_TWO_CLASS_METRICS = ("f1", "accuracy_f1")


@dataclass(frozen=True)
class Coding:
    """``names``: of the classes, in order. ``classes``: a label as the file writes it -> its class."""

    names: list[str]
    classes: dict[str, int]

    def apply(self, where: str, labels: list[str]) -> NDArray[np.int64]:
        unknown = sorted(set(labels) - self.classes.keys())
        if unknown:
            raise UserError(f"{where}: unknown label {unknown[0]!r}; known are {', '.join(self.names)}")
        return np.asarray([self.classes[label] for label in labels], dtype=np.int64)


def written(column: pd.Series) -> pd.Series:
    """Labels as text, the same for the same label in every file format: 1, 1.0 and "1" are all ``1``."""
    return column.astype(str).str.replace(r"^([+-]?\d+)\.0*$", r"\1", regex=True)


def coding(task: TaskConfig, train: Iterable[str], everywhere: Iterable[str]) -> Coding:
    """Classes from ``task.labels``, or else from what the training split holds.

    A file may hold the names themselves or (hub) their numbers: names, if any label of all splits (``everywhere``) is
    one.

    Raises:
        UserError: fewer than two classes, or a metric that is not for so many.
    """
    names = list(task.labels) if task.labels is not None else sorted(set(train), key=_by_size)
    if len(names) < 2:
        instead = f"only {names[0]!r} is there" if names else "task.labels is empty"
        raise UserError(f"task {task.name}: a classification needs two labels or more, and {instead}")
    if task.metric in _TWO_CLASS_METRICS and len(names) != 2:
        raise UserError(f"task {task.name}: metric {task.metric} is for two classes, and there are {len(names)}")
    by_name = {name: number for number, name in enumerate(names)}
    by_number = {str(number): number for number in range(len(names))}
    if len(names) == 2:
        by_number |= {"False": 0, "True": 1}
    named = not by_name.keys().isdisjoint(everywhere)
    return Coding(names, by_name if named else by_number)


def targets(where: str, column: pd.Series) -> NDArray[np.float64]:
    """Numbers of a regression, rounded to float32: that is how the hub keeps them, so every source gives the same.

    Raises:
        UserError: a label that is no finite number.
    """
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = column[~np.isfinite(numbers)]
    if len(wrong):
        raise UserError(f"{where}: label {str(wrong.iloc[0])!r} is not a finite number")
    return numbers.astype(np.float32).astype(np.float64)


def _by_size(label: str) -> tuple[float, str]:
    try:
        number = float(label)
    except ValueError:
        number = math.inf
    return (number if math.isfinite(number) else math.inf), label
