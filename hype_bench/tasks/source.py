"""Where the rows of a split come from: a generator, a user's file, a folder of parquet files, or the hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hype_bench.config import DataConfig, SourceConfig, TaskConfig, UserError
from hype_bench.tasks import demo
from hype_bench.tasks.files import first_line, read_file
from hype_bench.tasks.hub import go_offline_if_unreachable
from hype_bench.tasks.quotes import check_quotes

_NO_SPLIT = re.compile(r"(Unknown|Bad) split", re.IGNORECASE)  # the messages of datasets


def read_split(task: TaskConfig, data: DataConfig, split: str) -> pd.DataFrame | None:
    """The rows of one split as the source has them, or None if it has no such split.

    Args:
        split: its name; ``ax/test`` is the split ``test`` of the data set ``ax`` beside the task's own.

    Raises:
        UserError: the source cannot be reached or read; the message says what to do.
    """
    if task.generated:
        if task.name not in demo.TASKS:
            raise UserError(f"there is no generator of {task.name!r}; there are {', '.join(demo.TASKS)}")
        return pd.DataFrame(demo.generate(task.name, split)) if split in demo.SIZES else None
    if task.source is None:
        file = {task.train_split: task.train_file, "validation": task.validation_file}.get(split)
        return None if file is None else _read_own(Path(file).expanduser(), task.label_column)
    beside, _, split = split.rpartition("/")
    source = replace(task.source, config=beside, folder=beside) if beside else task.source
    if data.root is not None:
        return _read_folder(source, Path(data.root).expanduser(), split)
    return _read_hub(source, split)


def location(task: TaskConfig, data: DataConfig) -> str:
    """Where the splits of a task are read from, in words."""
    if task.source is None:
        return "the generator" if task.generated else "task.train_file and task.validation_file"
    if data.root is not None:
        return str(Path(data.root).expanduser() / task.source.folder)
    return f"{task.source.hub} on the hub"


def _read_own(path: Path, label_column: str) -> pd.DataFrame:
    frame = read_file(path)
    if path.suffix.lower() == ".csv":
        check_quotes(path, frame, label_column)
    return frame


def _read_folder(source: SourceConfig, root: Path, split: str) -> pd.DataFrame | None:
    folder = root / source.folder
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; data.root (HYPE_BENCH_DATA) must hold {source.folder}/<split>.parquet, "
            "or leave it empty to load from the hub"
        )
    path = folder / f"{split}.parquet"
    return read_file(path) if path.is_file() else None


def _read_hub(source: SourceConfig, split: str) -> pd.DataFrame | None:
    go_offline_if_unreachable()
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs every retry
    try:
        return _load_hub(datasets.load_dataset, source, split)
    except Exception as error:  # from the hub's, the network's and the format's libraries
        if isinstance(error, ValueError) and _NO_SPLIT.search(str(error)):
            return None
        raise UserError(_what_to_do(source, error)) from error


def _load_hub(load: Callable[..., Any], source: SourceConfig, split: str) -> pd.DataFrame:
    try:
        rows = load(source.hub, source.config, split=split)
    except RuntimeError:  # a repository with a loading script: the hub has a parquet copy
        rows = load(source.hub, source.config, split=split, revision="refs/convert/parquet")
    return pd.DataFrame(rows.to_pandas())


def _what_to_do(source: SourceConfig, error: Exception) -> str:
    return (
        f"{source.hub} is neither reachable on the hub nor in its cache ({first_line(error)}): "
        f"go online once, or set HYPE_BENCH_DATA (data.root) to a folder with {source.folder}/<split>.parquet, "
        "or choose a generated task such as task=demo_rte"
    )
