"""An experiment on disk whose runs are made up: its plan, its records and their predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from hype_bench.sweeps.planned import Plan, PlannedRun, write_plan
from hype_bench.sweeps.workload import Workload
from tests.runs.records import record_of

EXAMPLES = 400


def write_experiment(
    folder: Path,
    skills: Mapping[str, float],
    seeds: Iterable[int] = (1, 2, 3, 4, 5),
    tasks: Iterable[str] = ("rte", "mrpc"),
    spread: float = 0.01,
    name: str = "mine",
) -> Plan:
    """``skills``: method -> the share of examples that it is right about on average; ``method x2``: with twice the
    epochs; ``spread``: of the runs around that. Runs of one seed and task share their luck, as if they were paired."""
    labels, runs = np.arange(EXAMPLES) % 2, []
    for task in tasks:
        for seed in seeds:
            luck = np.random.default_rng(seed).random(EXAMPLES)
            for number, (title, skill) in enumerate(skills.items()):
                method, _, twice = title.partition(" x")
                right = luck < skill + np.random.default_rng([seed, number, len(task)]).normal(0, spread)
                run = _planned(method, task, seed, 6.0 if twice else 3.0)
                _write(folder / "runs" / run.identity, run, labels, np.where(right, labels, 1 - labels))
                runs.append(run)
    plan = Plan(name, "", "paper", None, [], f"python run.py -m experiment={name}", runs)
    write_plan(folder, plan)
    return plan


def _planned(method: str, task: str, seed: int, epochs: float) -> PlannedRun:
    settings = {"epochs": f"{epochs:g}"} if epochs != 3 else {}
    identity = f"{task}-{method.replace('+', '-')}-{seed}-{epochs:g}"
    length = (("training.epochs", epochs),)
    return PlannedRun(
        *(identity, "minilm", "minilm", task, "accuracy", method, "", settings, {}, True, seed, [identity]),
        workload=Workload(length=length),
    )


def _write(folder: Path, run: PlannedRun, labels: np.ndarray, predictions: np.ndarray) -> None:
    folder.mkdir(parents=True)
    seconds = {"train": 20.0 if run.method == "r_drop" else 10.0}
    about = record_of(float((labels == predictions).mean()), run.seed, model="minilm", task=run.task, method=run.method)
    machine = {"device": "cpu", "device_name": "a CPU", "threads": 1}
    request = {part: about[part] for part in ("label", "parts", "config")}
    (folder / "run.json").write_text(json.dumps(request))
    (folder / "result.json").write_text(json.dumps({**about, "seconds": seconds, "machine": machine}))
    lines = [f"validation,{i},{pair[0]},{pair[1]}" for i, pair in enumerate(zip(labels, predictions, strict=True))]
    (folder / "predictions.csv").write_text("\n".join(["split,index,label,prediction", *lines]))
