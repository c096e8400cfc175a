"""LLRD: the published rates of BERT with 12 and 24 layers, who gets which rate and decay, and the steps they give."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.objective import forward_of, task_loss
from hype_bench.contract.registry import build
from hype_bench.methods.llrd import LLRD, layer_learning_rate
from hype_bench.options import UserError
from hype_bench.testing.tiny import FAMILIES, batch_of, context_of, still, tiny, train
from hype_bench.training.optimizer import make_schedule, parameter_groups

LR, DECAY = 3e-3, 0.01  # of tiny.train
PUBLISHED = {"L24_decay0.95": (24, 0.95), "L12_decay0.95": (12, 0.95), "L12_decay0.9": (12, 0.9)}


def settings_of(model: Any, groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every parameter, each of which is in exactly one group."""
    settings: dict[Any, tuple[float, float]] = {}
    for group in groups:
        for p in group["params"]:
            assert p not in settings
            settings[p] = (group["lr"], group["weight_decay"])
    assert settings.keys() == {p for p in model.parameters() if p.requires_grad}
    return {name: settings[p] for name, p in model.named_parameters() if p in settings}


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_rates(key: str, parity: Callable[[str], Any]) -> None:
    """Every parameter of a BERT of that depth has the rate of its part, and every part is there."""
    case, (layers, decay) = parity("llrd")[key], PUBLISHED[key]
    with torch.device("meta"):
        config = BertConfig(hidden_size=24, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=48)
        model = AutoModelForSequenceClassification.from_config(config)
    hooks = compose({"llrd": LLRD(decay)}, model, Context())
    seen = set()
    for name, (rate, _) in settings_of(model, hooks.parameter_groups(parameter_groups(model, 2e-5, 0.01))).items():
        inside = re.match(r"bert\.(encoder\.layer\.\d+|embeddings)\.", name)
        part = inside[1] if inside else "classifier_and_pooler"
        assert rate == pytest.approx(case[part], rel=1e-12), name
        seen.add(part)
    assert seen == case.keys()


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_rates_by_depth(key: str, parity: Callable[[str], Any]) -> None:
    case, (layers, decay) = parity("llrd")[key], PUBLISHED[key]
    depths = {"embeddings": 0, "classifier_and_pooler": layers + 1}
    depths |= {f"encoder.layer.{n}": n + 1 for n in range(layers)}
    assert depths.keys() == case.keys()
    for part, depth in depths.items():
        assert layer_learning_rate(2e-5, decay, depth, layers) == pytest.approx(case[part], rel=1e-12)


def height_by_name(name: str) -> int:
    layer = re.search(r"\.layer\.(\d)\.", name)
    if layer:
        return int(layer[1]) + 1
    return 4 if re.match(r"(bert\.pooler|pooler|classifier|sequence_summary|logits_proj)\.", name) else 0


@pytest.mark.parametrize("family", FAMILIES)
def test_rate_and_decay_of_every_parameter(family: str) -> None:
    """By name alone: pooler and head decay 0; biases and LayerNorm, which have none, get none below them either; what
    DeBERTa's layers share counts as embeddings."""
    model = tiny(family)
    hooks = compose({"llrd": LLRD(0.5)}, model, Context())
    groups = hooks.parameter_groups(parameter_groups(model, 8e-4, 0.1))
    heights = set()
    for name, (rate, decay) in settings_of(model, groups).items():
        height = height_by_name(name)
        heights.add(height)
        assert rate == pytest.approx(8e-4 / 2 ** (4 - height), rel=1e-12), name
        plain = height == 4 or "bias" in name or re.search(r"layer_?norm", name.lower())
        assert decay == (0.0 if plain else 0.1), name
    assert heights == {0, 1, 2, 3, 4}


def test_what_a_group_has_besides_stays_and_the_groups_given_are_not_changed() -> None:
    model = tiny("bert")
    given = [{**group, "betas": (0.8, 0.9)} for group in parameter_groups(model, LR, DECAY)]
    before = [{**group, "params": list(group["params"])} for group in given]
    groups = compose({"llrd": LLRD()}, model, Context()).parameter_groups(given)
    assert len(groups) == 10  # with and without decay, of embeddings, three layers, and head
    assert all(group["betas"] == (0.8, 0.9) for group in groups)
    for group, copy in zip(given, before, strict=True):
        assert {key: value for key, value in group.items() if key != "params"} == {
            key: value for key, value in copy.items() if key != "params"
        }
        assert all(p is q for p, q in zip(group["params"], copy["params"], strict=True))


def test_frozen_parameters_are_in_no_group() -> None:
    model = tiny("bert")
    hooks = compose(build({"top_k": {"k": 1}, "llrd": {}}), model, Context())
    settings = settings_of(model, hooks.parameter_groups(parameter_groups(model, LR, DECAY)))
    assert {height_by_name(name) for name in settings} == {3, 4}


def test_the_schedule_keeps_the_proportions() -> None:
    model = tiny("bert")
    groups = compose({"llrd": LLRD(0.5)}, model, Context()).parameter_groups(parameter_groups(model, 1.0, DECAY))
    optimizer = torch.optim.SGD(groups)
    schedule = make_schedule(optimizer, total=10, warmup=2)
    rates = []
    for _ in range(4):
        rates.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    full = [1 / 16, 1 / 16, 1 / 8, 1 / 8, 1 / 4, 1 / 4, 1 / 2, 1 / 2, 1, 1]  # embeddings first, head last
    for row, factor in zip(rates, (0, 0.5, 1, 7 / 8), strict=True):
        assert row == pytest.approx([factor * rate for rate in full])


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
def test_steps_against_a_plain_model(family: str, count: int) -> None:
    """AdamW in numpy on a plain model's gradients, with the rate of the parameter's height and no decay at the top."""
    model, batch = still(tiny(family)), batch_of(3)
    list(train(model, compose({"llrd": LLRD(0.7)}, model, context_of(batch)), batch, count))
    plain = still(tiny(family))
    first: dict[str, Any] = defaultdict(float)
    second: dict[str, Any] = defaultdict(float)
    for step in range(1, count + 1):
        plain.zero_grad()
        task_loss(forward_of(plain)(batch).logits, batch["labels"]).backward()
        for name, p in plain.named_parameters():
            if p.grad is None:
                continue
            g, height = p.grad.numpy(), height_by_name(name)
            rate = LR * 0.7 ** (4 - height)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            change = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
            decayed = p.detach().numpy() * (1 - rate * (0 if height == 4 else DECAY))
            p.data.copy_(torch.from_numpy(decayed - rate * change))
    for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), atol=1e-10, rtol=0, msg=name)


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"llrd": {"decay": 0.0}}, "decay must be above 0 and at most 1"),
        ({"llrd": {"decay": 1.05}}, "decay must be above 0 and at most 1"),
        ({"llrd": {"decay": "strong"}}, "decay must be a number"),
        ({"llrd": {"rate": 0.9}}, "has no option 'rate'"),
    ],
)
def test_options_that_cannot_be(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(chosen)
