"""What every technique must hold to, whichever it is, in every family and kind of task."""

from __future__ import annotations

import contextlib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification

from hype_bench.choices import choice_file
from hype_bench.contract.compose import compose
from hype_bench.contract.objective import task_loss
from hype_bench.contract.order import commute
from hype_bench.contract.registry import build, cards, discover
from hype_bench.options import UserError
from hype_bench.testing import pytest_generate_tests as pytest_generate_tests
from hype_bench.testing import techniques_of_plugins
from hype_bench.testing.tiny import (
    FAMILIES,
    UPDATES,
    anatomy,
    batch_of,
    check_both_orders,
    context_of,
    fine_tuned,
    logits_of,
    options,
    outputs_for,
    technique,
    tiny,
    train,
)

NAMES = techniques_of_plugins()


FAMILY_AND_OUTPUTS = [*((family, 3) for family in FAMILIES), ("bert", 1), ("xlnet", 1)]  # 1: a regression


@pytest.mark.parametrize(("family", "outputs"), FAMILY_AND_OUTPUTS)
def test_it_trains_repeats_and_leaves_a_plain_model(name: str, family: str, outputs: int, tmp_path: Path) -> None:
    batch, model = batch_of(outputs), tiny(family, outputs).train()
    cls, _ = discover()[name]
    if not (cls.takes_regression if outputs == 1 else cls.takes_classes):
        with pytest.raises(UserError, match="is not available for"):
            compose(technique(name, family), model, context_of(batch))
        return
    before = anatomy(model)
    hooks = compose(technique(name, family), model, context_of(batch))
    untrained = task_loss(logits_of(model.eval(), batch), batch["labels"])
    losses = list(train(model.train(), hooks, batch, UPDATES))
    model.eval()
    is_lower = losses[-1] < losses[0] or task_loss(logits_of(model, batch), batch["labels"]) < untrained
    assert is_lower, "training does not lower the loss"
    assert torch.equal(logits_of(model, batch), logits_of(model, batch)), "evaluation is random"
    trained = logits_of(model, batch)
    hooks.finish()
    if unmerged := cls.unmerged:
        assert torch.equal(logits_of(model, batch), trained), f"finish has taken the {unmerged} away"
    else:
        assert anatomy(model.train()) == before, "finish left something behind"
    peer = tiny(family, outputs).train()
    hooks = compose(technique(name, family), peer, context_of(batch))
    assert list(train(peer, hooks, batch, UPDATES // 2)) == losses[: UPDATES // 2], "the same seed is not the same run"
    hooks.finish()
    if unmerged:
        with pytest.raises(UserError, match=f"^{name} leaves no plain model"):
            model.save_pretrained(tmp_path)
        return
    model.eval().save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path, trust_remote_code=False).eval()
    assert torch.equal(logits_of(again, batch), logits_of(model, batch)), "what is saved is not what was trained"


@pytest.mark.parametrize("family", FAMILIES)
def test_with_its_neutral_options_it_is_vanilla_bit_for_bit(neutral_name: str, family: str) -> None:
    cls, _ = discover()[neutral_name]
    batch = batch_of(3)
    plain, expected = fine_tuned({}, family, batch, 5)
    model, losses = fine_tuned(build({neutral_name: dict(cls.neutral or {})}), family, batch, 5)
    assert losses == expected
    for (key, one), other in zip(plain.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(one, other), key


def test_what_is_frozen_stays_and_what_has_a_gradient_moves(name: str) -> None:
    batch, model = batch_of(outputs_for(name)), tiny("bert", outputs_for(name)).train()
    hooks = compose(technique(name), model, context_of(batch))
    trained = {key for key, p in model.named_parameters() if p.requires_grad}
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    list(train(model, hooks, batch, UPDATES))
    for key, parameter in model.named_parameters():
        assert key in trained or torch.equal(parameter, before[key]), f"{key} is frozen and moved"
    matrices = {key: p for key, p in model.named_parameters() if p.requires_grad and p.dim() > 1}
    still_there = {key for key, p in matrices.items() if torch.equal(p, before[key])}
    assert not still_there, f"{still_there} have a gradient and did not move"


def test_yaml_says_what_the_dataclass_says(name: str) -> None:
    """One YAML per technique, under its name, with the same options and the same defaults."""
    cls, fixed = discover()[name]
    file = choice_file("method", name)
    assert file is not None, f"there is no conf/method/{name}.yaml"
    text = file.read_text(encoding="utf-8")
    card = cards()[name]
    assert text.startswith(f"# @package method.{name}\n# {card.title}: {card.summary}.\n")
    options = yaml.safe_load(text) or {}
    defaults = {f.name: f.default for f in fields(cls) if f.name not in fixed}  # type: ignore[arg-type]
    assert MISSING not in defaults.values()
    options = {key: 1e-5 if value == "${noise_scale}" else value for key, value in options.items()}
    assert options == {key: value for key, value in defaults.items() if key in options}
    assert fixed or options.keys() == defaults.keys()  # what is fixed may leave another option without a meaning


def test_its_order_has_no_effect_where_it_acts_on_other_parts(name: str) -> None:
    """Beside every technique with which it shares no part of a run, see ``Method.acts_on``."""
    for other in discover():
        chosen = {key: options(key, "bert") for key in (name, other)}
        with contextlib.suppress(UserError):  # they cannot be combined
            pair = build(chosen)
            if len(pair) == 2 and commute(*pair.values()):
                check_both_orders(pair)
