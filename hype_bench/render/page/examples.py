"""What a run predicted wrongly, with the texts where its data lies on this machine."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hype_bench.config import DataConfig, SourceConfig, TaskConfig
from hype_bench.options import UserError
from hype_bench.runs.reading import read_text
from hype_bench.runs.record import Record

if TYPE_CHECKING:
    from hype_bench.tasks.data import TaskData

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
        lines = _lines(folder / "predictions.csv")
        distance = _probability if record.classes else _error
        wrong = sorted(
            ((distance(line), line) for line in lines if float(line["label"]) != float(line["prediction"])),
            key=lambda pair: -pair[0],
        )
        split = lines[0]["split"]
        texts = _texts(record).get(split, {})
        shown = tuple(_example(line, texts, far) for far, line in wrong[:_SHOWN])
    except (OSError, UserError, ValueError, LookupError, TypeError):
        return Examples(problem=_NO_FILE)
    return Examples(split, shown, len(wrong) if record.classes else None, len(lines), tuple(texts))


def _lines(path: Path) -> list[dict[str, str]]:
    """Those of the first split. csv's reader: pandas takes ten times as long for a file of this size."""
    header, *rows = csv.reader(io.StringIO(read_text(path), newline=""))
    return [dict(zip(header, row, strict=True)) for row in rows if row[0] == rows[0][0]]


def _example(line: Mapping[str, str], texts: Mapping[str, list[str]], distance: float) -> Example:
    label, prediction = (line.get(f"{name}_name", line[name]) for name in ("label", "prediction"))
    return Example(
        line.get("row", ""), [column[int(line["index"])] for column in texts.values()], label, prediction, distance
    )


def _error(line: Mapping[str, str]) -> float:
    return abs(float(line["label"]) - float(line["prediction"]))


def _probability(line: Mapping[str, str]) -> float:
    """Of the predicted class."""
    logits = [float(value) for name, value in line.items() if name.startswith("logit_")]
    return 1 / math.fsum(math.exp(logit - max(logits)) for logit in logits)


def _texts(record: Record) -> Mapping[str, Mapping[str, list[str]]]:
    """Split -> column -> texts in the order in which they were scored; nothing if the data here is not the run's."""
    for root in dict.fromkeys((record.data.get("root"), os.environ.get("HYPE_BENCH_DATA"))):
        fingerprint, texts = _evaluation(
            json.dumps([dict(record.task), {**record.data, "root": root}, record.label.seed])
        )
        if fingerprint == record.parts.get("data"):
            return texts
    return {}


@cache
def _evaluation(settings: str) -> tuple[str, dict[str, dict[str, list[str]]]]:
    """Fingerprint and texts of the evaluation splits; empty if they cannot be read from this machine."""
    from hype_bench.tasks.data import load

    task, data, seed = json.loads(settings)
    try:
        source = SourceConfig(**task["source"]) if task.get("source") else None
        if source and data["root"] is None:
            return "", {}
        loaded: TaskData = load(TaskConfig(**{**task, "source": source}), DataConfig(**data).drawn(seed))
    except (UserError, TypeError, KeyError):
        return "", {}
    columns = task["text_columns"]
    return loaded.fingerprint, {split.name: dict(zip(columns, split.texts, strict=True)) for split in loaded.evaluation}
