"""Experiments become plans: every YAML, composed as Hydra would, checked before anything runs, fast enough."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from hype_bench.config import CONF, resolve
from hype_bench.contract.registry import discover
from hype_bench.launch.plan import _Composer, make_plan, plan_of
from hype_bench.options import UserError
from hype_bench.paper.published import table as published
from hype_bench.sweeps.grids import expand
from hype_bench.sweeps.planned import Plan, read_plan, write_plan
from hype_bench.tables.beside_paper import printed_cell
from hype_bench.tables.experiment import results

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml") if path.stem != "default")
TINY = ("model=tiny_bert", "task=demo_rte", "scope=smoke")


@cache
def plan_for(*arguments: str) -> Plan:
    return plan_of(arguments)[0]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_first_lines_are_the_command_that_runs_it(name: str) -> None:
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    assert text.startswith(f"# python run.py experiment={name} -m")
    assert re.search(rf"^name: {name}\b", text, re.MULTILINE)


LARGE = ("figure3", "table4", "table5", "table12", "table16")  # thousands of runs
WITH_SCOPES = [("table2", "small"), ("table12", "small"), *((name, "smoke") for name in LARGE)]
IN_SLOW_SCOPES = [
    pytest.param(*chosen, marks=pytest.mark.slow)
    for chosen in (("table2", "smoke"), ("table18", "small"), ("table18", "smoke"))
]
IN_PAPER = [pytest.param(name, "paper", marks=[pytest.mark.slow] * (name in LARGE)) for name in EXPERIMENTS]


PRINTED = {"table1": 48, "table2": 12, "table3": 27, "table4": 32, "table5": 48, "table6": 10, "table7": 0,
           "table8": 28, "table9": 12, "table12": 0, "table16": 64, "table17": 12, "table18": 24}  # fmt: skip


@pytest.mark.parametrize(("name", "scope"), [*IN_PAPER, *WITH_SCOPES, *IN_SLOW_SCOPES])
def test_every_experiment_plans_in_every_scope(name: str, scope: str) -> None:
    """Without data or weights: each run is composed and checked, and its problem is said, not raised."""
    plan = plan_for(f"experiment={name}", f"scope={scope}")
    assert plan.name == name
    assert plan.runs
    assert {run.method for run in plan.runs} >= {"vanilla", "no_dropout"}  # the controls that the paper lacks
    seeds = Counter((run.block, run.row, run.method, run.task, *run.configuration.items()) for run in plan.runs)
    assert min(seeds.values()) >= (1 if scope == "smoke" or name == "footprint" else 3)  # its times need no seeds
    if scope == "paper" and name.startswith("table"):
        assert printed_cells_with_runs(plan) == PRINTED[name]  # tables 7, 12: columns that come with scores


def printed_cells_with_runs(plan: Plan) -> int:
    """How many cells of the paper's table are the counterpart of a cell of ours."""
    printed = published(int(plan.name.removeprefix("table")))
    cells = results(plan, {}, "paper")
    matched = {printed_cell(printed, result.planned[0], row) for (_, row, _), result in cells.items()} - {None}
    mnli_mm = sum(cell.task == "mnli_mm" for cell in printed)  # a further split: it is a column once it is scored
    return len(matched) + mnli_mm * (plan.name == "table3")


