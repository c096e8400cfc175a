"""Every technique however an update is computed: packed or padded, in pieces, with activations computed again."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hype_bench.contract.context import Batch, NoiseSource
from hype_bench.contract.method import Hooks, compose, forward_of, objective
from hype_bench.contract.registry import build, discover
from hype_bench.models.attention import Packing
from hype_bench.models.checkpoint import locate
from hype_bench.models.packing import attach_packing
from hype_bench.training.loop import Outcome, fine_tune
from tests.architectures import architecture
from tests.composed import configured, loaded
from tests.methods.tiny import context_of, options, still, technique, tiny

NAMES = list(discover())
LENGTHS = [5, 9, 1, 7]
IDS = torch.randint(5, 60, (sum(LENGTHS),), generator=torch.Generator().manual_seed(2))


def run(name: str, family: str, *overrides: str) -> Outcome:
    """Six updates of the real loop on a generated task."""
    short = ("task=demo_rte", "training.max_steps=6", "training.learning_rate=1e-3")
    config, outcome = configured(f"model=tiny_{family}", *short, *overrides), Outcome()
    fine_tune(config, loaded(config), locate(config.model), technique(name, family), outcome)
    return outcome


@cache
def plain_run(name: str, family: str) -> Outcome:
    return run(name, family)


def losses(outcome: Outcome) -> list[float]:
    return [row["loss"] for row in outcome.curve if "loss" in row]


def logits(outcome: Outcome) -> Any:
    return next(iter(outcome.evaluations.values())).logits


@pytest.mark.parametrize("family", ["bert", "deberta"])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_checkpointing_changes_nothing(name: str, family: str) -> None:
    plain, saved = plain_run(name, family), run(name, family, "training.gradient_checkpointing=true")
    np.testing.assert_allclose(losses(plain), losses(saved), atol=2e-6)
    np.testing.assert_allclose(logits(plain), logits(saved), atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_scoring_in_between_changes_nothing(name: str) -> None:
    plain, watched = plain_run(name, "bert"), run(name, "bert", "training.evaluate_every=1")
    assert [row["update"] for row in watched.curve if "accuracy" in row] == [1, 2, 3, 4, 5, 6]
    assert losses(watched) == losses(plain)
    assert np.array_equal(logits(watched), logits(plain))


@pytest.mark.parametrize("family", ["bert", "xlnet"])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_accumulation_runs_and_repeats(name: str, family: str) -> None:
    first, second = (run(name, family, "training.gradient_accumulation_steps=3") for _ in range(2))
    assert all(map(math.isfinite, losses(first)))
    assert losses(first) == losses(second)
    assert np.array_equal(logits(first), logits(second))


class SamePlaces(NoiseSource):
    """Noise that depends on example, position and entry alone, so that it is the same packed and padded."""

    def normal(self, like: Tensor, site: str) -> Tensor:
        rows = [torch.arange(length) + 50 * example for example, length in enumerate(LENGTHS)]
        if like.dim() != 3:
            return torch.cos(torch.arange(like.numel(), dtype=like.dtype) + self.seed(site) % 7).view(like.shape)
        if len(like) == 1:
            places = torch.cat(rows)[None]
        else:
            places = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        entry = torch.arange(like.shape[-1])
        return torch.cos(0.3 * places[..., None] + 1.7 * entry + self.seed(site) % 7).to(like.dtype)

    def uniform(self, like: Tensor, site: str) -> Tensor:
        return 0.5 + 0.5 * self.normal(like, site)


def batches() -> tuple[Batch, Batch]:
    """The same four examples in a row and padded."""
    labels = torch.tensor([0, 2, 1, 1])
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    row = {"input_ids": IDS[None], "position_ids": positions[None], "packing": Packing.of(LENGTHS), "labels": labels}
    padded = torch.nn.utils.rnn.pad_sequence(list(IDS.split(LENGTHS)), batch_first=True)
    mask = (torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]).long()
    return row, {"input_ids": padded, "attention_mask": mask, "labels": labels}


def one_update(
    name: str, batch: Batch, monkeypatch: pytest.MonkeyPatch, kind: str = "bert"
) -> tuple[float, dict[str, Tensor]]:
    model = still(tiny("bert") if kind == "bert" else architecture(kind))
    if "packing" in batch:
        attach_packing(model)
    context = context_of({key: value for key, value in batches()[1].items()}, updates=4)
    with monkeypatch.context() as patch:
        patch.setattr("hype_bench.contract.context.NoiseSource", SamePlaces)
        chosen = options(name, "bert") | ({"kl_dropout": 0.0} if name == "rose" else {})
        hooks: Hooks = compose(build({name: chosen}), model, context)

    def backward(pieces: list[Batch]) -> Tensor:
        loss = hooks.loss(pieces[0], forward_of(model), objective)
        loss.backward()
        return loss.detach()

    loss = float(hooks.gradients([batch], backward))
    return loss, {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize("name", NAMES)
def test_packed_equals_padded(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "modernbert" and name in ("bitfit", "mixout"):
        pytest.skip("refused for ModernBERT (test_architectures.py)")
    row, padded = batches()
    loss, gradients = one_update(name, row, monkeypatch, kind)
    expected, expected_gradients = one_update(name, padded, monkeypatch, kind)
    assert loss == pytest.approx(expected, abs=1e-6)
    assert gradients.keys() == expected_gradients.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[key], atol=1e-6, rtol=1e-5, msg=lambda m, k=key: k + m)
