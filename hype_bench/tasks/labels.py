"""How the labels of a file, whatever its columns' types, become class numbers or targets."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hype_bench.config import TaskConfig, UserError
from hype_bench.tasks.metrics import TWO_CLASS_METRICS

UNLABELLED = "-1"  # the hub's mark of a hidden label
_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_LIST = re.compile(r"\s*\[(.*,.*|\s*(['\"]).*\2\s*)\]\s*", re.DOTALL)


@dataclass(frozen=True)
class Coding:
    """``names``: of the classes, in order. ``classes``: a label as :func:`canonical_labels` has it -> its class."""

    names: list[str]
    classes: dict[str, int]

    def apply(self, where: str, labels: list[str]) -> NDArray[np.int64]:
        unknown = sorted(set(labels) - self.classes.keys())
        if unknown:
            alike = next((f"; {unknown[0]!r} is not {name!r}" for name in _alike(unknown[0], self.names)), "")
            raise UserError(f"{where}: unknown label {unknown[0]!r}; known are {_listed(self.names)}{alike}")
        return np.asarray([self.classes[label] for label in labels], dtype=np.int64)


def canonical(label: object) -> str:
    """A label as text, the same for the same label in every file format and on the command line: 1, 1.0 and "1" are
    all ``1``, and true, TRUE and True are all ``True``."""
    text = str(label)
    if whole := _WHOLE.fullmatch(text):
        text = whole[1]
    if text.lower() in ("true", "false"):
        return text.capitalize()
    return "0" if text in ("-0", "+0") else text


def canonical_labels(where: str, column: pd.Series) -> pd.Series:
    """Labels as :func:`canonical` texts.

    Raises:
        UserError: a label that is a list, in whatever notation.
    """
    texts = column.astype(str)
    several = next((label for label in column if pd.api.types.is_list_like(label)), None)
    several = several if several is not None else next(filter(_LIST.fullmatch, texts.unique()), None)
    if several is not None:
        example = " ".join(str(several).split())[:40]
        raise UserError(
            f"{where}: column {column.name!r} holds lists, such as {example}: a row must have one label "
            "(multi-label classification is not available)"
        )
    return texts.map({text: canonical(text) for text in texts.unique()})


def label_coding(task: TaskConfig, train: Iterable[str], everywhere: Iterable[str]) -> Coding:
    """Classes from ``task.labels``, or else from what the training split holds.

    A file may hold the names themselves or (hub) their numbers: names, if any label of all splits (``everywhere``) is
    one.

    Raises:
        UserError: fewer than two classes, a name given twice or in two spellings, or too many classes for the metric.
    """
    everywhere = set(everywhere)
    names = sorted(set(train), key=_by_size) if task.labels is None else _named(task)
    if len(names) < 2:
        instead = f"there is only {names[0]!r}" if names else "task.labels is empty"
        raise UserError(f"task {task.name}: a classification needs at least two labels, but {instead}")
    if task.labels is None:
        _refuse_two_spellings(task, everywhere)
    if task.metric in TWO_CLASS_METRICS and len(names) != 2:
        raise UserError(
            f"task {task.name}: metric {task.metric} is for two classes, but there are {len(names)}; "
            "macro_f1 takes any number"
        )
    by_name = {name: number for number, name in enumerate(names)}
    by_number = {str(number): number for number in range(len(names))}
    if by_name.keys() == {"False", "True"}:
        by_number = {"0": by_name["False"], "1": by_name["True"]}
    elif len(names) == 2:
        by_number |= {"False": 0, "True": 1}
    return Coding(names, by_number if by_name.keys().isdisjoint(everywhere) else by_name)


def minus_one_is_hidden(task: TaskConfig, train: Collection[str]) -> bool:
    """Whether the label -1 is the hub's mark of a hidden label, judged by the labels of the training split.

    In a regression it is a number in a user's own file, and wherever other targets are negative.

    Raises:
        UserError: classes that a user's own file does not name, -1 among them: only the user knows what it means.
    """
    if task.is_regression:
        return task.source is not None and not any(label.startswith("-") and label != UNLABELLED for label in train)
    if task.labels is not None:
        return UNLABELLED not in map(canonical, task.labels)
    if task.source is None and UNLABELLED in train:
        raise UserError(
            f"task {task.name}: label {UNLABELLED} is a class, or marks rows whose label is hidden: name the classes "
            f"with task.labels=[...], {UNLABELLED} among them if it is one (else its rows are dropped)"
        )
    return True


def targets(where: str, column: pd.Series) -> NDArray[np.float64]:
    """Targets of a regression, rounded to float32 as the hub stores them, so that every source gives the same.

    Raises:
        UserError: a label that is not a finite number.
    """
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = column[~np.isfinite(numbers)]
    if len(wrong):
        raise UserError(f"{where}: label {str(wrong.iloc[0])!r} is not a finite number")
    return numbers.astype(np.float32).astype(np.float64)


def _named(task: TaskConfig) -> list[str]:
    names = list(map(canonical, task.labels or ()))
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise UserError(f"task.labels names {twice[0]!r} twice")
    return names


def _refuse_two_spellings(task: TaskConfig, labels: Iterable[str]) -> None:
    """``yes`` beside ``yes`` with a trailing blank: two classes that nobody meant."""
    seen: dict[str, str] = {}
    for label in sorted(labels):
        other = seen.setdefault(_folded(label), label)
        if other != label:
            raise UserError(
                f"task {task.name}: labels {other!r} and {label!r} look like two spellings of one: spell them alike, "
                "or name both with task.labels"
            )


def _listed(names: list[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _alike(label: str, known: Iterable[str]) -> Iterable[str]:
    return (name for name in known if _folded(name) == _folded(label))


def _folded(label: str) -> str:
    """Without blanks, case, invisible characters and Unicode's several forms of one letter; a number as its value."""
    visible = (sign for sign in unicodedata.normalize("NFKC", label) if unicodedata.category(sign) != "Cf")
    text = "".join("".join(visible).casefold().split())
    try:
        return repr(float({"true": "1", "false": "0"}.get(text, text)))
    except ValueError:
        return text


def _by_size(label: str) -> tuple[float, str]:
    try:
        number = float(label)
    except ValueError:
        number = math.inf
    return (number if math.isfinite(number) else math.inf), label
