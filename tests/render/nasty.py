"""A results folder whose names and texts try to act in a page, for the tests of the report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from hype_bench.config import DataConfig, TaskConfig
from hype_bench.runs.folder import RunFolder
from hype_bench.sweeps.planned import Plan, PlannedRun, write_plan
from hype_bench.tasks.data import load

NASTY = "<script>document.title='taken'</script>\u202e\"'&\n</td>{{7*7}}"
SHOWN = "<script>document.title='taken'</script>\\u202e\"'&\\n</td>{{7*7}}"
TEXTS = [f"the first {NASTY}", "the second", "the third"]


def task_of(folder: Path) -> TaskConfig:
    rows = pd.DataFrame({"text": TEXTS, "label": ["no", "yes", "no"]})
    for split in ("train", "validation"):
        rows.to_parquet(folder / f"{split}.parquet")
    return TaskConfig(
        name="mine",
        train_file=str(folder / "train.parquet"),
        validation_file=str(folder / "validation.parquet"),
        text_columns=["text"],
        labels=["no", "yes"],
        metric="accuracy",
        evaluation_splits=["validation"],
    )


def write_nasty(results_dir: Path, folder: Path) -> None:
    """An experiment ``nasty``: a run that is done, one that diverged, one that crashed, one that did not start.

    Args:
        folder: where the data of the runs is put.
    """
    task, data = task_of(folder), DataConfig()
    runs = [
        PlannedRun(f"run{seed}", NASTY, NASTY, "mine", "accuracy", NASTY, "", {}, {}, True, seed, [f"seed={seed}"])
        for seed in (1, 2, 3, 4)
    ]
    write_plan(results_dir, Plan("nasty", NASTY, "paper", None, [], NASTY, runs))
    for run in runs[:2]:
        label = {"model": NASTY, "task": "mine", "method": NASTY, "seed": run.seed, "metric": "accuracy"}
        record = {
            "status": "done" if run.seed == 1 else "diverged",
            "reason": "" if run.seed == 1 else NASTY,
            "label": label,
            "parts": {
                "format": 6,
                "methods": [[NASTY, {}]],
                "training": {},
                "seed": run.seed,
                "data": load(task, data).fingerprint,
            },
            "config": {"task": asdict(task), "data": asdict(data), "methods": {NASTY: {}}},
            "overrides": [f"method={NASTY}", f"seed={run.seed}"],
            "scores": {"accuracy": 1 / 3} if run.seed == 1 else {},
            "classes": ["no", "yes"],
            "curve": [{"update": 10, "loss": 0.7, NASTY: 0.5}, {"update": 20, "loss": "nan"}],
            "seconds": {"train": 7200.0},
            "machine": {"device": "cpu", "device_name": NASTY},
            "warnings": [NASTY],
            "git": {"commit": "c0ffee", "changed": True},
        }
        RunFolder.of(results_dir, run.identity).path.mkdir(parents=True)
        RunFolder.of(results_dir, run.identity).write_json("result.json", record)
    rows = ["validation,0,0,1,-1,1,0,no,yes", "validation,1,1,0,0.5,0,1,yes,no", "validation,2,0,0,1,0,2,no,no"]
    header = "split,index,label,prediction,logit_0,logit_1,row,label_name,prediction_name"
    (results_dir / "runs" / "run1" / "predictions.csv").write_text("\n".join([header, *rows]))
    (results_dir / "runs" / "run3").mkdir()
    (results_dir / "runs" / "run3" / "failure.txt").write_text(f"Traceback\n{NASTY}\n")
