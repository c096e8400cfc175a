"""Runs of a sweep are called by what tells them apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hype_bench.launch.variation import varying
from hype_bench.runs.record import Label

SHORT = ("model=tiny_bert", "task=demo_rte", "training.max_steps=1", "tracker=none", "data.max_eval_examples=16")


def test_only_keys_with_several_values_vary() -> None:
    jobs = [["seed=1", "noise_scale=1e-5", "model=a"], ["seed=2", "noise_scale=1e-5"]]
    assert varying(jobs) == {"seed"}


def test_a_label_without_a_variation_is_what_it_was() -> None:
    assert Label("m", "t", "v", 1, "accuracy").title == "m t v seed 1"


def test_two_scales_have_two_names(warm: Any, tmp_path: Path) -> None:
    sweep = ("-m", *SHORT, "data.max_train_examples=16", "method=hype_n", "noise_scale=1e-5,1e-4")
    shown = warm(*sweep).stdout
    for scale in ("1e-5", "1e-4"):
        assert f"done: tiny_bert demo_rte hype_n seed 1 (scale={scale}): " in shown
    labels = [json.loads(path.read_text())["label"] for path in tmp_path.glob("results/runs/*/result.json")]
    assert {label["variation"] for label in labels} == {"scale=1e-5", "scale=1e-4"}
    grid = ("experiment=table1", "scope=smoke", "method=hype_n", "seed=1", "results_dir=other")
    again = warm("-m", *SHORT, *grid).stdout
    assert "hype_n seed 1 (scale=1e-4): " in again
    assert "hype_n seed 1 (scale=1e-5): " in again
