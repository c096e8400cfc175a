"""Labelled data that are only scored: their one or several splits, without a training split."""

from __future__ import annotations

from dataclasses import replace

from hype_bench.config import DataConfig, RunConfig, TaskConfig
from hype_bench.tasks.data import TaskData, load


def scored_data(task: TaskConfig, run: RunConfig) -> TaskData:
    """The evaluation splits of a task, of the size that the run's own have.

    Raises:
        UserError: they are not available, or do not match the task.
    """
    return scored_part(task, run.data.drawn(run.seed))


def scored_part(task: TaskConfig, data: DataConfig) -> TaskData:
    """As :func:`scored_data`, for the data settings of a run, with the seed of its subset."""
    only_scored = replace(data, max_train_examples=None, selection_examples=None, predict_test=False)
    loaded = load(replace(task, train_split=task.evaluation_splits[0]), only_scored)
    subset = {f"{split} of {task.name}": rows for split, rows in loaded.subset.items()}
    return replace(loaded, subset=subset, absent=[f"{task.name}/{split}" for split in loaded.absent])
