"""``predictions.csv`` and ``test.csv``: what the last weights make of every example, and its row at the source."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hype_bench.options import UserError
from hype_bench.runs.reading import read_text

if TYPE_CHECKING:
    from hype_bench.tasks.data import Split, TaskData
    from hype_bench.training.evaluation import Evaluation


def scored(evaluations: Mapping[str, Evaluation], data: TaskData) -> str:
    """CSV of the scored splits of a run, as :func:`evaluated` gives it."""
    splits = [split for split in (*data.evaluation, data.selection) if split and split.name in evaluations]
    return evaluated([(split, evaluations[split.name]) for split in splits], data.labels)


def evaluated(evaluations: Sequence[tuple[Split, Evaluation]], classes: Sequence[str]) -> str:
    """CSV of splits and what was predicted for each of their examples.

    Columns: split; index in the data as they were scored; label and prediction, for classes by number; one logit per
    output, if the split has it; row at the source, from 0, before any was dropped or left out of a subset; for classes,
    the names of label and prediction.
    """
    names = ["label_name", "prediction_name"] if classes else []
    first: list[list[Any]] = []
    last: list[list[Any]] = []
    for split, evaluation in evaluations:
        both = zip(evaluation.labels.tolist(), evaluation.predictions.tolist(), strict=True)
        for index, (row, answer) in enumerate(zip(split.rows.tolist(), both, strict=True)):
            first.append([split.name, index, *answer])
            last.append([row, *(classes[number] for number in answer if classes)])
    widest = max(evaluation.logits.shape[1] for _, evaluation in evaluations)
    logits = np.concatenate([_widened(evaluation.logits, widest) for _, evaluation in evaluations])
    return _csv(["split", "index", "label", "prediction"], first, logits, ["row", *names], last)


def _widened(logits: NDArray[np.float32], outputs: int) -> NDArray[np.float32]:
    """With NaN for outputs that these examples do not have, as a set of two classes beside one of three."""
    return np.pad(logits, ((0, 0), (0, outputs - logits.shape[1])), constant_values=np.nan)


def unlabelled(tests: Mapping[str, NDArray[np.float32]], data: TaskData) -> str:
    """CSV of the splits without labels; columns as in :func:`evaluated`, without labels and predictions."""
    first = [[split.name, index] for split in data.test for index in range(len(split))]
    last = [[row] for split in data.test for row in split.rows.tolist()]
    return _csv(["split", "index"], first, np.concatenate([tests[split.name] for split in data.test]), ["row"], last)


def _csv(
    columns: Sequence[str],
    first: Iterable[Sequence[Any]],
    logits: NDArray[np.float32],
    behind: Sequence[str],
    last: Iterable[Sequence[Any]],
) -> str:
    """The logits of all examples between what stands before and behind them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(f"logit_{output}" for output in range(logits.shape[1])), *behind])
    for before, outputs, after in zip(first, logits.tolist(), last, strict=True):
        writer.writerow([*before, *("" if value != value else f"{value:.9g}" for value in outputs), *after])
    return text.getvalue()


def read_columns(path: Path, names: Sequence[str]) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Of every example in a ``predictions.csv`` the name of its split, and the numbers in these columns.

    Empty ones, such as logits that a split does not have, are NaN. numpy's reader: pandas takes ten times as long for a
    file of this size.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read.
        ValueError: it has no examples, no such column, or something else than a number there.
    """
    header, _, lines = read_text(path).partition("\n")
    if not lines:
        raise ValueError("it has no examples")
    while ",," in lines:
        lines = lines.replace(",,", ",nan,")
    columns = header.split(",")
    table = np.loadtxt(
        io.StringIO(lines),
        np.dtype([("split", object), ("numbers", np.float64, len(names))]),
        comments=None,
        delimiter=",",
        quotechar='"',
        usecols=[columns.index(name) for name in ("split", *names)],
        ndmin=1,
    )
    return table["split"], table["numbers"]


class Predicted(NamedTuple):
    """What a run predicted of a split, in data order; ``logits`` are (examples, outputs), the others (examples,)."""

    labels: NDArray[np.float64]
    logits: NDArray[np.float64]
    rows: NDArray[np.int64]


def read_logits(run: Path) -> dict[str, Predicted]:
    """Split -> what a run predicted, from its ``predictions.csv``.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    import pandas as pd

    path = run / "predictions.csv"
    try:
        table = pd.read_csv(io.StringIO(read_text(path)))
        outputs = [name for name in table.columns if name.startswith("logit_")]
        numbers = table[["label", *outputs, "row"]].astype(np.float64)
        if not outputs or not np.isfinite(numbers).all(axis=None):
            raise ValueError("a label or a logit is no number")
        if (table.groupby("split", sort=False).cumcount() != table["index"]).any():
            raise ValueError("its examples are not all there, once each and in order")
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except UserError:
        raise
    except (ValueError, LookupError) as error:
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
    columns = numbers["label"].to_numpy(), numbers[outputs].to_numpy(), numbers["row"].to_numpy(np.int64)
    of_splits = table.groupby("split", sort=False).indices
    return {str(split): Predicted(*(column[at] for column in columns)) for split, at in of_splits.items()}