def test_composing_once_per_choice_of_groups_is_what_hydra_composes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment included, and what it leaves to a default that differs between runs."""
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    monkeypatch.setenv("HYPE_BENCH_DATA", "/of/${nobody}")
    environment = ["tracker=wandb", "tracker.entity='${oc.env:NOBODY_SETS_THIS,${task.name}}'"]
    draw = random.Random(1)
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        for name in ("table5", "table16"):
            fixed = [f"experiment={name}", *environment]
            arguments = [*fixed, "model=minilm"]
            master = loader.load_configuration("config", overrides=arguments, run_mode=RunMode.MULTIRUN)
            points = expand(
                *cast(Any, [OmegaConf.to_container(master[key]) for key in ("experiment", "scope")]), given={}
            )
            composer = _Composer(loader, master, fixed, points)
            for point in draw.sample(points, 6):
                fast = resolve(composer(point))
                assert fast == resolve(compose("config", [*fixed, *point.overrides])), point
                assert (fast.tracker.project, fast.tracker.entity) == ("ours", fast.task.name)
                assert fast.data.root == "/of/${nobody}"


def test_the_footprint_is_that_of_every_technique_for_classes() -> None:
    for_classes = {name for name, (cls, _) in discover().items() if cls.takes_classes}
    assert {run.method for run in plan_for("experiment=footprint").runs} == for_classes


def test_the_same_run_in_two_rows_is_run_once() -> None:
    plan = plan_for("experiment=table1", *TINY)
    assert len(plan.runs) > len(list(plan.once()))
    assert len({run.identity for run in plan.runs}) == len(list(plan.once()))
    rows = {run.row or run.method for run in plan.runs}
    assert {"vanilla", "vanilla, wider search", "no_dropout", "hype_n", "hype_u"} == rows


def test_runs_of_one_model_and_task_stand_together() -> None:
    plan = plan_for("experiment=table1", "model=tiny_bert,tiny_xlnet", "task=demo_rte,demo_cola", "scope=smoke")
    order = [(run.model, run.task) for run in plan.once()]
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert changes == len(set(order)) - 1 == 3


def test_what_needs_no_search_is_marked() -> None:
    plan = plan_for("experiment=table1", "task=rte", "model=bert_large")
    default = {(run.method, *run.configuration.values()) for run in plan.runs if run.is_default}
    rates = {("vanilla", "2e-05"), ("no_dropout", "2e-05"), ("hype_n", "2e-05", "1e-05"), ("hype_u", "2e-05", "1e-05")}
    assert default == rates  # 2e-5 is the recipe's, 1e-5 the technique's


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["experiment=table1", "task=nonsense"], "nonsense"),
        (["experiment=table1", "training.learning_rate=7"], "training.learning_rate must be above 0 and at most 1"),
        (["experiment=table1", "method=[lora,mixout]"], "method=[lora,mixout]"),
        (["experiment=table1", "model=tiny_bert", "method=top_k", "method.top_k.k=9"], "top_k.k must be at most 3"),
        (["experiment=table1", "model=tiny_xlnet", "training.packing=on"], "packing=on is not available for xlnet"),
        (["experiment=table1", "device=meta"], "device must be auto, cpu, cuda, cuda:N or mps, not 'meta'"),
        (["experiment=table1", "training.learning_rte=1e-5,2e-5"], "Could not override 'training.learning_rte'"),
        (["experiment=noise", "analysis.probing.task=choice(rte)"], "Could not override 'analysis.probing.task'"),
        (["experiment=table1,table2"], "experiment cannot be swept"),
        (["experiment=table1", "+more=1,2"], "+more cannot be swept"),
    ],
)
def test_a_run_that_cannot_be_stops_the_plan(arguments: list[str], sentence: str) -> None:
    with pytest.raises((UserError, HydraException), match=re.escape(sentence)):
        plan_of(arguments)


def test_a_task_that_is_not_there_is_a_problem_of_its_runs(tmp_path: Path) -> None:
    plan = plan_for("experiment=table1", "model=tiny_bert", f"data.root={tmp_path}", "task=rte,demo_rte", "scope=smoke")
    problems = {run.task: run.problem for run in plan.runs}
    assert "no such folder" in problems["rte"]
    assert not problems["demo_rte"]
    assert all(bool(run.identity) != bool(run.problem) for run in plan.runs)


def test_a_plan_survives_the_disk(tmp_path: Path) -> None:
    plan = plan_for("experiment=low_resource", *TINY)
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path, "low_resource") == plan
    with pytest.raises(UserError, match=r"table1 has no plan in .* \(there are: low_resource@smoke\)"):
        read_plan(tmp_path, "table1")
    file = tmp_path / "experiments" / "low_resource@smoke.json"
    file.write_text(file.read_text().replace('"is_default"', '"default"'))
    with pytest.raises(UserError, match=r"is broken \(it is of another version\); hype-bench run .* makes it again"):
        read_plan(tmp_path, "low_resource")
    file.write_text("{")
    with pytest.raises(UserError, match="is broken"):
        read_plan(tmp_path, "low_resource")


@pytest.mark.slow
def test_ten_thousand_runs_are_planned_within_a_minute(tmp_path: Path) -> None:
    seeds = ",".join(map(str, range(45)))
    began = time.perf_counter()
    plan = plan_for("experiment=table5", "model=minilm", "task=demo_rte,demo_cola", f"seed={seeds}")
    assert len(plan.runs) >= 10_000
    assert time.perf_counter() - began < 60
    write_plan(tmp_path, plan)
    assert json.loads((tmp_path / "experiments" / "table5.json").read_text())["runs"]


def test_the_example_of_the_documentation_plans(tmp_path: Path) -> None:
    text = (CONF.parent / "docs" / "experiments.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(example)
    plan = plan_for("experiment=mine", f"hydra.searchpath=[file://{tmp_path}]", "hydra/launcher=joblib")
    rows = Counter((run.row or run.method, *run.settings.values()) for run in plan.runs)
    assert rows == {
        ("vanilla",): 12,
        ("no_dropout",): 12,
        ("mixout", "0.5"): 12,
        ("mixout", "0.9"): 12,
        ("vanilla, wider search",): 24,
    }


def test_make_plan_takes_hydras_own_loader() -> None:
    """What the sweeper does: the same plan as ``hype-bench plan`` makes."""
    arguments: Any = ["experiment=low_resource", *TINY]
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", overrides=arguments, run_mode=RunMode.MULTIRUN)
        plan = make_plan(loader, master, arguments)
    assert plan == plan_for(*arguments)


def test_an_option_of_one_analysis_applies_to_its_runs_alone() -> None:
    words = ["experiment=noise", "scope=smoke", "model=tiny_bert", "task=demo_rte", "method=vanilla", "seed=1"]
    plan = plan_for(*words, "analysis.noise_survival.precision=choice(bf16)")
    assert [run.analysis for run in plan.runs] == ["sharpness", "weight_change", "noise_survival"]
    assert [any("noise_survival.precision=bf16" in word for word in run.overrides) for run in plan.runs] == [
        *(False, False, True),
    ]
    assert plan.command == " ".join(["python run.py -m", *words, "analysis.noise_survival.precision=bf16"])


def test_an_order_without_effect_is_no_other_run() -> None:
    """Both orders have one name, one identity and one row; where the order counts there are two runs."""
    plan = plan_for(*TINY, "method=[r_drop,hype_n],[hype_n,r_drop],[r3f,r_drop],[r_drop,r3f]", "seed=1")
    assert [run.method for run in plan.runs] == ["hype_n+r_drop", "hype_n+r_drop", "r3f+r_drop", "r_drop+r3f"]
    assert not any(run.problem for run in plan.runs)
    assert [run.method for run in plan.once()] == ["hype_n+r_drop", "r3f+r_drop", "r_drop+r3f"]
    assert len({row for _, row, _ in results(plan, {}, "paper")}) == 3
