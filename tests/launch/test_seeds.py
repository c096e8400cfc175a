"""Seeds until it is decided: which runs the records call for, round after round, on the command line and off it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hype_bench.launch.plan import plan_of
from hype_bench.launch.seeds import called_for
from hype_bench.options import UserError
from hype_bench.runs.status import FAILED, RunStatus, read_runs
from hype_bench.schema import SeedsConfig
from hype_bench.stats.sequential import LEAST
from hype_bench.sweeps.planned import Plan, read_plan
from tests.tables.swept import write_experiment

SEEDS = range(1, 13)
OPEN = {"vanilla": 0.6, "noisytune": 0.6}  # methods -> how good they are; these two differ by luck alone
TINY = ("model=tiny_bert", "task=demo_rte", "tracker=none", "training.max_steps=12", "training.learning_rate=5e-3")
SWEEP = (*TINY, "data.max_train_examples=128", "data.max_eval_examples=64", "method=vanilla,bitfit", "-m")
AUTO = (*SWEEP, "seed=auto", "experiment.seeds.most=7")


def recorded(folder: Path, skills: dict[str, float], **options: Any) -> tuple[Plan, dict[str, RunStatus]]:
    plan = write_experiment(folder, skills, SEEDS, tasks=["rte"], **options)
    return replace(plan, least=5), {run.identity: run for run in read_runs(folder)}


def seeds_of(plan: Plan) -> dict[str, int]:
    """Method -> how many seeds, which are the first ones."""
    counts = Counter(run.method for run in plan.runs)
    assert all(
        {run.seed for run in plan.runs if run.method == method} == {*range(1, n + 1)} for method, n in counts.items()
    )
    return dict(counts)


def up_to(plan: Plan, statuses: dict[str, RunStatus], seed: int) -> dict[str, RunStatus]:
    return {run.identity: statuses[run.identity] for run in plan.runs if run.seed <= seed and run.identity in statuses}


def test_without_records_the_least_is_called_for(tmp_path: Path) -> None:
    plan, _ = recorded(tmp_path, OPEN)
    assert seeds_of(called_for(plan, {})) == {"vanilla": 5, "noisytune": 5}


def test_a_round_adds_a_seed_where_the_verdict_is_open(tmp_path: Path) -> None:
    """To the technique and its control; one that is decided gets no more. Of two at 95 %, none is on five seeds."""
    plan, statuses = recorded(tmp_path, {**OPEN, "r3f": 0.9})
    for done in range(5, 12):
        called = called_for(plan, up_to(plan, statuses, done))
        assert seeds_of(called) == {"vanilla": done + 1, "noisytune": done + 1, "r3f": 6}
    assert seeds_of(called_for(plan, statuses)) == {"vanilla": 12, "noisytune": 12, "r3f": 6}  # there are no more


def test_what_is_decided_gets_no_more(tmp_path: Path) -> None:
    plan, statuses = recorded(tmp_path, {"vanilla": 0.6, "noisytune": 0.9})
    assert seeds_of(called_for(plan, statuses)) == {"vanilla": 5, "noisytune": 5}


def test_a_run_that_failed_holds_up_its_own_comparison_only(tmp_path: Path) -> None:
    plan, statuses = recorded(tmp_path, {**OPEN, "r3f": 0.6})
    failed = next(run.identity for run in plan.runs if (run.method, run.seed) == ("r3f", 3))
    stuck = statuses | {failed: replace(statuses[failed], state=FAILED, record=None)}
    assert seeds_of(called_for(plan, stuck)) == {"vanilla": 12, "noisytune": 12, "r3f": 5}


def test_all_is_called_for_where_seeds_are_given(tmp_path: Path) -> None:
    plan, _ = recorded(tmp_path, OPEN)
    given = replace(plan, least=0)
    assert called_for(given, {}) is given


def test_nothing_is_decided_on_fewer_seeds_than_the_least_allowed() -> None:
    assert SeedsConfig().least == LEAST


def test_rounds_end_and_a_killed_sweep_goes_on(warm: Any, tmp_path: Path) -> None:
    sweep = warm.start(*AUTO)
    records = tmp_path / "results" / "runs"
    sweep.until(lambda: len(list(records.glob("*/result.json"))) >= 11)  # the first round has 10
    sweep.kill()
    before = len(list(records.glob("*/result.json")))
    ended = warm(*AUTO)
    assert ended.returncode == 0, ended.stderr
    assert "where a verdict is open; 0 done before, 2 to do" in ended.stdout
    assert f"14 runs: {14 - before} done now, {before} done before, 0 failed" in ended.stdout
    assert seeds_of(read_plan(tmp_path / "results", "default")) == {"vanilla": 7, "bitfit": 7}
    again = warm(*AUTO)
    assert "14 runs: 0 done now, 14 done before, 0 failed" in again.stdout
    planned = warm("plan", *(word for word in AUTO if word != "-m"), program="hype_bench.cli")
    assert "at least that; where a verdict is open, up to 7 seeds, at most 14 runs, 14 done, 0 to do" in planned.stdout


def test_an_experiment_says_it_in_its_file(warm: Any, tmp_path: Path) -> None:
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "defaults: [default, override /hydra/sweeper@_global_.hydra.sweeper: grids, _self_]\n"
        "name: mine\nseeds: {until: decided, least: 5, most: 7}\n"
        "shared: {model: [tiny_bert], task: [demo_rte], seed: [1, 2]}\ngrids: [{method: [vanilla, bitfit]}]\n"
    )
    planned = warm("plan", "experiment=mine", program="hype_bench.cli")
    assert "\n10 runs, 0 done, 10 to do" in planned.stdout, planned.stderr
    assert "up to 7 seeds, at most 14 runs" in planned.stdout
    given = warm("plan", "experiment=mine", "seed=1", program="hype_bench.cli")
    assert "\n2 runs, 0 done, 2 to do" in given.stdout
    assert "at most" not in given.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["experiment.seeds.least=9", "experiment.seeds.most=8"], "least=9 is above experiment.seeds.most=8"),
        (["experiment.seeds.least=1"], "experiment.seeds.least must be at least 5, not 1"),
        (["experiment.seeds.until=dawn"], "experiment.seeds.until must be one of decided, not 'dawn'"),
        (["experiment=table1"], "need one configuration for each row: fix training.learning_rate, noise_scale"),
    ],
)
def test_a_rule_that_cannot_be_followed(words: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        plan_of(["model=tiny_bert", "experiment.seeds.until=decided", *words])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([*TINY, "seed=auto"], "seed=auto stands for several runs: add -m"),
        ([*SWEEP, "experiment.seeds.until=decided"], "needs hydra/sweeper=grids; seed=auto sets both"),
    ],
)
def test_where_there_are_no_rounds_it_is_refused(warm: Any, words: list[str], sentence: str) -> None:
    ended = warm(*words)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert sentence in ended.stderr
