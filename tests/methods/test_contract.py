"""What every technique must hold to, whichever it is: found by file, run against every family and kind of task."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification

from hype_bench.contract.context import Context
from hype_bench.contract.method import Hooks, Method, compose
from hype_bench.contract.registry import build, cards, discover
from hype_bench.launch.main import CONF
from tests.methods.tiny import (
    FAMILIES,
    UPDATES,
    anatomy,
    batch_of,
    context_of,
    fine_tuned,
    logits_of,
    technique,
    tiny,
    train,
)

NAMES = list(discover())
NEUTRAL = [name for name, (cls, _) in discover().items() if cls.neutral is not None]


FAMILY_AND_OUTPUTS = [pytest.param(family, 3, id=f"classification-{family}") for family in FAMILIES] + [
    pytest.param(family, 1, id=f"regression-{family}", marks=[pytest.mark.slow] * (family not in ("bert", "xlnet")))
    for family in FAMILIES
]


@pytest.mark.parametrize(("family", "outputs"), FAMILY_AND_OUTPUTS)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, family: str, outputs: int, tmp_path: Path) -> None:
    batch, losses, weights = batch_of(outputs), [], []
    for _ in range(2):
        model = tiny(family, outputs).train()
        before = anatomy(model)
        hooks = compose(technique(name, family), model, context_of(batch))
        losses.append(list(train(model, hooks, batch, UPDATES)))
        model.eval()
        assert torch.equal(logits_of(model, batch), logits_of(model, batch)), "evaluation is random"
        hooks.finish()
        assert anatomy(model.train()) == before, "finish left something behind"
        weights.append({key: value.clone() for key, value in model.state_dict().items()})
    assert losses[0][-1] < losses[0][0], "training does not lower the loss"
    assert losses[0] == losses[1], "the same seed is not the same run"
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    model.eval().save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(logits_of(again, batch), logits_of(model, batch)), "what is saved is not what was trained"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NEUTRAL)
def test_without_strength_it_is_vanilla_bit_for_bit(name: str, family: str) -> None:
    cls, _ = discover()[name]
    batch = batch_of(3)
    plain, expected = fine_tuned({}, family, batch, 5)
    model, losses = fine_tuned(build({name: dict(cls.neutral or {})}), family, batch, 5)
    assert losses == expected
    for (key, one), other in zip(plain.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(one, other), key


@pytest.mark.parametrize("name", NAMES)
def test_what_is_frozen_stays_and_what_has_a_gradient_moves(name: str) -> None:
    batch = batch_of(3)
    model = tiny("bert").train()
    hooks = compose(technique(name), model, context_of(batch))
    trained = {key for key, p in model.named_parameters() if p.requires_grad}
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    list(train(model, hooks, batch, UPDATES))
    for key, parameter in model.named_parameters():
        assert key in trained or torch.equal(parameter, before[key]), f"{key} is frozen and moved"
    matrices = {key: p for key, p in model.named_parameters() if key in trained and p.dim() > 1}
    still_there = {key for key, p in matrices.items() if torch.equal(p, before[key])}
    assert not still_there, f"{still_there} have a gradient and did not move"


@pytest.mark.parametrize("name", NAMES)
def test_yaml_says_what_the_dataclass_says(name: str) -> None:
    """One YAML per technique, under its name, with the same options and the same defaults."""
    cls, fixed = discover()[name]
    assert is_dataclass(cls)
    assert issubclass(cls, Method)
    text = (CONF / "method" / f"{name}.yaml").read_text()
    card = cards()[name]
    assert text.startswith(f"# @package method.{name}\n# {card.title}: {card.summary}.\n")
    options = yaml.safe_load(text) or {}
    defaults = {f.name: f.default for f in fields(cls) if f.name not in fixed}
    assert MISSING not in defaults.values()
    options = {key: 1e-5 if value == "${noise_scale}" else value for key, value in options.items()}
    assert options == {key: value for key, value in defaults.items() if key in options}
    unused = {key for key in defaults if key not in options}
    assert unused <= {"support"} if name == "hype_n" else not unused  # a normal law has no choice of support


def test_noise_scale_feeds_the_methods_that_its_comment_names() -> None:
    fed = [path.stem for path in sorted((CONF / "method").glob("*.yaml")) if "${noise_scale}" in path.read_text()]
    named = " and ".join([", ".join(fed[:-1]), fed[-1]])
    assert f"# scale of {named}; " in (CONF / "config.yaml").read_text()
    assert f"scale of {named} (" in (CONF / "hydra" / "help" / "hype_bench.yaml").read_text()
    own = {name for name, card in cards().items() if "scale" in card.options and name not in fed}
    assert own == {name for name in own if "`noise_scale` does not set it" in cards()[name].options["scale"]}


def test_every_yaml_is_a_technique() -> None:
    assert sorted(path.stem for path in (CONF / "method").glob("*.yaml")) == NAMES


def test_moments_nest_in_the_order_named() -> None:
    said: list[str] = []

    class Named(Method):
        def __init__(self, name: str) -> None:
            self.name = name

        def prepare(self, model: Any, context: Context) -> Hooks:
            def say(moment: str) -> None:
                said.append(f"{moment} {self.name}")

            def loss(batch: Any, forward: Any, inner: Any) -> Any:
                say("enter")
                result = inner(batch, forward)
                say("leave")
                return result

            context.cleanup.callback(say, "undo")
            return Hooks(loss=loss, after_step=lambda optimizer: say("step"), finish=lambda: say("finish"))

    hooks = compose({"a": Named("a"), "b": Named("b")}, tiny("bert", 2), Context())
    hooks.loss({}, None, lambda batch, forward: torch.zeros(()))  # type: ignore[arg-type]
    hooks.after_step(None)  # type: ignore[arg-type]
    hooks.finish()
    assert said == ["enter a", "enter b", "leave b", "leave a", "step a", "step b",
                    "finish b", "finish a", "undo b", "undo a"]  # fmt: skip
