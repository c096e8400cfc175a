"""Settings that are valid one by one and not together; checked before any file is read.

Each function raises UserError for one kind of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from hype_bench.options import UserError


def check_columns(texts: Sequence[str], label: str) -> None:
    if not 1 <= len(texts) <= 2:
        raise UserError(f"task.text_columns must name one or two columns, not {list(texts)}")
    if len(set(texts)) < len(texts):
        raise UserError(f"task.text_columns names {texts[0]!r} twice")
    if label in texts:
        raise UserError(f"task.text_columns names {label!r}, the column of the labels: that is the answer")


def check_files(has_source: bool, train_file: str | None) -> None:
    if not has_source and train_file is None:
        raise UserError("task.train_file must be given, as in task.train_file=train.csv")


def check_splits(task: str, scored: Sequence[str], predicted: Sequence[str], predict: bool) -> None:
    if not scored:
        raise UserError("task.evaluation_splits must name at least one split")
    if predict and not predicted:
        raise UserError(f"data.predict_test=true: task {task} names no split to predict in task.test_splits")


def check_pieces(pieces: int, batch_size: int) -> None:
    if pieces > batch_size:
        raise UserError(
            f"training.gradient_accumulation_steps={pieces} cuts a batch of training.batch_size={batch_size} into more "
            "pieces than it has examples"
        )
