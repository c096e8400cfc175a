"""``predictions.csv`` and ``test.csv``: what the last weights make of every example, and its row at the source."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hype_bench.tasks.data import Split, TaskData
    from hype_bench.training.evaluation import Evaluation


def scored(evaluations: Mapping[str, Evaluation], data: TaskData) -> str:
    """CSV of the scored splits.

    Columns: split; index in the data as they were scored; row at the source, from 0, before any was dropped or left out
    of a subset; label and prediction, for classes by number and by name; one logit per output.
    """
    names = ["label_name", "prediction_name"] if data.labels else []
    rows: list[list[Any]] = []
    for split in data.evaluation:
        found = evaluations[split.name]
        both = zip(found.labels.tolist(), found.predictions.tolist(), strict=True)
        for place, answer in zip(_places(split), both, strict=True):
            rows.append([*place, *answer, *(data.labels[number] for number in answer if data.labels)])
    logits = np.concatenate([evaluations[split.name].logits for split in data.evaluation])
    return _csv(["split", "index", "row", "label", "prediction", *names], rows, logits)


def unlabelled(tests: Mapping[str, NDArray[np.float32]], data: TaskData) -> str:
    """CSV of the splits without labels; columns as in :func:`scored`, without labels and predictions."""
    rows = [list(place) for split in data.test for place in _places(split)]
    return _csv(["split", "index", "row"], rows, np.concatenate([tests[split.name] for split in data.test]))


def _places(split: Split) -> Iterable[tuple[str, int, int]]:
    return ((split.name, index, row) for index, row in enumerate(split.rows.tolist()))


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], logits: NDArray[np.float32]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(f"logit_{output}" for output in range(logits.shape[1]))])
    for row, outputs in zip(rows, logits.tolist(), strict=True):
        writer.writerow([*row, *(f"{value:.9g}" for value in outputs)])
    return text.getvalue()
