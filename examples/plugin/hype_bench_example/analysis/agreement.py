"""``hype-bench agreement``: how stable predictions are over seeds."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from statistics import mean

import pandas as pd

import hype_bench
from hype_bench.arguments import ResultsDir
from hype_bench.output import say


def agreement(results_dir: ResultsDir = Path("results")) -> None:
    """Show how often runs that differ in the seed alone predict the same class.

    Claim: a technique can make single predictions more stable without a higher mean score.

    Source: an example; Summers and Dinneen 2021, https://arxiv.org/abs/2103.04514, study such disagreement.

    Cost: reads what runs have written; nothing is trained.
    """
    frame = hype_bench.load_results(results_dir)
    done = frame[frame.headline & (frame.status == "done")]
    for (model, task, method, _), runs in done.groupby(["model", "task", "method", "variant"], observed=True):
        answers = [pd.read_csv(Path(path) / "predictions.csv").prediction for path in runs.path]
        shares = [float((first == second).mean()) for first, second in combinations(answers, 2)]
        if shares:
            say(f"{model} {task} {method}: {100 * mean(shares):.1f} % over {len(shares)} pairs of seeds")
