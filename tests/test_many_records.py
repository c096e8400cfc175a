"""100,000 records: status and tables within seconds and within a GiB, once there is a cache."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hype_bench.runs.check import checksum_of
from hype_bench.runs.identity import digest
from hype_bench.sweeps.planned import Plan, PlannedRun, write_plan
from tests.tables.test_table import make_run

MODELS = ("bert_large", "roberta_large", "electra_large", "minilm")
TASKS = ("cola", "mrpc", "rte", "stsb", "sst2", "qnli", "qqp", "mnli")
METHODS = ("vanilla", "no_dropout", *(f"method_{number:02}" for number in range(28)))
RATES = (1e-5, 2e-5, 3e-5, 4e-5, 5e-5)
SEEDS = range(1, 22)
RUNS = len(MODELS) * len(TASKS) * len(METHODS) * len(RATES) * len(SEEDS)  # 100,800

TRAINING = {"batch_size": 16, "warmup_ratio": 0.1, "weight_decay": 0.1, "adam_betas": [0.9, 0.99], "dropout": 0.1}
MACHINE = {"device": "cuda", "device_name": "NVIDIA H200", "threads": 16, "host": "node-17"}
CURVE = [{"update": 10 * n, "loss": 0.69347381 / n, "learning_rate": 3.461538461538462e-05} for n in range(1, 48)]


def template(model: str, task: str, method: str, rate: float) -> str:
    """A record as runs leave it, of seed -1 and score -1."""
    training: dict[str, Any] = {**TRAINING, "learning_rate": rate}
    run = make_run(-1.0, model=model, task=task, method=method, seed=-1, training=training, options={"scale": 1e-5})
    assert run.record is not None
    about = run.record.to_json()
    about["config"] = {
        "model": {"name": model, "family": "bert", "training": {}},
        "task": {"name": task, "text_columns": ["sentence1", "sentence2"], "labels": ["yes", "no"], "train_file": None},
        "methods": {method: {"scale": 1e-5}},
        "training": run.record.parts["training"],
        "data": {"root": None, "max_length": 128, "max_train_examples": None, "max_eval_examples": None},
        "seed": -1,
    }
    if task == "mnli":
        about["scores"]["validation_mismatched/accuracy"] = -1.0
    more = {
        "reason": "",
        "started": "2026-11-21T12:01:22+00:00",
        "ended": "2026-11-21T12:01:38+00:00",
        "predictions": "predictions.csv",
        "updates": 468,
        "seconds": {"prepare": 0.043, "tokens": 0.048, "model": 0.057, "train": 15.131649625999671, "evaluate": 0.606},
        "tokens": 34622,
        "tokens_per_second": 2288.0519213524085,
        "peak_memory_bytes": 1099423744,
        "machine": MACHINE,
        "versions": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0"},
        "git": {"commit": "c9bfe1a54384e0241b4e792733c0555a898d712b", "changed": False},
        "facts": {"noise_changed_fraction": {f"between/{layer}": 0.9989091981132076 for layer in range(24)}},
        "dropped": {},
        "curve": CURVE,
    }
    return json.dumps(about | more, indent=1)


def write_all(results: Path) -> None:
    """The records, and a plan that all of them are part of."""
    draw, planned = random.Random(0), []
    then = time.time() - 60
    for model, task, method, rate in itertools.product(MODELS, TASKS, METHODS, RATES):
        text = template(model, task, method, rate)
        metric = json.loads(text)["label"]["metric"]
        for seed in SEEDS:
            name = digest({"of": [model, task, method, rate, seed]})
            path = results / "runs" / name / "result.json"
            path.parent.mkdir(parents=True)
            content = text.replace("-1.0", f"{draw.gauss(0.7, 0.02):.4f}").replace('"seed": -1', f'"seed": {seed}')
            checksum = checksum_of(json.loads(content))
            path.write_text(content.replace('"checksum": null', f'"checksum": "{checksum}"'))
            os.utime(path, (then, then))
            axes = {"model": model, "task": task, "method": f"[{method}]", "training.learning_rate": rate, "seed": seed}
            overrides = ["experiment=many", *(f"{axis}={value}" for axis, value in axes.items())]
            place = name, model, model, task, metric, method, ""
            planned.append(PlannedRun(*place, {}, {"learning_rate": str(rate)}, rate == 2e-5, seed, overrides))
    write_plan(results, Plan("many", "Many runs", "paper", None, ["training.learning_rate"], "", planned))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("many")
    write_all(folder)
    yield folder
    shutil.rmtree(folder)  # gigabytes, which pytest would keep for three sessions


@dataclass(frozen=True)
class Used:
    output: str
    wall: float  # seconds
    processor: float  # seconds
    memory: int  # the most it ever held, in bytes


def hype_bench(*arguments: object) -> Used:
    return run("-m", "hype_bench.cli", *map(str, arguments))


def run(*arguments: str) -> Used:
    command = [sys.executable, *arguments]
    before = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, code, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - before
        process.returncode = os.waitstatus_to_exitcode(code)
    assert process.returncode == 0
    unit = 1 if sys.platform == "darwin" else 1024
    return Used(output, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


VERBS = {"status": ("status",), "table": ("table",), "table of an experiment": ("table", "many")}


@pytest.mark.slow
def test_a_hundred_thousand_records(results: Path) -> None:
    used = {"status, making the cache": hype_bench("status", "--results-dir", results)}
    used |= {name: hype_bench(*words, "--results-dir", results) for name, words in VERBS.items()}
    load = f"from hype_bench import load_results; print(len(load_results({str(results)!r})))"
    (results / "records.cache").unlink()
    used |= {name: run("-c", load) for name in ("load_results", "load_results again")}
    (results / "records.cache").unlink()
    (results / "records.cache").mkdir()  # so that none can be made
    without = {name: hype_bench(*words, "--results-dir", results) for name, words in VERBS.items()}
    for name, one in (used | {f"{name} without a cache": one for name, one in without.items()}).items():
        print(f"{name}: {one.wall:.2f} s, {one.processor:.2f} s of processor, {one.memory / 2**20:.0f} MiB")
    assert used["status, making the cache"].output == used["status"].output
    assert used["status"].output.startswith(f"{results}: {RUNS} runs, {RUNS} done\n")
    assert {name: one.output for name, one in without.items()} == {name: used[name].output for name in VERBS}
    assert used["load_results"].output == used["load_results again"].output
    assert max(used[name].processor for name in VERBS) < 5
    assert used["load_results"].processor < 20
    assert used["load_results again"].processor < 2
    assert max(one.memory for one in used.values()) < 2**30
