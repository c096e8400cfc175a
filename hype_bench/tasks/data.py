"""A task as the rest of the program sees it: texts and labels per split, checked, subset and fingerprinted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hype_bench.config import DataConfig, TaskConfig, UserError
from hype_bench.tasks.source import read_split

UNLABELLED = -1  # the hub's mark for a hidden label


@dataclass(frozen=True)
class Split:
    """One split. ``texts``: one or two lists of the same length; ``labels``: int64 classes or float64 targets."""

    name: str
    texts: tuple[list[str], ...]
    labels: NDArray[np.int64] | NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TaskData:
    """Training split, evaluation splits (the first one gives the reported score) and what was said on the way."""

    train: Split
    evaluation: list[Split]
    labels: list[str]
    fingerprint: str
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def outputs(self) -> int:
        """Width of the head: one per class, or 1 for a regression."""
        return len(self.labels) or 1


def load(task: TaskConfig, data: DataConfig) -> TaskData:
    """Reads, checks and subsets every split a run needs.

    Raises:
        UserError: a split, column or label that is not as the task says.
    """
    dropped: dict[str, int] = {}
    warnings: list[str] = []
    frames: dict[str, pd.DataFrame] = {}
    for split in [task.train_split, *task.evaluation_splits]:
        frame = read_split(task, data, split)
        if frame is not None:
            frames[split] = _drop_unlabelled(task, split, frame, dropped)
        elif split in (task.train_split, task.evaluation_splits[0]):
            raise UserError(f"task {task.name} has no split {split!r} at its source")
        else:
            warnings.append(f"split {split!r} is not at the source and was not scored")
    labels = _label_names(task, frames[task.train_split])
    limits = {task.train_split: data.max_train_examples}
    splits = {
        name: _to_split(task, name, _subset(frame, limits.get(name, data.max_eval_examples), data.subset_seed), labels)
        for name, frame in frames.items()
    }
    train = splits.pop(task.train_split)
    return TaskData(
        train=train,
        evaluation=list(splits.values()),
        labels=labels,
        fingerprint=fingerprint([train, *splits.values()]),
        dropped=dropped,
        warnings=warnings + [f"{count} rows of {name} dropped: no label or no text" for name, count in dropped.items()],
    )


def fingerprint(splits: list[Split]) -> str:
    """A hash of all texts and labels: the same rows give the same hash wherever they come from."""
    digest = hashlib.blake2b(digest_size=16)
    for split in splits:
        digest.update(f"{len(split.texts)}/{len(split)}".encode())
        for column in split.texts:
            digest.update("\x1f".join(column).encode())
        digest.update(np.ascontiguousarray(split.labels).tobytes())
    return digest.hexdigest()


def _drop_unlabelled(task: TaskConfig, split: str, frame: pd.DataFrame, dropped: dict[str, int]) -> pd.DataFrame:
    for column in (*task.text_columns, task.label_column):
        if column not in frame.columns:
            raise UserError(
                f"task {task.name}, split {split}: no column {column!r}; there are {', '.join(map(str, frame.columns))}"
            )
    kept = frame.dropna(subset=[*task.text_columns, task.label_column])
    kept = kept[kept[task.label_column] != UNLABELLED]
    if len(kept) < len(frame):
        dropped[split] = len(frame) - len(kept)
    if kept.empty:
        raise UserError(f"task {task.name}, split {split}: no labelled row among {len(frame)}")
    return kept


def _label_names(task: TaskConfig, train: pd.DataFrame) -> list[str]:
    if task.is_regression:
        return []
    if task.labels is not None:
        return list(task.labels)
    return [str(label) for label in sorted(train[task.label_column].unique().tolist())]


def _subset(frame: pd.DataFrame, size: int | None, seed: int) -> pd.DataFrame:
    """A fixed random subset in data order; a smaller one lies within every larger one of the same seed."""
    if size is None or size >= len(frame):
        return frame
    chosen = np.random.default_rng(seed).permutation(len(frame))[:size]
    return frame.iloc[np.sort(chosen)]


def _to_split(task: TaskConfig, name: str, frame: pd.DataFrame, labels: list[str]) -> Split:
    texts = tuple(frame[column].astype(str).tolist() for column in task.text_columns)
    if task.is_regression:
        try:
            return Split(name, texts, frame[task.label_column].to_numpy(dtype=np.float64))
        except ValueError as error:
            raise UserError(f"task {task.name}, split {name}: a label is not a number ({error})") from error
    numbers = {label: number for number, label in enumerate(labels)}
    named_by_number = task.labels is not None and pd.api.types.is_integer_dtype(frame[task.label_column])
    known = set(range(len(labels))) if named_by_number else set(numbers)
    found = frame[task.label_column].tolist() if named_by_number else frame[task.label_column].astype(str).tolist()
    unknown = sorted(set(found) - known, key=str)
    if unknown:
        raise UserError(f"task {task.name}, split {name}: unknown label {unknown[0]!r}; known are {', '.join(labels)}")
    classes = found if named_by_number else [numbers[label] for label in found]
    return Split(name, texts, np.asarray(classes, dtype=np.int64))
