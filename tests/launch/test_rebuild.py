"""A run is done again from what its ``run.json`` says: the same run, and nothing that such a file could smuggle in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hype_bench.config import UserError, resolve
from hype_bench.launch.main import CONF
from hype_bench.launch.rebuild import rebuild
from hype_bench.runs.record import Request
from hype_bench.testing.composed import configured
from tests.runs.records import request_of

RUNS = (
    ("model=tiny_bert", "task=demo_rte", "method=[hype_n,r_drop]", "noise_scale=1e-4", "training.warmup_steps=3"),
    ("model=bert_large", "task=stsb", "recipe=code_readme", "training.precision=bf16", "data.max_length=64"),
    ("model=deberta_large", "task=custom", "task.train_file='a b.csv'", "task.validation_file='b,c.csv'",
     "task.text_columns=[x]", "task.labels=['1.0','é']", "seed=7", "experiment.name=mine"),
)  # fmt: skip


def request(*overrides: str) -> Request:
    return Request.from_json({**request_of(), "config": json.loads(json.dumps(configured(*overrides).as_dict()))})


@pytest.mark.parametrize("overrides", RUNS, ids=" ".join)
def test_it_is_the_same_configuration(overrides: tuple[str, ...]) -> None:
    expected = configured(*overrides)
    again = resolve(rebuild(request(*overrides), Path("else where")))
    assert again.as_dict() == {**expected.as_dict(), "results_dir": "else where"}


def test_words_that_were_changed_count_and_choices_are_as_composed() -> None:
    overrides = ["task=mnli", "training.max_steps=2", "method.r_drop.alpha=0.5"]
    again = resolve(rebuild(replace(request(*RUNS[0]), overrides=overrides), Path()))
    assert (again.task.name, again.training.max_steps) == ("demo_rte", 2)
    assert again.methods["r_drop"]["alpha"] == 0.5


EVIL = (
    {"overrides": ["hydra.callbacks.e={_target_: os.system}"]},
    {"overrides": ["+hydra.callbacks.e={_target_: os.system}"]},
    {"overrides": ["'hydra.run.dir'=x"]},
    {"overrides": ["--config-path=/tmp"]},
    {"overrides": ["-m"]},
    {"overrides": ["seed=1,2"]},
    {"overrides": ["seed=${oc.env:HOME}"]},
    {"overrides": ["~task"]},
    {"overrides": ["nothing=1"]},
    {"overrides": ["training.max_steps=many"]},
    {"config": {}},
)


@pytest.mark.parametrize("changed", EVIL, ids=str)
def test_what_is_no_value_of_the_schema_is_refused_in_one_line(changed: dict[str, Any]) -> None:
    with pytest.raises(UserError) as refused:
        rebuild(replace(request(*RUNS[0]), **changed), Path())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("tracker", "project", "${oc.env:HOME}"),
        ("tracker", "_target_", "os.system"),
        ("training", "surprise", 1),
        ("data", "max_length", "many"),
        ("model", "name_or_path", ["a"]),
        ("methods", "hype_n", {"${oc.env:HOME}": 1}),
    ],
)
def test_a_configuration_that_was_tampered_with_is_refused(section: str, key: str, value: Any) -> None:
    config = json.loads(json.dumps(request(*RUNS[0]).config))
    config[section][key] = value
    with pytest.raises(UserError):
        resolve(rebuild(replace(request(), config=config), Path()))


def test_a_run_that_failed_elsewhere_is_done_again_as_it_was(warm_in: Any, tmp_path: Path) -> None:
    began, other, results = (tmp_path / name for name in ("began", "other", "my res (x=1),é"))
    for folder in (began, other):
        folder.mkdir()
    (began / "conf" / "task").mkdir(parents=True)
    task = (CONF / "task" / "demo_rte.yaml").read_text()
    (began / "conf" / "task" / "mine.yaml").write_text(task)
    options = ("model=tiny_bert", "task=mine", "tracker=none", "training.max_steps=2", "data.max_train_examples=32")
    assert warm_in(began)(*options, f"results_dir='{results}'").returncode == 0
    (run,) = (results / "runs").iterdir()
    before = json.loads((run / "result.json").read_text())
    (run / "result.json").unlink()
    again = warm_in(other)("retry", "--results-dir", str(results), program="hype_bench.cli")
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads((run / "result.json").read_text())["scores"] == before["scores"]
    (run / "result.json").unlink()
    request = json.loads((run / "run.json").read_text())
    request["overrides"] = ["hydra.run.dir=x"]
    (run / "run.json").write_text(json.dumps(request))
    refused = warm_in(other)("retry", "--results-dir", str(results), program="hype_bench.cli")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert str(run / "run.json") in refused.stderr


def test_interpolations_of_the_schema_itself_are_not_needed() -> None:
    composed = rebuild(request(*RUNS[0]), Path())
    assert "${" not in OmegaConf.to_yaml(composed)
