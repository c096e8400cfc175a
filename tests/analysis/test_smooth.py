"""Mixtures of two runs, against the numbers of the published code, and from the predictions of finished runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hype_bench.analysis.smooth import best_alpha, mix, smooth
from hype_bench.options import UserError
from hype_bench.runs.predictions import read_logits


def test_mixtures_are_those_of_the_published_code(parity: Any) -> None:
    numbers = parity("adaptive_smoothing")
    accurate, robust = (np.array(numbers[name]) for name in ("std_logits", "robust_logits"))
    for case in numbers["fixed_gamma"]:
        assert case["robust_scale"] == 1
        mixed = mix(accurate, robust, 1 / (1 + np.exp(-case["gamma"])), case["std_scale"])
        np.testing.assert_allclose(mixed, case["log_probabilities"], rtol=0, atol=1e-10)
    others = parity("adaptive_smoothing_b")
    accurate, robust = (np.array(others[name]) for name in ("standard_logits", "robust_logits"))
    np.testing.assert_allclose(mix(accurate, robust, 0.5), others["log_probabilities"], rtol=0, atol=1e-10)


def test_the_ends_are_the_two_runs_and_large_logits_stay_finite() -> None:
    accurate, robust = np.array([[900.0, 0.0]]), np.array([[0.0, 900.0]])
    assert mix(accurate, robust, 0.0).argmax() == 0
    assert mix(accurate, robust, 1.0).argmax() == 1
    assert np.isfinite(mix(accurate, robust, 0.5)).all()


def test_of_equal_scores_the_most_robust_weight_is_chosen() -> None:
    assert best_alpha(lambda alpha: 0.9 if alpha <= 0.4 else 0.8) == 0.4


def test_a_mixture_is_a_record_beside_its_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = place / "results"
    smooth("vanilla", "vanilla", results_dir=results)
    shown = capsys.readouterr().out
    assert shown.count("done: tiny_bert demo_rte vanilla+smooth seed") == 3
    records = {path.parent: json.loads(path.read_text()) for path in results.glob("runs/*/result.json")}
    for folder, record in records.items():
        if record["label"]["method"] == "vanilla+smooth":
            run = next(path for path in records if path.name == record["facts"]["robust_run"])
            assert record["scores"] == records[run]["scores"]  # of a run with itself
            assert record["facts"]["alpha"] == 1
            assert read_logits(folder).keys() == {"validation", "selection"}


def test_what_cannot_be_mixed_is_one_line(place: Path) -> None:
    results = place / "results"
    with pytest.raises(UserError, match=r"no run of vanilla and of smart .*; there are 3 and 0 runs$"):
        smooth("vanilla", "smart", results_dir=results)
    with pytest.raises(UserError, match=r"^--alpha must be at least 0 and at most 1, not -1$"):
        smooth("vanilla", "vanilla", alpha="-1", results_dir=results)
    with pytest.raises(UserError, match=r"^--scale must be above 0, not 0$"):
        smooth("vanilla", "vanilla", scale=0, results_dir=results)
    for path in results.glob("runs/*/predictions.csv"):
        path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("selection")))
    with pytest.raises(UserError, match=r"no examples were set aside: train with data\.selection_examples"):
        smooth("vanilla", "vanilla", results_dir=results)
    for path in results.glob("runs/*/predictions.csv"):
        path.write_text("\n".join(path.read_text().splitlines()[:-3]).replace("validation,2,", "validation,3,"))
    with pytest.raises(UserError, match=r"predictions\.csv cannot be read \(its examples are not all there"):
        smooth("vanilla", "vanilla", alpha="0.5", results_dir=results)
