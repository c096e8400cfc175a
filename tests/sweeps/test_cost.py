"""What a plan will cost, by hand: which finished runs tell it, and what is said where none does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hype_bench.options import Affects, number
from hype_bench.render.plan import plan_text
from hype_bench.runs.record import Record
from hype_bench.runs.status import BROKEN, DIVERGED, DONE, FAILED, INTERRUPTED, RUNNING, RunStatus
from hype_bench.sweeps.cost import MEASURED, SAME_MODEL, SAME_TASK, UNKNOWN, Group, cost_of
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.sweeps.workload import workload_of

CPU = {"device": "cpu", "device_name": "x86_64"}
GPU = {"device": "cuda", "device_name": "NVIDIA H200"}


TRAINING = {"epochs": 3.0, "max_steps": None, "batch_size": 16, "precision": "fp32"}


@dataclass(frozen=True)
class Technique:
    scale: float = number(1e-5)
    steps: int = number(3, affects=Affects.PACE)


def planned(
    seed: int = 1, method: str = "vanilla", task: str = "rte", model: str = "minilm", **more: dict[str, Any]
) -> PlannedRun:
    """``more``: training, data, options."""
    overrides = [f"model={model}", f"task={task}", f"method=[{method}]", f"seed={seed}"]
    settings = TRAINING | more.get("training", {}), {"max_length": 128} | more.get("data", {})
    workload = workload_of(*settings, {method: Technique(**more["options"])} if "options" in more else {})
    name = " ".join([*overrides, str(more)])
    about = name, model, model, task, "accuracy", method, "", {}, {}, True, seed, overrides
    return PlannedRun(*about, workload=workload)


def plan(*runs: PlannedRun, **more: Any) -> Plan:
    about = {"name": "exam", "title": "Some runs", "scope": "paper", "table": None, "search": [], "command": ""}
    return Plan(**{**about, **more}, runs=list(runs))


def finished(run: PlannedRun, train: float = 90.0, updates: int = 100, **more: Any) -> tuple[str, RunStatus]:
    """The record of a run that trained so long; evaluation and the like took 10 s more."""
    training = TRAINING | more.get("training", {})
    record = {
        "label": {"model": run.model, "task": run.task, "method": run.method, "seed": run.seed, "metric": run.metric},
        "status": DONE,
        "scores": {},
        "parts": {"methods": [[run.method, more.get("options", {})]]},
        "config": {"training": training, "data": {"max_length": 128} | more.get("data", {})},
        "seconds": {"tokens": 4.0, "train": train, "evaluate": 6.0},
        "updates": updates,
        "machine": more.get("machine", CPU),
    }
    return run.identity, RunStatus(run.identity, more.get("state", DONE), Path(), Record.trusted(record))


def only_group(*runs: PlannedRun, done: Any = ()) -> Group:
    (group,) = cost_of(plan(*runs), dict(done)).groups
    return group


# --- which finished runs tell what a run costs ------------------------------------------------------------------------


def test_the_median_of_the_same_method_on_the_same_task() -> None:
    done = [finished(planned(seed), train) for seed, train in ((1, 80.0), (2, 90.0), (3, 1000.0))]
    done.append(finished(planned(1, "smart"), 300.0))
    done.append(finished(planned(1, "vanilla", "cola"), 500.0))
    group = only_group(planned(4), planned(5), done=done)
    assert (group.seconds, group.source, group.to_do) == (100.0, MEASURED, 2)


def test_the_same_task_where_the_method_has_not_run() -> None:
    done = [finished(planned(1), 90.0), finished(planned(1, "hype_n"), 110.0), finished(planned(1, "x", "cola"), 500.0)]
    group = only_group(planned(1, "hype_u"), done=done)
    assert (group.seconds, group.source) == (110.0, SAME_TASK)


def test_the_same_model_by_its_seconds_an_update_where_the_number_of_updates_is_known() -> None:
    """As other models did on the task: 400 updates of 0.9 s, and 10 s beside them."""
    done = [finished(planned(1), 90.0, updates=100)]
    done.append(finished(planned(1, "vanilla", "cola", "bert_base"), 4000.0, updates=400))
    group = only_group(planned(1, "vanilla", "cola"), done=done)
    assert group.seconds == pytest.approx(10 + 400 * 0.9)
    assert group.source == SAME_MODEL


def test_the_number_of_updates_is_taken_from_the_plan_if_it_says_it() -> None:
    done = [finished(planned(1), 90.0, updates=100)]
    group = only_group(planned(1, "vanilla", "cola", training={"epochs": None, "max_steps": 20}), done=done)
    assert group.seconds == pytest.approx(10 + 20 * 0.9)
    assert group.source == SAME_MODEL


def test_the_median_of_the_model_where_the_number_of_updates_is_not_known() -> None:
    done = [finished(planned(1, "vanilla", task), train) for task, train in (("rte", 80.0), ("mrpc", 100.0))]
    group = only_group(planned(1, "vanilla", "cola"), done=done)
    assert (group.seconds, group.source) == (100.0, SAME_MODEL)


def analysed(run: PlannedRun) -> PlannedRun:
    """The plan of its similarity of tokens."""
    name = f"{run.identity} similarity"
    return replace(run, identity=name, task=f"{run.task}.similarity", analysis="similarity", reads=run.identity)


def finished_analysis(run: PlannedRun, seconds: float) -> tuple[str, RunStatus]:
    name, status = finished(run)
    assert status.record is not None
    parts = {**status.record.parts, "analysis": [run.analysis, {}]}
    record = replace(status.record, parts=parts, seconds={"prepare": 1.0, "analyse": seconds - 1}, updates=0)
    return name, replace(status, record=record)


def test_an_analysis_costs_itself_and_the_training_of_a_run_without_weights(tmp_path: Path) -> None:
    runs = [planned(seed) for seed in (1, 2, 3)]
    (tmp_path / runs[0].identity / "model").mkdir(parents=True)
    (tmp_path / runs[0].identity / "model" / "model.safetensors").touch()
    done = dict([finished(runs[0]), finished_analysis(analysed(runs[2]), 7.0)])
    done = {name: replace(status, runs=tmp_path) for name, status in done.items()}
    for run, seconds in ((runs[0], 7.0), (runs[1], 107.0)):
        group = only_group(analysed(run), done=done)
        assert (group.seconds, group.source) == (seconds, MEASURED)
    twice = [analysed(runs[1]), replace(analysed(runs[1]), identity="another option")]
    assert only_group(*twice, done=done).seconds == (107 + 7) / 2  # trained once
    group = only_group(analysed(planned(1, "vanilla", "cola")), done=done)
    assert (group.seconds, group.source) == (107.0, SAME_MODEL)
    other = replace(analysed(runs[0]), task="rte.tuco", analysis="tuco")
    assert only_group(other, done=done).source == UNKNOWN


def test_another_model_tells_nothing() -> None:
    cost = cost_of(plan(planned(), planned(2)), dict([finished(planned(1, "vanilla", "rte", "bert_large"))]))
    (group,) = cost.groups
    assert (group.seconds, group.source) == (None, UNKNOWN)
    assert (cost.hours, cost.unknown) == ({}, 2)


@pytest.mark.parametrize(
    ("wanted", "had"),
    [
        ({}, {"data": {"max_train_examples": 64}, "training": {"max_steps": 4, "epochs": None}}),  # a smoke test
        ({}, {"data": {"max_length": 64}}),
        ({}, {"training": {"precision": "bf16"}}),
        ({"training": {"epochs": 10.0}}, {}),
        ({"training": {"epochs": None, "max_steps": 4}, "data": {"max_train_examples": 64}}, {}),
        ({"training": {"batch_size": 32}}, {}),
    ],
)
def test_a_run_of_other_settings_is_not_like_it(wanted: dict[str, Any], had: dict[str, Any]) -> None:
    group = only_group(planned(2, **wanted), done=[finished(planned(1), **had)])
    assert group.source in (SAME_MODEL, UNKNOWN)


@pytest.mark.parametrize(
    ("wanted", "had"),
    [
        ({"training": {"learning_rate": 2e-5}, "options": {"scale": 1e-4}}, {"options": {"scale": 1e-5, "steps": 3}}),
        ({"training": {"epochs": 3}}, {}),
        ({"training": {"epochs": 10.0}}, {"training": {"epochs": 10.0}}),
        ({"data": {"max_train_examples": 1000}}, {"data": {"max_train_examples": 1000}}),
        ({"data": {"root": "here", "subset_seed": 7}}, {}),
        ({"training": {"gradient_checkpointing": True}}, {"training": {"gradient_checkpointing": True}}),
    ],
)
def test_a_run_of_the_same_settings_is_like_it(wanted: dict[str, Any], had: dict[str, Any]) -> None:
    group = only_group(planned(2, **wanted), done=[finished(planned(1), **had)])
    assert (group.seconds, group.source) == (100.0, MEASURED)


def test_other_options_of_the_method_are_the_next_best() -> None:
    done = [finished(planned(1, "freelb"), 300.0, options={"steps": 3}), finished(planned(1), 90.0)]
    group = only_group(planned(2, "freelb", options={"steps": 5}), done=done)
    assert (group.seconds, group.source) == (310.0, SAME_TASK)


def test_of_several_lengths_the_usual_one_counts() -> None:
    """Someone tried ten updates; the recipe does a hundred."""
    done = [finished(planned(seed), 90.0) for seed in (1, 2)]
    done.append(finished(planned(3), 9.0, updates=10, training={"max_steps": 10, "epochs": None}))
    assert only_group(planned(4), done=done).seconds == 100.0
    assert only_group(planned(4), done=done[1:]).seconds == 100.0  # as many of each: the longer one


def test_diverged_runs_and_soups_tell_nothing() -> None:
    done = [finished(planned(1), state=DIVERGED), finished(planned(2), updates=0)]
    soup = done[1][1]
    assert soup.record is not None
    done.append(("soup", replace(soup, record=replace(soup.record, seconds={}))))
    assert only_group(planned(3), done=done).source == UNKNOWN


# --- what is counted --------------------------------------------------------------------------------------------------


def test_every_state_is_counted_once() -> None:
    runs = [planned(seed) for seed in range(8)]
    states = (DONE, DIVERGED, FAILED, BROKEN, RUNNING, INTERRUPTED)
    statuses = dict([finished(runs[0])])
    for run, state in zip(runs[1:], states[1:], strict=False):
        statuses[run.identity] = RunStatus(run.identity, state, Path())
    cost = cost_of(plan(*runs, runs[0], runs[7]), statuses)  # two of them stand in two rows
    assert cost.groups == [
        Group("minilm", "rte", "vanilla", runs=8, done=2, failed=2, to_do=6, seconds=100.0, source=MEASURED)
    ]
    assert cost.hours == pytest.approx({"CPU": 600 / 3600})
    assert (cost.devices, cost.unknown) == ({"CPU": ["x86_64"]}, 0)


def test_nothing_to_do_costs_nothing_and_says_what_it_took() -> None:
    cost = cost_of(plan(planned()), dict([finished(planned())]))
    (group,) = cost.groups
    assert (group.to_do, group.seconds, cost.hours) == (0, 100.0, {})


def test_hours_are_those_of_the_devices_that_were_measured() -> None:
    done = dict([finished(planned(1), machine=GPU), finished(planned(1, "vanilla", "cola"), 190.0)])
    cost = cost_of(plan(*(planned(seed, "vanilla", task) for task in ("rte", "cola") for seed in (2, 3))), done)
    assert cost.hours == pytest.approx({"GPU": 200 / 3600, "CPU": 400 / 3600})
    assert cost.devices == {"GPU": ["NVIDIA H200"], "CPU": ["x86_64"]}


def test_one_estimate_is_never_of_two_devices() -> None:
    done = dict([finished(planned(1), 900.0), *(finished(planned(seed), 90.0, machine=GPU) for seed in (2, 3))])
    cost = cost_of(plan(planned(4)), done)
    assert cost.groups[0].seconds == 100.0
    assert cost.devices == {"GPU": ["NVIDIA H200"]}


def test_a_run_that_cannot_begin_is_counted() -> None:
    run = PlannedRun("", "minilm", "minilm", "rte", "accuracy", "vanilla", "", {}, {}, True, 1, ["task=rte"], "no data")
    text = plan_text(plan(run), {})
    assert text.splitlines()[-1] == "1 run cannot begin yet: no data"


# --- in words ---------------------------------------------------------------------------------------------------------


def test_the_plan_as_a_user_reads_it() -> None:
    names = ("vanilla", "no_dropout", "hype_n", "hype_u", "r_drop", "child_tuning_d", "child_tuning_f")
    runs = [planned(seed, name, task) for task in ("rte", "cola") for name in names for seed in (1, 2, 3)]
    runs.append(planned(1, "vanilla", "rte", "bert_large"))
    statuses = dict([finished(runs[0], 80.0), finished(runs[3], 5000.0, machine=GPU)])
    statuses[runs[1].identity] = RunStatus(runs[1].identity, FAILED, Path())
    assert plan_text(plan(*runs, scope="small"), statuses).splitlines() == [
        "exam (scope small): Some runs",
        "",
        "model       task  methods                                      runs  done  failed  to do  time per run"
        "    estimate",
        "minilm      rte   vanilla, no_dropout, hype_n, hype_u, 3 more  21    2     1       19     90 s to 84 min"
        "  from the same task",
        "minilm      cola  vanilla, no_dropout, hype_n, hype_u, 3 more  21    0     0       21     84 min        "
        "  from the same model",
        "bert_large  rte   vanilla                                      1     0     0       1      ?             "
        "  unknown",
        "",
        "43 runs, 2 done, 41 to do; about 0.05 CPU hours (x86_64) and 53 GPU hours (NVIDIA H200), one after another; "
        "1 run of unknown cost",
    ]


@pytest.mark.parametrize(
    ("train", "time"), [(-6, "4 s"), (80, "90 s"), (95, "1.8 min"), (1e4, "2.8 h"), (1e7, "2,778 h")]
)
def test_times_are_short(train: float, time: str) -> None:
    text = plan_text(plan(planned(1), planned(2)), dict([finished(planned(1), float(train))]))
    assert f"  {time}" in text.splitlines()[3]


def test_an_empty_plan_has_nothing_to_say() -> None:
    assert plan_text(plan(), {}).splitlines()[-1] == "0 runs, 0 done, 0 to do"
