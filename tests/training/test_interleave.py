"""Runs that take turns in one process: each computes what it computes alone."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from hype_bench.contract.registry import build, discover
from hype_bench.models.checkpoint import locate
from hype_bench.testing.composed import configured, loaded
from hype_bench.testing.tiny import options
from hype_bench.training.interleave import interleave, turns_of_this_thread
from hype_bench.training.loop import Outcome, fine_tune

# With dropout alone, noise of its own, several passes, noise once, a second phase, and another rate of dropout:
FEW = ["vanilla", "hype_n", "r_drop", "noisytune", "lt_sft", "no_dropout"]


def train(name: str, outcome: Outcome) -> None:
    config = configured("model=tiny_bert", "task=demo_rte", "training.learning_rate=1e-3", "training.max_steps=4")
    methods = build({name: options(name, "bert")}) | turns_of_this_thread()
    fine_tune(config, loaded(config), locate(config.model), methods, outcome)


def check(names: list[str]) -> None:
    """Each technique alone, and all of them in turns."""
    alone, in_turns = ([Outcome() for _ in names] for _ in range(2))
    for name, outcome in zip(names, alone, strict=True):
        train(name, outcome)
    interleave([partial(train, name, outcome) for name, outcome in zip(names, in_turns, strict=True)])
    for name, one, other in zip(names, alone, in_turns, strict=True):
        assert other.facts.pop("runs_at_once") == len(names)
        assert one.curve == other.curve, name
        (of_one,), (of_other,) = one.evaluations.values(), other.evaluations.values()
        assert np.array_equal(of_one.logits, of_other.logits), name


def test_runs_in_turns_compute_what_they_compute_alone() -> None:
    check(FEW)


@pytest.mark.slow
def test_every_technique_in_turns_computes_what_it_computes_alone() -> None:
    names = list(discover())
    for start in range(0, len(names), 8):
        check(names[start : start + 8])


def test_the_turn_goes_round_until_the_last_has_ended() -> None:
    steps = list[str]()
    state = {"value": "before"}

    def program(name: str, updates: int) -> None:
        state["value"] = name
        for _ in range(updates):
            steps.append(name)
            turns_of_this_thread()["turns"].pass_on()  # type: ignore[attr-defined]
            assert state["value"] == name

    kept = (lambda: state["value"], lambda value: state.update(value=value))
    interleave([partial(program, "a", 1), partial(program, "b", 3), partial(program, "c", 2)], [kept])
    assert steps == ["a", "b", "c", "b", "c", "b"]
    assert state["value"] == "before"
    assert turns_of_this_thread() == {}


def test_a_program_that_fails_stops_no_other() -> None:
    ended = list[float]()

    def fails() -> None:
        raise RuntimeError("a cosmic ray")

    def draws() -> None:
        turns_of_this_thread()["turns"].pass_on()  # type: ignore[attr-defined]
        ended.append(float(torch.rand(())))

    torch.manual_seed(1)
    with pytest.raises(RuntimeError, match="a cosmic ray"):
        interleave([draws, fails, draws])
    torch.manual_seed(1)
    assert ended == [float(torch.rand(()))] * 2
