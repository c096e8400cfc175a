"""Runs that have learnt nothing: they always give one class."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hype_bench.config import TIED
from hype_bench.options import UserError
from hype_bench.runs.predictions import read_columns
from hype_bench.runs.status import DONE
from hype_bench.stats.means import Floats
from hype_bench.stats.resampled import weighted_scores

if TYPE_CHECKING:
    import pandas as pd

_TRIED = 3  # runs of which one has predictions that can be read
_CLASSIFICATION = ("accuracy", "f1", "accuracy_f1", "macro_f1", "matthews")  # a constant has no correlation: NaN
_ROUNDING = 1e-9  # of a score


def collapsed(runs: pd.DataFrame, split: str) -> NDArray[np.bool_]:
    """Whether a done run gives one class for all examples. Only the predictions of one that scores so are read.

    The labels come from the predictions of one run of a task; where none can be read, none is known to have collapsed.

    Args:
        runs: as :func:`hype_bench.runs.frame.tidy` has them, with their scores on ``split``.
        split: without its name, the first one of the task.
    """
    flags = np.zeros(len(runs), dtype=bool)
    done = np.flatnonzero(runs.status.astype(object) == DONE)
    scores, paths = runs.score.to_numpy(np.float64), runs.path.to_numpy()
    data = runs[["task", "metric", "subset"]].iloc[done]
    parts = data.subset.dropna().unique()
    data = data.assign(subset=data.subset.astype(object).fillna("") if len(parts) else "")
    if any(TIED in part for part in parts):  # each run has rows of its own
        data["subset"] = data.subset.mask(data.subset.str.contains(TIED, regex=False), paths[done])
    for members in data.groupby(list(data), observed=True).indices.values():
        alike, metric = done[members], str(data.metric.iloc[members[0]])
        if metric in _CLASSIFICATION:
            constants = _constant_scores(paths[alike[:_TRIED]].tolist(), split, metric)
            suspects = alike[(np.abs(scores[alike, None] - constants) < _ROUNDING).any(axis=1)]
            flags[suspects] = [_gives_one_class(paths[number], split) for number in suspects]
    return flags


@lru_cache(maxsize=100_000)
def _gives_one_class(run: str, split: str) -> bool:
    """By its predictions, as of 100 examples one time in ten the score is met by chance; by the score where there are
    none that can be read."""
    try:
        return len(np.unique(_column("prediction", Path(run), split))) == 1
    except (OSError, UserError, ValueError, LookupError):
        return True


def _constant_scores(runs: list[str], split: str, metric: str) -> Floats:
    """The score of each class for all examples; none if no run's predictions can be read."""
    for run in runs:
        try:
            labels = _column("label", Path(run), split)
        except (OSError, UserError, ValueError, LookupError):
            continue
        constants = np.repeat(np.unique(labels)[:, None], len(labels), axis=1)
        scores: Floats = weighted_scores(metric, labels, constants, np.ones((1, len(labels))))[0]
        return scores
    return np.zeros(0)


def _column(name: str, run: Path, split: str) -> Floats:
    """Of the predictions of a split."""
    splits, numbers = read_columns(run / "predictions.csv", [name])
    values: Floats = numbers[splits == (split or splits[0]), 0]
    return values
