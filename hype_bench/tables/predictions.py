"""What a run predicted, read back from ``predictions.csv`` and held against its recorded score."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import numpy as np

from hype_bench.options import UserError
from hype_bench.runs.predictions import read_columns
from hype_bench.stats.means import Floats
from hype_bench.stats.resampled import checked_predictions, weighted_scores

_USED = ("index", "label", "prediction")
_CLOSE = 1e-6  # of a score; the file holds predictions in full


def predicted_splits(run: Path) -> Collection[str]:
    """The splits of which a run has predictions."""
    import pandas as pd

    try:
        return set(pd.read_csv(run / "predictions.csv", usecols=["split"], dtype=str).split)
    except (OSError, ValueError):
        return ()


def read_predictions(run: Path, split: str, metric: str, recorded: float) -> tuple[Floats, Floats]:
    """Labels and predictions of a split; without its name, of the first one in the file, which gives most cells.

    Raises:
        UserError: the file cannot be read, or does not give the recorded score; it names the file.
    """
    path = run / "predictions.csv"
    try:
        splits, numbers = read_columns(path, _USED)
        index, labels, predictions = np.ascontiguousarray(numbers[splits == (split or splits[0])].T)
        if index.tolist() != list(range(len(index))):  # runs are paired by the place of an example in the file
            raise ValueError("its examples are not all there, once each and in order")
        truth, both = checked_predictions(metric, labels, predictions, predictions)
        computed = float(weighted_scores(metric, truth, both[:1], np.ones((1, len(truth))))[0, 0])
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; the run is left out") from error
    except UserError as error:
        raise UserError(f"{error}; the run is left out") from error
    except (ValueError, LookupError) as error:
        raise UserError(f"{path} cannot be read ({error}); the run is left out") from error
    if not math.isclose(computed, recorded, rel_tol=0, abs_tol=_CLOSE):
        raise UserError(
            f"{path} gives {metric} {100 * computed:.2f} and the record {100 * recorded:.2f}; the run is left out"
        )
    return labels, predictions
