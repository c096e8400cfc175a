"""Hydra's Optuna sweeper: it maximises the score on training examples set aside, never the one that is reported."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from hype_bench.launch import callback
from hype_bench.launch.main import selection_score
from hype_bench.runs.status import DONE
from hype_bench.sweeps.outcomes import JobResult
from tests.runs.records import record_of

SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "training.learning_rate=interval(1e-4,1e-2)")
SHORT = ("model=tiny_bert", "task=demo_rte", "training.max_steps=4", "tracker=none", "data.max_eval_examples=16")


def test_four_trials_choose_on_what_was_set_aside(warm: Any, tmp_path: Path) -> None:
    if find_spec("hydra_plugins.hydra_optuna_sweeper") is None:
        pytest.skip("needs the extra optuna")
    ended = warm(*SEARCH, *SHORT, "data.max_train_examples=64", "data.selection_examples=50")
    assert ended.returncode == 0, ended.stderr
    assert "4 runs: 4 done now, 0 done before, 0 failed" in ended.stdout
    records = [json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/result.json")]
    aside = {
        record["config"]["training"]["learning_rate"]: record["scores"]["selection/accuracy"] for record in records
    }
    assert len(aside) == 4
    (chosen,) = tmp_path.glob("results/sweeps/*/optimization_results.yaml")
    best = yaml.safe_load(chosen.read_text())
    rate = best["best_params"]["training.learning_rate"]
    assert best["best_value"] == max(aside.values()) == aside[rate]
    assert f"best on the examples set aside: training.learning_rate={rate}: " in ended.stdout


def test_it_never_chooses_by_the_reported_split(warm: Any, tmp_path: Path) -> None:
    ended = warm(*SEARCH, *SHORT)
    needs = (
        "more packages" if find_spec("hydra_plugins.hydra_optuna_sweeper") is None else "data.selection_examples=200"
    )
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)
    assert needs in ended.stderr
    assert not (tmp_path / "results").exists()


def test_no_other_sweeper_takes_an_interval(warm: Any) -> None:
    ended = warm("-m", SEARCH[-1], *SHORT)
    assert ended.stderr == f"error: {SEARCH[-1]} is an interval: hydra/sweeper=optuna chooses from it\n"
    assert ended.returncode == 2


def test_the_score_of_a_run_without_such_examples_is_none(tmp_path: Path) -> None:
    for name, scores in {"with": {"accuracy": 0.9, "selection/accuracy": 0.6}, "without": {"accuracy": 0.9}}.items():
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(record_of(0.9) | {"scores": scores}))
    assert selection_score(str(tmp_path), JobResult(DONE, "", "with")) == 0.6
    assert selection_score(str(tmp_path), JobResult(DONE, "", "without")) is None
    assert selection_score(str(tmp_path), JobResult("failed", "", "none")) is None


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(callback, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as end:
        callback._check_search(None)  # type: ignore[arg-type]
    assert end.value.code == 2
    assert "pip install 'hype-bench[optuna]'" in capsys.readouterr().err
