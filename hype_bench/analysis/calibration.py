"""Calibration: whether a run is right as often as its probabilities say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.config import RunConfig
from hype_bench.options import UserError, number
from hype_bench.runs.predictions import read_logits
from hype_bench.runs.record import HELDOUT
from hype_bench.stats.calibration import BINS, calibration, fitted_temperature


@dataclass(frozen=True)
class Calibration(Analysis):
    """Expected calibration error, Brier score and negative log-likelihood of a classifier, before and after scaling.

    The first score is the expected calibration error on the split that is reported; `brier` and `nll` stand beside it.
    `scaled` has the same with the logits divided by the temperature that is best on the training examples that were
    set aside (`data.selection_examples`); without them there is no `scaled`. The predictions are those that the run
    left behind. In the Brier score the squared distances of all classes are summed, so that it goes from 0 to 2.

    Args:
        bins: of equal width, over which the expected calibration error is summed.

    Claim: fine-tuning makes a classifier too sure of itself, and a technique that smooths it less so; what a
    temperature repairs is no merit of a technique.

    Source: Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", ICML,
    https://arxiv.org/abs/1706.04599; Brier 1950, Monthly Weather Review 78. Written from the formulas, and held to
    scikit-learn's log-likelihood by a test; no released code was compared.

    Cost: none beyond the run.
    """

    metric = "ece"
    bins: int = number(BINS, least=1, most=10_000)

    def check(self, run: RunConfig) -> None:
        if run.task.is_regression:
            raise UserError(f"analysis=calibration: {run.task.name} is a regression, which gives no probabilities")

    def measure(self, trained: Trained) -> Measured:
        read = read_logits(trained.folder.path)
        predicted = {split: (of.labels.astype(np.int64), of.logits) for split, of in read.items()}
        measured = Measured()
        held_out = predicted.pop(HELDOUT, None)
        temperature = None if held_out is None else fitted_temperature(held_out[1], held_out[0])
        for split, (labels, logits) in predicted.items():
            measured.rows[split] = len(labels)
            measured.scores[split] = calibration(logits, labels, bins=self.bins)._asdict()
        if temperature is None:
            return measured
        for split, (labels, logits) in predicted.items():
            name = "scaled" if split == next(iter(predicted)) else f"{split}_scaled"
            measured.rows[name] = len(labels)
            measured.scores[name] = calibration(logits, labels, temperature, self.bins)._asdict()
        measured.facts["temperature"] = temperature
        return measured
