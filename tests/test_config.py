"""Every choice under conf/ composes and is checked; the recipe fills what the user leaves open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hype_bench.config import Config, RunConfig, UserError, fill_training, resolve
from hype_bench.contract.registry import build, discover
from hype_bench.launch.main import CONF
from hype_bench.training.optimizer import learning_rate_factor, total_steps, warmup_steps

OWN_FILES = ("task.train_file=a.csv", "task.validation_file=b.csv", "task.text_columns=[a]")
GROUPS = ("model", "task", "recipe", "tracker")  # experiment and scope: tests/launch/test_plan.py
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
TOGETHER = [  # a choice of each group, while there is one
    [choice for choice in chosen if choice]
    for chosen in zip_longest(*([choice for choice in CHOICES if choice[0] == group] for group in GROUPS))
]
MODELS = {name for group, name in CHOICES if group == "model"}
TASKS = {name for group, name in CHOICES if group == "task"}


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def resolved(*overrides: str) -> RunConfig:
    return resolve(compose("config", list(overrides)))


@pytest.mark.parametrize("chosen", TOGETHER, ids=lambda chosen: "-".join(name for _, name in chosen))
def test_every_choice_composes(chosen: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hype_bench.config.find_spec", lambda package: package)  # an extra need not be installed
    run = resolved(*(f"{group}={name}" for group, name in chosen), *(OWN_FILES if ("task", "custom") in chosen else ()))
    names = {"model": run.model.name, "task": run.task.name, "recipe": run.recipe, "tracker": run.tracker.name}
    for group, name in chosen:
        assert names[group] == name


def test_every_technique_composes() -> None:
    names = [*discover()]
    run = resolved(f"method=[{','.join(names)}]")
    assert list(run.methods) == names
    assert all(build({name: options}) for name, options in run.methods.items())


FAMILIES = (
    "bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2", "deberta_v3", "modernbert", "distilbert", "albert",
)  # fmt: skip


@pytest.mark.parametrize("recipe", ["paper", "code_readme"])
def test_every_recipe_fills_every_model_and_task(recipe: str) -> None:
    config = OmegaConf.to_object(compose("config", [f"recipe={recipe}"]))
    assert isinstance(config, Config)
    for family in (
        "bert",
        "roberta",
        "electra",
        "xlnet",
        "deberta",
        "deberta_v2",
        "albert",
        "modernbert",
        "other",
        None,
    ):
        for task in sorted(TASKS):
            config.model.family, config.task.name = family, task
            training = fill_training(config)
            assert training.batch_size >= 16
            assert (training.epochs is None) != (training.max_steps is None)
            assert (training.warmup_ratio is None) != (training.warmup_steps is None)


def test_all_that_was_promised_is_there() -> None:
    glue = {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "mnli_mm", "qnli", "rte", "wnli"}
    assert glue | {"snli", "sick", "scitail", "custom"} <= TASKS
    assert {"demo_rte", "demo_cola", "demo_mrpc", "demo_stsb"} <= TASKS
    bert = {"bert_large", "bert_base", "roberta_large", "roberta_base", "electra_large", "xlnet_large", "minilm"}
    assert bert <= MODELS
    deberta = ("base", "large", "v2_xlarge", "v2_xxlarge")
    assert {f"deberta_{size}{start}" for size in deberta for start in ("", "_mnli")} <= MODELS
    assert {f"deberta_v3_{size}" for size in ("base", "large")} <= MODELS
    assert {"modernbert_base", "modernbert_large", "distilbert", "albert_base"} <= MODELS
    assert {f"tiny_{f}" for f in ("bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2")} <= MODELS
    assert {path.stem for path in (CONF / "method").glob("*.yaml")} == set(discover())


def test_default() -> None:
    run = resolved()
    assert (run.model.address, run.task.name, list(run.methods)) == ("google-bert/bert-large-cased", "rte", ["vanilla"])
    assert (run.seed, run.recipe, run.tracker.name, run.data.max_length) == (1, "paper", "wandb", 128)


PAPER = {"weight_decay": 0.1, "adam_betas": (0.9, 0.99), "adam_epsilon": 1e-5, "max_grad_norm": 1.0, "dropout": 0.1}
BERT = {"batch_size": 16, "epochs": 3, "max_steps": None, "warmup_ratio": 0.1, "warmup_steps": None}
XLNET = {"batch_size": 32, "epochs": None, "warmup_ratio": None}
DEBERTA = BERT | {"epochs": 6, "warmup_ratio": None, "warmup_steps": 100}
TABLE_11 = [
    *((model, task, BERT) for model in ("bert_large", "roberta_large") for task in ("mrpc", "rte", "stsb", "cola")),
    ("electra_large", "mrpc", BERT | {"batch_size": 32}),
    ("electra_large", "rte", BERT | {"batch_size": 32, "epochs": 10}),
    ("electra_large", "stsb", BERT | {"batch_size": 32, "epochs": 10}),
    ("electra_large", "cola", BERT | {"batch_size": 32}),
    ("xlnet_large", "mrpc", XLNET | {"max_steps": 800, "warmup_steps": 200}),
    ("xlnet_large", "rte", XLNET | {"max_steps": 800, "warmup_steps": 200}),
    ("xlnet_large", "stsb", XLNET | {"max_steps": 3000, "warmup_steps": 500}),
    ("xlnet_large", "cola", XLNET | {"batch_size": 64, "max_steps": 1200, "warmup_steps": 120}),
    *((model, "rte", DEBERTA) for model in sorted(MODELS) if re.match("deberta_(base|large|v2)", model)),
    *((model, "sst2", BERT) for model in ("bert_large", "roberta_large")),
]


@pytest.mark.parametrize(("model", "task", "expected"), TABLE_11)
def test_recipe_of_the_paper(model: str, task: str, expected: dict[str, Any]) -> None:
    training = resolved(f"model={model}", f"task={task}").training
    assert {name: getattr(training, name) for name in PAPER | expected} == PAPER | expected
    assert training.optimizer == "adamw"
    assert 1e-5 <= training.learning_rate <= 4e-5


@pytest.mark.parametrize(
    ("model", "task", "expected"),
    [
        ("albert_base", "rte", {"max_steps": 800, "warmup_steps": 200, "learning_rate": 3e-5, "batch_size": 32}),
        ("albert_base", "sst2", {"max_steps": 20935, "warmup_steps": 1256, "learning_rate": 1e-5, "batch_size": 32}),
        ("deberta_v3_base", "mnli", {"epochs": 3, "warmup_steps": 1000, "learning_rate": 1.5e-5, "batch_size": 64}),
        ("modernbert_large", "mrpc", {"epochs": 2, "learning_rate": 8e-5, "adam_betas": (0.9, 0.98)}),
        ("distilbert", "rte", PAPER | BERT),
    ],
)
def test_recipe_of_the_makers(model: str, task: str, expected: dict[str, Any]) -> None:
    training = resolved(f"model={model}", f"task={task}").training
    assert {name: getattr(training, name) for name in expected} == expected


def test_recipe_of_the_readme() -> None:
    """methods.md 1.4: epsilon, beta2 and decay of the released command; steps per family as in the paper."""
    training = resolved("recipe=code_readme", "model=electra_large").training
    assert (training.adam_epsilon, training.adam_betas, training.weight_decay) == (1e-6, (0.9, 0.999), 0.01)
    assert (training.optimizer, training.learning_rate, training.epochs) == ("adamw_hf", 2e-5, 10)


def test_the_user_wins() -> None:
    chosen = {"learning_rate": 0.5, "batch_size": 7, "weight_decay": 0.3, "adam_epsilon": 0.25, "dropout": 0.4}
    for model in ("minilm", "electra_large", "xlnet_large"):
        training = resolved(f"model={model}", *(f"training.{name}={value}" for name, value in chosen.items())).training
        assert {name: getattr(training, name) for name in chosen} == chosen
    assert resolved("model=minilm").training.learning_rate == 5e-5
    assert resolved("training.adam_betas=[0.8,0.7]").training.adam_betas == (0.8, 0.7)


@pytest.mark.parametrize(
    ("model", "given", "silenced", "value"),
    [
        ("bert_large", "max_steps", "epochs", 5),
        ("xlnet_large", "epochs", "max_steps", 2.5),
        ("bert_large", "warmup_steps", "warmup_ratio", 0),
        ("xlnet_large", "warmup_ratio", "warmup_steps", 0.0),
        ("deberta_base", "warmup_ratio", "warmup_steps", 0.06),
    ],
)
def test_one_of_a_pair_silences_the_other(model: str, given: str, silenced: str, value: float) -> None:
    training = resolved(f"model={model}", f"training.{given}={value}").training
    assert getattr(training, given) == value
    assert getattr(training, silenced) is None


def test_steps_and_warm_up_equal_the_released_codes(parity: Any) -> None:
    tasks = parity("lr_schedule")["tasks"]
    assert len(tasks) >= 8
    for name, facts in tasks.items():
        training = resolved(f"training.batch_size={facts['batch']}", f"training.epochs={facts['epochs']}").training
        total = total_steps(facts["train_examples"], training)
        warmup = warmup_steps(total, training)
        assert (total, warmup) == (facts["total_steps"], facts["warmup_steps"]), name
        for update, factor in facts["lr_factor_at"].items():
            assert learning_rate_factor(int(update), total, warmup) == pytest.approx(factor, abs=1e-15), (name, update)


def test_a_number_is_the_same_run_however_it_is_written() -> None:
    """What a recipe says has the types of what a user says, and what no type takes is refused."""
    ways = ("", "training.epochs=3", "training.epochs=3.0", "recipe.training.epochs=3", "recipe.training.epochs=3.0")
    written = {json.dumps(asdict(resolved(*filter(None, [way])).training)) for way in ways}
    assert len(written) == 1
    alphas = ("", "method.r_drop.alpha=1", "method.r_drop.alpha=1.0")
    (alpha,) = {repr(build(resolved("method=r_drop", *filter(None, [way])).methods)["r_drop"]) for way in alphas}
    assert "alpha=1.0" in alpha
    with pytest.raises(UserError, match=r"method\.r_drop\.alpha must be a number, not 1000"):
        build({"r_drop": {"alpha": 10**400}})
    for wrong in ("weight_decay=much", "batch_size=2.5", "adam_betas=[a,0.9]"):
        with pytest.raises(OmegaConfBaseException, match=f"full_key: training.{wrong.partition('=')[0]}"):
            resolved(f"recipe.training.{wrong}")


def test_noise_scale_feeds_every_method_with_a_scale() -> None:
    run = resolved("method=[hype_n,hype_u]", "noise_scale=0.25")
    assert [values["scale"] for values in run.methods.values()] == [0.25, 0.25]
    assert resolved("method=hype_n", "noise_scale=0.25", "method.hype_n.scale=0.5").methods["hype_n"]["scale"] == 0.5


def test_clipping_is_switched_off_by_0_since_null_leaves_it_to_the_recipe() -> None:
    assert resolved("training.max_grad_norm=0").training.max_grad_norm == 0
    assert resolved("training.max_grad_norm=null").training.max_grad_norm == 1.0
    with pytest.raises(UserError, match=r"training\.max_grad_norm must be at least 0, not -1"):
        resolved("training.max_grad_norm=-1")


def test_methods_keep_their_order() -> None:
    assert list(resolved("method=[hype_n,r_drop]").methods) == ["hype_n", "r_drop"]
    assert list(resolved("method=[r_drop,hype_n]").methods) == ["r_drop", "hype_n"]


def test_limits_are_named_as_they_are() -> None:
    with pytest.raises(UserError, match=r"seed must be at least 0 and below 4294967296, not 4294967296"):
        resolved("seed=4294967296")
    assert resolved("seed=4294967295").seed == 4294967295
    assert resolved("training.dropout=0", "training.warmup_ratio=1").training.warmup_ratio == 1


def test_a_seed_may_draw_its_own_subset() -> None:
    data = resolved("data.subset_seed=tied").data
    assert data.subset_seed == "tied"
    assert data.drawn(7) == resolved("data.subset_seed=7").data
    assert resolved("data.subset_seed=3").data.drawn(7).subset_seed == 3


def test_data_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYPE_BENCH_DATA", str(tmp_path))
    assert resolved().data.root == str(tmp_path)
    monkeypatch.delenv("HYPE_BENCH_DATA")
    assert resolved().data.root is None


def test_wandbs_own_variables_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    settings = resolved("tracker=wandb").tracker
    assert (settings.project, settings.entity) == ("theirs", "team")
    settings = resolved("tracker=wandb", "tracker.project=mine", "tracker.entity=me").tracker
    assert (settings.project, settings.entity) == ("mine", "me")
    monkeypatch.delenv("WANDB_PROJECT")
    monkeypatch.delenv("WANDB_ENTITY")
    settings = resolved("tracker=wandb").tracker
    assert (settings.project, settings.entity) == ("hype_bench", None)
