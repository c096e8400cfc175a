"""The cost of techniques, relative to vanilla's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hype_bench.analysis import footprint
from hype_bench.analysis.footprint import Cost, Footprint, Setting
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.models.checkpoint import locate
from hype_bench.runs.folder import RunFolder
from hype_bench.testing.composed import configured, loaded
from hype_bench.training.tokens import tokenise


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    run = replace(configured("model=tiny_bert", "task=demo_rte"), methods={"r_drop": {}})
    return Trained(run, None, RunFolder(tmp_path), loaded(run), [], locate(run.model))


def test_values_are_relative_to_vanilla(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = {"vanilla": Cost([1.0, 2.0, 4.0], 8 * 10**9, {}), "technique": Cost([2.0, 3.0, 20.0], 10**10, {})}
    monkeypatch.setattr(footprint, "costs", lambda setting, programs, updates: cost)
    analysis = Footprint(updates=3)
    measured = analysis.measure(trained)
    values = {name: scores["value"] for name, scores in measured.scores.items()}
    tokens = Setting(trained.run, trained.data, trained.checkpoint).tokens(6)
    assert values == {
        "update": 2.0, "memory": 1.25, "tokens_per_second": sum(tokens[3:]) / 25, "gigabytes": 10.0,
    }  # fmt: skip
    assert measured.facts["vanilla_gigabytes"] == 8


def test_tokens_are_those_of_the_run(trained: Trained) -> None:
    """48 examples are three batches of 16, and a fourth update begins the next epoch."""
    setting = Setting(trained.run, trained.data, trained.checkpoint)
    lengths = tokenise(trained.data.train, trained.tokenizer, 128).lengths
    assert sum(setting.tokens(3)) == lengths.sum()
    assert setting.train({"r_drop": {}}, 4).tokens == sum(setting.tokens(4))


@pytest.mark.slow
def test_techniques_take_turns_in_processes_of_their_own(trained: Trained) -> None:
    measured = Footprint(updates=4).measure(trained)
    assert 1.2 < measured.scores["update"]["value"] < 4
    assert measured.scores["gigabytes"]["value"] > 0.1
    assert measured.arrays["seconds"].shape == (2, 4)
