"""A task's texts and labels, split by split: checked, subset and fingerprinted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from hype_bench.config import DataConfig, TaskConfig, UserError
from hype_bench.tasks.label_noise import with_noise
from hype_bench.tasks.labels import UNLABELLED, Coding, canonical_labels, label_coding, minus_one_is_hidden, targets
from hype_bench.tasks.sizes import FULL_ROWS, SUBSET, part_of_rows
from hype_bench.tasks.source import location, read_split
from hype_bench.tasks.split import Split as Split


@dataclass(frozen=True)
class TaskData:
    """Training split, evaluation splits (the first one gives the reported score) and warnings.

    ``selection``: training examples held out for model selection, if any; ``test``: unlabelled splits to be predicted
    (their labels are all 0); ``subset``: split -> its rows and those of the public set, where it has fewer;
    ``absent``: evaluation splits that the source lacks; ``dropped``: split -> rows without text or label.
    """

    train: Split
    evaluation: list[Split]
    labels: list[str]
    fingerprint: str
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    subset: dict[str, tuple[int, int]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    selection: Split | None = None
    test: list[Split] = field(default_factory=list)

    @property
    def outputs(self) -> int:
        """Width of the head: one per class, or 1 for a regression."""
        return len(self.labels) or 1


def load(task: TaskConfig, data: DataConfig) -> TaskData:
    """Reads, checks and subsets every split a run needs.

    Args:
        data: with a seed of its subset (``DataConfig.drawn``).

    Raises:
        UserError: a split, column or label that does not match the task.
    """
    raw = _read(task, data)
    is_hidden = minus_one_is_hidden(task, set(_labels(task, task.train_split, raw[task.train_split])))
    dropped: dict[str, int] = {}
    warnings: list[str] = []
    frames = {split: _labelled(task, split, frame, is_hidden, dropped, warnings) for split, frame in raw.items()}
    subset = _subsets(task, frames)
    warnings += [SUBSET + part_of_rows(split, *rows) for split, rows in subset.items()]
    absent = [split for split in task.evaluation_splits if split not in raw]
    warnings += [f"split {split!r} is missing at the source and was not scored" for split in absent]
    coding = None
    if not task.is_regression:
        seen = {split: set(frame[task.label_column]) for split, frame in frames.items()}
        coding = label_coding(task, seen[task.train_split], set().union(*seen.values()))
    frames[task.train_split], selection = _hold_out(task, frames[task.train_split], data)

    def sample(split: str, size: int | None) -> Split:
        return _to_split(task, split, _subset(frames[split], size, int(data.subset_seed)), coding)

    train = sample(task.train_split, data.max_train_examples)
    if data.label_noise:
        train = _wrong_on_purpose(train, data, len(coding.names) if coding else 0, warnings)
    evaluation = [sample(split, data.max_eval_examples) for split in task.evaluation_splits if split in frames]
    return TaskData(
        train=train,
        evaluation=evaluation,
        labels=coding.names if coding else [],
        fingerprint=fingerprint([train, *evaluation]),
        dropped=dropped,
        warnings=warnings,
        subset=subset,
        absent=absent,
        selection=None if selection is None else _to_split(task, "selection", selection, coding),
        test=[_unlabelled(task, data, split, warnings) for split in task.test_splits] if data.predict_test else [],
    )


def _wrong_on_purpose(train: Split, data: DataConfig, classes: int, warnings: list[str]) -> Split:
    rate, kind = data.label_noise or 0.0, data.label_noise_kind
    if kind == "asymmetric" and not classes:
        raise UserError(
            "data.label_noise_kind=asymmetric needs classes, which a regression does not have: use symmetric"
        )
    noisy = with_noise(train, rate, classes, int(data.subset_seed), kind)
    wrong = int((noisy.labels != train.labels).sum())
    warnings.append(f"{wrong} of the {len(train)} training labels are wrong on purpose (data.label_noise={rate:g})")
    return noisy


def fingerprint(splits: list[Split]) -> str:
    """A hash of all texts and labels: the same rows have the same hash from every source."""
    digest = hashlib.blake2b(digest_size=16)
    for split in splits:
        digest.update(f"{len(split.texts)}/{len(split)}".encode())
        for column in split.texts:
            digest.update(np.asarray([len(text) for text in column], dtype=np.int64).tobytes())
            digest.update("".join(column).encode())
        digest.update(np.ascontiguousarray(split.labels).tobytes())
    return digest.hexdigest()


def _read(task: TaskConfig, data: DataConfig) -> dict[str, pd.DataFrame]:
    """Every split that exists, training first; the index is the row number.

    Raises:
        UserError: the training split or the one that gives the reported score is missing.
    """
    frames = {}
    for split in dict.fromkeys([task.train_split, *task.evaluation_splits]):
        frame = read_split(task, data, split)
        if frame is not None:
            frames[split] = _with_columns(task, split, frame, [*task.text_columns, task.label_column])
        elif split in (task.train_split, task.evaluation_splits[0]):
            raise UserError(f"task {task.name}: there is no split {split!r} in {location(task, data)}")
    return frames


def _with_columns(task: TaskConfig, split: str, frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    for column in columns:
        if column not in frame.columns:
            names = (name if name.isprintable() and name == name.strip() else repr(name) for name in frame.columns)
            columns_there = ", ".join(names) or "none"
            raise UserError(f"task {task.name}, split {split}: no column {column!r}; there are {columns_there}")
    return frame


def _labels(task: TaskConfig, split: str, frame: pd.DataFrame) -> pd.Series:
    return canonical_labels(f"task {task.name}, split {split}", frame[task.label_column].dropna())


def _no_text(task: TaskConfig, frame: pd.DataFrame) -> pd.Series:
    return frame[list(task.text_columns)].isna().any(axis=1)


def _labelled(
    task: TaskConfig, split: str, frame: pd.DataFrame, is_hidden: bool, dropped: dict[str, int], warnings: list[str]
) -> pd.DataFrame:
    """The rows with text and label; dropped rows are counted and warned of. Labels of classes become text.

    Args:
        is_hidden: whether the label -1 marks a hidden label.
    """
    no_text = _no_text(task, frame)
    no_label = frame[task.label_column].isna() & ~no_text
    kept = frame[~no_text & ~no_label]
    labels = _labels(task, split, kept)
    unlabelled = (labels == UNLABELLED) & is_hidden
    kept = (kept if task.is_regression else kept.assign(**{task.label_column: labels}))[~unlabelled]
    if kept.empty:
        raise UserError(f"task {task.name}, split {split}: no labelled row among {len(frame)}")
    reasons = {"without text": no_text, "without label": no_label, f"with label {UNLABELLED}": unlabelled}
    counts = [f"{rows.sum()} {reason}" for reason, rows in reasons.items() if rows.any()]
    if counts:
        dropped[split] = len(frame) - len(kept)
        warnings.append(f"{dropped[split]} of the {len(frame)} rows of {split} dropped: {', '.join(counts)}")
    return kept


def _subsets(task: TaskConfig, frames: dict[str, pd.DataFrame]) -> dict[str, tuple[int, int]]:
    """Split -> its rows and those of the public set, where it has fewer."""
    full = FULL_ROWS.get(task.source.folder, {}) if task.source else {}
    return {split: (len(frame), full[split]) for split, frame in frames.items() if len(frame) < full.get(split, 0)}


def _subset(frame: pd.DataFrame, size: int | None, seed: int) -> pd.DataFrame:
    """A fixed random subset in data order; a smaller one lies within every larger one of the same seed."""
    if size is None or size >= len(frame):
        return frame
    chosen = np.random.default_rng(seed).permutation(len(frame))[:size]
    return frame.iloc[np.sort(chosen)]


def _hold_out(task: TaskConfig, frame: pd.DataFrame, data: DataConfig) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The training rows without those held out for model selection, and those."""
    size = data.selection_examples
    if size is None:
        return frame, None
    if size >= len(frame):
        raise UserError(f"data.selection_examples={size} leaves none of the {len(frame)} training rows of {task.name}")
    selection = np.zeros(len(frame), dtype=bool)
    selection[np.random.default_rng(int(data.subset_seed)).permutation(len(frame))[-size:]] = True
    return frame[~selection], frame[selection]


