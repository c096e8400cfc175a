"""What a run predicted, read back from ``predictions.csv`` and held against its recorded score."""

from __future__ import annotations

import io
import math
from collections.abc import Collection
from pathlib import Path

import numpy as np

from hype_bench.options import UserError
from hype_bench.runs.reading import read_text
from hype_bench.stats.means import Floats
from hype_bench.tasks.metrics import score

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
    import pandas as pd

    path = run / "predictions.csv"
    try:
        table = pd.read_csv(io.StringIO(read_text(path)), usecols=["split", "index", "label", "prediction"])
        part = table[table["split"] == (split or table["split"].iloc[0])]
        labels, predictions = (part[name].to_numpy(np.float64) for name in ("label", "prediction"))
        if part["index"].tolist() != list(range(len(part))):  # runs are paired by the place of an example in the file
            raise ValueError("its examples are not all there, once each and in order")
        if not np.isfinite([labels, predictions]).all():
            raise ValueError("a label or a prediction is no number")
        computed = score(metric, labels, predictions)[metric]
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
