"""Runs that have learnt nothing: they score as if they always gave one class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hype_bench.config import TIED
from hype_bench.runs.status import DONE
from hype_bench.stats.means import Floats
from hype_bench.stats.resampled import weighted_scores

if TYPE_CHECKING:
    import pandas as pd

_TRIED = 3  # runs of which one has predictions that can be read
_CLASSIFICATION = ("accuracy", "f1", "accuracy_f1", "macro_f1", "matthews")  # a constant has no correlation: NaN
_ROUNDING = 1e-9  # of a score


def collapsed(runs: pd.DataFrame, split: str) -> NDArray[np.bool_]:
    """Whether a done run scores what one class for all examples would score.

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
            flags[alike] = (np.abs(scores[alike, None] - constants) < _ROUNDING).any(axis=1)
    return flags


def _constant_scores(runs: list[str], split: str, metric: str) -> Floats:
    """The score of each class for all examples; none if no run's predictions can be read."""
    for run in runs:
        try:
            labels = _labels(Path(run), split)
        except (OSError, ValueError, LookupError):
            continue
        constants = np.repeat(np.unique(labels)[:, None], len(labels), axis=1)
        scores: Floats = weighted_scores(metric, labels, constants, np.ones((1, len(labels))))[0]
        return scores
    return np.zeros(0)


def _labels(run: Path, split: str) -> Floats:
    import pandas as pd

    table = pd.read_csv(run / "predictions.csv", usecols=["split", "label"])
    labels: Floats = table.label[table.split == (split or table.split.iloc[0])].to_numpy(np.float64)
    return labels
