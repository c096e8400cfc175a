"""What a run predicted wrongly, with the texts where its data lies on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hype_bench.config import DataConfig, SourceConfig, TaskConfig
from hype_bench.options import UserError
from hype_bench.runs.predictions import read_columns
from hype_bench.runs.record import Record

if TYPE_CHECKING:
    from hype_bench.tasks.data import TaskData

_USED = ("index", "row", "label", "prediction")
_SHOWN = 20  # of a run, on its page
_NO_FILE = "predictions.csv is missing or damaged"


@dataclass(frozen=True)
class Example:
    """``row``: at the source; ``texts``: by column, empty where the data is not at hand; ``distance``: the probability
    that the run gave to its wrong class or, in a regression, how far the prediction is from the label."""

    row: str
    texts: list[str]
    label: str
    prediction: str
    distance: float


@dataclass(frozen=True)
class Examples:
    """The worst predictions of a run on the split that its score is of, the worst one first.

    ``wrong``: how many of the ``n`` are, None in a regression; ``columns``: of the texts; ``problem``: why none can be
    shown.
    """

    split: str = ""
    shown: tuple[Example, ...] = ()
    wrong: int | None = None
    n: int = 0
    columns: tuple[str, ...] = ()
    problem: str = ""


def worst_examples(folder: Path, record: Record) -> Examples:
    """The wrong predictions that a run was surest of, or those farthest from the label; with their texts where the data
    that it was scored on can be read from this machine. The hub is not asked."""
    try:
        splits, numbers = read_columns(folder / "predictions.csv", [*_USED, *_outputs(record)])
        split = str(splits[0])
        index, row, label, prediction, *logits = numbers[splits == split].T
        texts = _texts(record).get(split, {})
        distance = _probability(np.stack(logits)) if record.classes else abs(label - prediction)
        wrong = np.flatnonzero(label != prediction)
        worst = wrong[np.argsort(-distance[wrong], kind="stable")[:_SHOWN]]
        shown = tuple(
            Example(
                row=str(int(row[n])),
                texts=[column[int(index[n])] for column in texts.values()],
                label=_name(label[n], record.classes),
                prediction=_name(prediction[n], record.classes),
                distance=float(distance[n]),
            )
            for n in worst
        )
    except (OSError, UserError, ValueError, LookupError):
        return Examples(problem=_NO_FILE)
    return Examples(split, shown, len(wrong) if record.classes else None, len(label), tuple(texts))


def _name(value: np.float64, classes: Sequence[str]) -> str:
    return classes[int(value)] if classes else str(value)


def _outputs(record: Record) -> list[str]:
    return [f"logit_{output}" for output in range(len(record.classes))]


def _probability(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the predicted class; logits are (outputs, examples), NaN for those that a split does not have."""
    probability: NDArray[np.float64] = 1 / np.nansum(np.exp(logits - np.nanmax(logits, axis=0)), axis=0)
    return probability


def _texts(record: Record) -> Mapping[str, Mapping[str, list[str]]]:
    """Split -> column -> texts in the order in which they were scored; nothing if the data here is not the run's."""
    for root in dict.fromkeys((record.data.get("root"), os.environ.get("HYPE_BENCH_DATA"))):
        try:
            fingerprint, texts = _evaluation(_settings(record, root))
        except TypeError:  # settings of another version
            continue
        if fingerprint == record.parts.get("data"):
            return texts
    return {}


def _settings(record: Record, root: str | None) -> str:
    """Of the data; the same for runs with the same rows."""
    data = DataConfig(**{**record.data, "root": root}).drawn(record.label.seed)
    return json.dumps([dict(record.task), asdict(data)])


@cache
def _evaluation(settings: str) -> tuple[str, dict[str, dict[str, list[str]]]]:
    """Fingerprint and texts of the evaluation splits; empty if they cannot be read from this machine."""
    from hype_bench.tasks.data import load

    task, data = json.loads(settings)
    try:
        source = SourceConfig(**task["source"]) if task.get("source") else None
        if source and data["root"] is None:
            return "", {}
        loaded: TaskData = load(TaskConfig(**{**task, "source": source}), DataConfig(**data))
    except (UserError, TypeError, KeyError):
        return "", {}
    columns = task["text_columns"]
    return loaded.fingerprint, {split.name: dict(zip(columns, split.texts, strict=True)) for split in loaded.evaluation}
