"""10,000 runs as a year of experiments leaves them, for the tests of the report: no two files are alike.

A search in the manner of the paper's Table 1, and twenty methods over twenty seeds without one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hype_bench.runs.check import checksum_of
from hype_bench.runs.identity import digest
from hype_bench.sweeps.planned import Plan, PlannedRun, write_plan
from hype_bench.tasks.metrics import score
from tests.tables.test_table import make_run

MODELS = ("bert_large", "roberta_large", "electra_large", "xlnet_large")
METHODS = (
    "vanilla", "no_dropout", "hype_n", "hype_u", "r_drop", "r3f", "noisytune", "mixout", "child_tuning_f",
    "child_tuning_d", "freelb", "smart", "sam", "swa", "bitfit", "llrd", "lora", "neftune", "pgd", "vat",
)  # fmt: skip
RATES = ("1e-5", "2e-5", "3e-5", "4e-5", "5e-5")
UPDATES = 468
_VARIANTS = 32  # of the line of an example, half of them wrong


@dataclass(frozen=True)
class Task:
    metric: str
    examples: int
    classes: tuple[str, ...]  # none in a regression


class _Example(NamedTuple):
    """``lines``: that a run may have of it, the second half of them wrong; ``predictions``: those of the lines."""

    label: float
    lines: tuple[str, ...]
    predictions: tuple[float, ...]


TASKS = {
    "rte": Task("accuracy", 277, ("entailment", "not_entailment")),
    "mrpc": Task("f1", 408, ("not_equivalent", "equivalent")),
    "cola": Task("matthews", 1043, ("unacceptable", "acceptable")),
    "stsb": Task("pearson_spearman", 1500, ()),
}


def write_many(results: Path, models: Sequence[str] = MODELS) -> int:
    """Two experiments, ``table1`` and ``seeds``; returns how many runs they have."""
    draw = np.random.default_rng(0)
    runs = {
        "table1": list(_planned("table1", models, METHODS[:9], RATES, range(1, 6))),
        "seeds": list(_planned("seeds", models, METHODS, RATES[1:2], range(101, 121))),
    }
    lines = {name: _lines(task, draw) for name, task in TASKS.items()}
    for name, planned in runs.items():
        search = ["training.learning_rate"] if name == "table1" else []
        table = 1 if name == "table1" else None
        write_plan(results, Plan(name, name, "paper", table, search, f"run.py -m experiment={name}", planned))
        for run in planned:
            _write(results / "runs" / run.identity, run, lines[run.task], draw)
    return sum(map(len, runs.values()))


def _planned(
    name: str, models: Iterable[str], methods: Iterable[str], rates: Iterable[str], seeds: Iterable[int]
) -> Iterator[PlannedRun]:
    for model, task, method, rate, seed in product(models, TASKS, methods, rates, seeds):
        words = {"model": model, "task": task, "method": method, "training.learning_rate": rate, "seed": seed}
        overrides = [f"experiment={name}", *(f"{key}={value}" for key, value in words.items())]
        place = digest(words), model, model, task, TASKS[task].metric, method, ""
        yield PlannedRun(*place, {}, {"learning_rate": rate}, rate == "2e-5", seed, overrides)


def _lines(task: Task, draw: np.random.Generator) -> list[_Example]:
    every = []
    for index in range(task.examples):
        label = float(draw.integers(2)) if task.classes else round(float(draw.uniform(0, 5)), 1)
        variants = [_line(task, index, label, n >= _VARIANTS // 2, draw) for n in range(_VARIANTS)]
        every.append(_Example(label, *zip(*variants, strict=True)))
    return every


def _line(task: Task, index: int, label: float, is_wrong: bool, draw: np.random.Generator) -> tuple[str, float]:
    """Of ``predictions.csv``, and what it predicts."""
    if not task.classes:
        predicted = round(label + float(draw.normal(scale=3 if is_wrong else 1)), 6)
        return f"validation,{index},{label},{predicted},{predicted},{index}", predicted
    place = int(label) ^ is_wrong
    high, low = 1 + draw.random(), -draw.random()
    logits = f"{low:.9g},{high:.9g}" if place else f"{high:.9g},{low:.9g}"
    names = f"{task.classes[int(label)]},{task.classes[place]}"
    return f"validation,{index},{int(label)},{place},{logits},{index},{names}", float(place)


def _write(folder: Path, run: PlannedRun, examples: Sequence[_Example], draw: np.random.Generator) -> None:
    task = TASKS[run.task]
    skill = 0.9 if run.method in ("hype_n", "hype_u", "no_dropout") else 0.75
    wrong = draw.random(len(examples)) > draw.normal(skill, 0.03)
    chosen = draw.integers(_VARIANTS // 2, size=len(examples)) + wrong * (_VARIANTS // 2)
    labels = np.array([example.label for example in examples])
    predictions = np.array([example.predictions[n] for example, n in zip(examples, chosen, strict=True)])
    behind = "logit_0,logit_1,row,label_name,prediction_name" if task.classes else "logit_0,row"
    rows = [example.lines[n] for example, n in zip(examples, chosen, strict=True)]
    folder.mkdir(parents=True)
    text = "\n".join([f"split,index,label,prediction,{behind}", *rows, ""])
    (folder / "predictions.csv").write_text(text)
    content = _record(run, draw) | {"scores": score(task.metric, labels, predictions), "classes": list(task.classes)}
    (folder / "result.json").write_text(json.dumps(content | {"checksum": checksum_of(content)}, indent=1))


def _record(run: PlannedRun, draw: np.random.Generator) -> dict[str, Any]:
    training = {
        "batch_size": 16,
        "warmup_ratio": 0.1,
        "weight_decay": 0.1,
        "learning_rate": float(run.configuration["learning_rate"]),
    }
    of_run = make_run(0.5, model=run.model, task=run.task, method=run.method, seed=run.seed, training=training)
    assert of_run.record is not None
    losses = np.exp(-np.arange(10, UPDATES, 10) / 300) * draw.uniform(0.6, 0.8, size=UPDATES // 10)
    return of_run.record.to_json() | {
        "overrides": run.overrides,
        "working_directory": "/home/user/hype_bench",
        "started": "2026-11-21T12:01:22+00:00",
        "ended": "2026-11-21T12:11:38+00:00",
        "predictions": "predictions.csv",
        "updates": UPDATES,
        "seconds": {
            "prepare": 0.4,
            "tokens": 0.3,
            "model": 1.5,
            "train": float(draw.uniform(500, 700)),
            "evaluate": 6.2,
        },
        "tokens": 346220,
        "tokens_per_second": 2288.05,
        "peak_memory_bytes": int(draw.integers(2**30, 2**31)),
        "machine": {"device": "cuda", "device_name": "NVIDIA H200", "threads": 16, "host": "node-17"},
        "versions": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0"},
        "git": {"commit": "c9bfe1a54384e0241b4e792733c0555a898d712b", "changed": False},
        "curve": [{"update": 10 * n, "loss": float(loss), "learning_rate": 2e-5} for n, loss in enumerate(losses, 1)],
    }