def _to_split(task: TaskConfig, name: str, frame: pd.DataFrame, coding: Coding | None) -> Split:
    where, labels = f"task {task.name}, split {name}", frame[task.label_column]
    values = coding.apply(where, labels.tolist()) if coding else targets(where, labels)
    return Split(name, _texts(task, name, frame), values, frame.index.to_numpy(np.int64))


def _unlabelled(task: TaskConfig, data: DataConfig, name: str, warnings: list[str]) -> Split:
    frame = read_split(task, data, name)
    if frame is None:
        raise UserError(
            f"task {task.name}: there is no split {name!r} in {location(task, data)}; data.predict_test needs it"
        )
    no_text = _no_text(task, _with_columns(task, name, frame, list(task.text_columns)))
    if no_text.any():
        warnings.append(f"{no_text.sum()} of the {len(frame)} rows of {name} are without text and were not predicted")
    kept = frame[~no_text]
    zeros = np.zeros(len(kept)) if task.is_regression else np.zeros(len(kept), dtype=np.int64)
    return Split(name, _texts(task, name, kept), zeros, kept.index.to_numpy(np.int64))


def _texts(task: TaskConfig, split: str, frame: pd.DataFrame) -> tuple[list[str], ...]:
    columns = []
    for column in task.text_columns:
        texts = frame[column].tolist()
        other = next((value for value in texts if not isinstance(value, (str, int, float))), None)
        if other is not None:
            kind = type(other).__name__
            raise UserError(f"task {task.name}, split {split}: column {column!r} holds {kind}, not text")
        columns.append(list(map(str, texts)))
    return tuple(columns)
