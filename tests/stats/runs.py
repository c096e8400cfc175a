"""Predictions of two methods, and the difference of their scores by a plain loop."""

import numpy as np

from hype_bench.tasks.metrics import score

EXAMPLES = 40


def run(metric, seeds=2, examples=EXAMPLES, skill=0.0, seed=0):
    """Labels and predictions [seeds, examples] of two methods, the first of which is better by ``skill``."""
    rng = np.random.default_rng(seed)
    if metric in ("pearson", "spearman", "pearson_spearman"):
        labels = rng.integers(0, 26, examples) / 5
        return labels, *(labels + spread * rng.normal(size=(seeds, examples)) for spread in (2 - skill, 2))
    labels = rng.integers(0, 2, examples)
    hits = (rng.random((seeds, examples)) < right for right in (0.6 + skill, 0.6))
    return labels, *(np.where(hit, labels, 1 - labels) for hit in hits)


def score_gap(metric, labels, a, b):
    of_a, of_b = ([score(metric, labels, run)[metric] for run in runs] for runs in (a, b))
    return np.mean(of_a) - np.mean(of_b)
