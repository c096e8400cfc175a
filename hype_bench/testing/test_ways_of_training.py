"""Every technique however an update is computed: packed or padded, in pieces, with activations computed again."""

from __future__ import annotations

import functools
import math
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.noise import NoiseSource
from hype_bench.contract.objective import Batch, forward_of, objective
from hype_bench.contract.registry import build
from hype_bench.models.attention import Packing
from hype_bench.models.checkpoint import locate
from hype_bench.models.packing import attach_packing
from hype_bench.testing import pytest_generate_tests as pytest_generate_tests
from hype_bench.testing import techniques_of_plugins
from hype_bench.testing.composed import configured, loaded
from hype_bench.testing.tiny import (
    STILL_OPTIONS,
    context_of,
    load_once,
    load_tokenizer_once,
    options,
    outputs_for,
    still,
    technique,
    tiny,
)
from hype_bench.training import loop
from hype_bench.training.loop import Outcome, fine_tune

NAMES = techniques_of_plugins()
LENGTHS = [5, 9, 1, 7]
IDS = torch.randint(5, 60, (sum(LENGTHS),), generator=torch.Generator().manual_seed(2))


def run(name: str, family: str, *overrides: str) -> Outcome:
    """Two updates of the real loop on a generated task, the second of which depends on the first."""
    task = "demo_rte" if outputs_for(name) > 1 else "demo_stsb"
    short = (f"task={task}", "training.max_steps=2", "training.warmup_steps=0", "training.learning_rate=1e-3")
    config, outcome = configured(f"model=tiny_{family}", *short, *overrides), Outcome()
    with patch.multiple(loop, load_classifier=load_once, load_tokenizer=load_tokenizer_once):
        fine_tune(config, loaded(config), locate(config.model), technique(name, family), outcome)
    return outcome


@functools.cache
def plain_run(name: str, family: str) -> Outcome:
    return run(name, family)


def losses(outcome: Outcome) -> list[float]:
    return [row["loss"] for row in outcome.curve if "loss" in row]


def logits(outcome: Outcome) -> Any:
    return next(iter(outcome.evaluations.values())).logits


@pytest.mark.parametrize("family", ["bert", "deberta"])
def test_gradient_checkpointing_changes_nothing(name: str, family: str) -> None:
    plain, saved = plain_run(name, family), run(name, family, "training.gradient_checkpointing=true")
    np.testing.assert_allclose(losses(plain), losses(saved), atol=2e-6)
    np.testing.assert_allclose(logits(plain), logits(saved), atol=2e-5)


def test_scoring_in_between_changes_nothing(name: str) -> None:
    plain, watched = plain_run(name, "bert"), run(name, "bert", "training.evaluate_every=1")
    assert [row["update"] for row in watched.curve if "loss" not in row] == [*range(1, watched.updates + 1)]
    assert losses(watched) == losses(plain)
    assert np.array_equal(logits(watched), logits(plain))


@pytest.mark.parametrize("family", ["bert", "xlnet"])
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


def batches(outputs: int = 3) -> tuple[Batch, Batch]:
    """The same four examples in a row and padded."""
    labels = torch.tensor([0, 2, 1, 1]).to(torch.int64 if outputs > 1 else torch.float32)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    row = {"input_ids": IDS[None], "position_ids": positions[None], "packing": Packing.of(LENGTHS)}
    padded = torch.nn.utils.rnn.pad_sequence(list(IDS.split(LENGTHS)), batch_first=True)
    mask = (torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]).long()
    both = {"labels": labels, "example_ids": torch.arange(len(labels))}
    return row | both, {"input_ids": padded, "attention_mask": mask} | both


def one_update(name: str, model: Any, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> tuple[float, dict[str, Tensor]]:
    if "packing" in batch:
        attach_packing(model)
    context = context_of(batches(outputs_for(name))[1], updates=4)
    with monkeypatch.context() as patch:
        patch.setattr("hype_bench.contract.randomness.NoiseSource", SamePlaces)
        chosen = options(name, "bert") | STILL_OPTIONS.get(name, {})
        hooks: Composed = compose(build({name: chosen}), model, context)

    def backward(pieces: list[Batch]) -> Tensor:
        loss = hooks.loss(pieces[0], forward_of(model), objective)[0]
        loss.backward()
        return loss.detach()

    loss = float(hooks.backward([batch], backward))
    return loss, {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}


def test_packed_equals_padded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_packed_equals_padded(name, tiny("bert", outputs_for(name)), monkeypatch)


def check_packed_equals_padded(name: str, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row, padded = batches(outputs_for(name))
    loss, gradients = one_update(name, still(deepcopy(model)), row, monkeypatch)
    expected, expected_gradients = one_update(name, still(model), padded, monkeypatch)
    assert loss == pytest.approx(expected, abs=1e-6)
    assert gradients.keys() == expected_gradients.keys()
    for key, gradient in gradients.items():
        wanted = expected_gradients[key]
        torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-5, msg=functools.partial("{}: {}".format, key))
