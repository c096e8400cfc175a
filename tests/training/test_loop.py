"""The loop: repeatable bit for bit, paired over methods, equal however an update is cut, honest when it fails."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hype_bench.config import UserError
from hype_bench.contract.context import Context
from hype_bench.contract.method import Hooks, Method
from hype_bench.contract.objective import Loss, objective
from hype_bench.contract.registry import build
from hype_bench.models.checkpoint import locate
from hype_bench.testing.composed import configured, loaded
from hype_bench.testing.tiny import without_dropout
from hype_bench.training import loop
from hype_bench.training.loop import DivergedError, Outcome, fine_tune
from hype_bench.training.optimizer import learning_rate_factor

SHORT = ("task=demo_rte", "training.max_steps=6", "training.learning_rate=1e-3")


def run(*overrides: str, methods: list[Method] | None = None, save_to: Path | None = None) -> Outcome:
    config, outcome = configured(*SHORT, *overrides), Outcome()
    techniques = build(config.methods) if methods is None else {type(m).__name__: m for m in methods}
    fine_tune(config, loaded(config), locate(config.model), techniques, outcome, save_to=save_to)
    return outcome


def logits(outcome: Outcome) -> Any:
    return next(iter(outcome.evaluations.values())).logits


def losses(outcome: Outcome) -> list[float]:
    return [row["loss"] for row in outcome.curve if "loss" in row]


@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta_v2"])
def test_the_same_run_twice_is_the_same_bit_for_bit(family: str) -> None:
    overrides = (f"model=tiny_{family}", "method=hype_n", "method.hype_n.dropout=0.1", "noise_scale=1e-3")
    torch.manual_seed(99)  # whatever happened before in this process
    first = run(*overrides)
    torch.rand(7)
    second = run(*overrides)
    assert np.array_equal(logits(first), logits(second))
    assert first.curve == second.curve
    other = run(*overrides, "seed=2")
    assert not np.array_equal(logits(first), logits(other))


def test_the_last_point_of_a_curve_is_the_score() -> None:
    watched = run("model=tiny_bert", "training.evaluate_every=2")
    assert [row["update"] for row in watched.curve if "accuracy" in row] == [2, 4, 6]
    assert watched.curve[-1]["accuracy"] == next(iter(watched.evaluations.values())).scores["accuracy"]


class Spy(Method):
    """Notes what every technique is to find alike: first weights of the head, and the order of the data."""

    def prepare(self, model: Any, context: Context) -> Hooks:
        self.head, self.labels = model.classifier.weight.detach().clone(), []

        def loss(batch: Any, forward: Any, inner: Loss) -> Any:
            self.labels.append(batch["labels"].tolist())
            return inner(batch, forward)

        return Hooks(loss=loss)


def test_seeds_are_paired_over_methods() -> None:
    seen = []
    for chosen in ({}, {"no_dropout": {}}, {"hype_n": {}}, {"hype_u": {}}):
        spy = Spy()
        run("model=tiny_bert", methods=[*build(chosen).values(), spy])
        seen.append((spy.head, spy.labels))
    for head, labels in seen[1:]:
        assert torch.equal(head, seen[0][0])
        assert labels == seen[0][1]
    other = Spy()
    run("model=tiny_bert", "seed=2", methods=[other])
    assert not torch.equal(other.head, seen[0][0])
    assert other.labels != seen[0][1]


class Still(Method):
    """No dropout anywhere, so that nothing random depends on how a batch is cut."""

    def prepare(self, model: Any, context: Context) -> Hooks:
        without_dropout(model)
        return Hooks()


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_accumulation_changes_nothing_but_the_memory(family: str) -> None:
    overrides = (f"model=tiny_{family}", "training.batch_size=14")
    whole = run(*overrides, methods=[Still()])
    cut = run(*overrides, "training.gradient_accumulation_steps=4", methods=[Still()])
    np.testing.assert_allclose(logits(whole), logits(cut), atol=2e-5)
    np.testing.assert_allclose(losses(whole), losses(cut), atol=1e-6)


@pytest.mark.parametrize("method", ["hype_n", "[hype_n,r_drop]", "[r3f,hype_n]"])
@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "deberta"])
def test_checkpointing_draws_the_same_noise_and_masks_again(family: str, method: str) -> None:
    """Also where the objective makes two passes before the first is run again, and where the noise lies within."""
    hype = ("method.hype_n.dropout=0.2", "method.hype_n.position=both")
    overrides = (f"model=tiny_{family}", f"method={method}", "noise_scale=0.1", "training.max_steps=3", *hype)
    plain, saved = run(*overrides), run(*overrides, "training.gradient_checkpointing=true")
    np.testing.assert_allclose(logits(plain), logits(saved), atol=1e-6)
    np.testing.assert_allclose(losses(plain), losses(saved), atol=1e-6)


@pytest.mark.parametrize("task", ["demo_rte", "demo_stsb"])
def test_training_lowers_the_loss(task: str) -> None:
    longer = ("training.max_steps=60", "training.learning_rate=5e-3", "data.max_train_examples=32")
    for method in ("vanilla", "no_dropout", "hype_n", "hype_u"):
        curve = losses(run("model=tiny_bert", f"task={task}", f"method={method}", *longer))
        assert curve[-1] < 0.9 * curve[0], (method, curve)


def test_bf16_runs_on_a_cpu_and_warns_of_swallowed_noise() -> None:
    outcome = run("model=tiny_bert", "method=hype_n", "training.precision=bf16")
    assert math.isfinite(losses(outcome)[-1])
    assert any("bf16" in warning for warning in outcome.warnings)
    assert max(outcome.facts["noise_changed_fraction"].values()) < 0.5


class Overflowing(torch.amp.GradScaler):
    """Starts too high, as torch's own does with larger models."""

    def __init__(self, device: str, enabled: bool) -> None:
        super().__init__(device, init_scale=2.0**32, enabled=enabled)


@pytest.mark.parametrize("method", ["vanilla", "freelb", "smart", "rose"])
def test_an_update_that_fp16_skips_takes_nothing_from_the_schedule(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor from the curve, where a technique's later pass has no finite loss after an overflow in the first."""
    monkeypatch.setattr(loop, "choose_device", lambda name, precision: torch.device("cpu"))
    monkeypatch.setattr("hype_bench.training.losses.LOG_EVERY", 1)
    monkeypatch.setattr(torch.amp, "GradScaler", Overflowing)
    settings = ("training.max_steps=20", "training.warmup_steps=0", "training.precision=fp16")
    outcome = run("model=tiny_bert", f"method={method}", *settings)
    curve = outcome.curve
    assert 5 < len(curve) < 20
    assert f"fp16 skipped {20 - len(curve)} of 20 updates, whose gradients overflowed" in outcome.warnings
    rates = [1e-3 * learning_rate_factor(update, 20, 0) for update in range(len(curve))]
    assert [row["learning_rate"] for row in curve] == pytest.approx(rates)


def test_gradients_that_no_scale_makes_finite_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "choose_device", lambda name, precision: torch.device("cpu"))
    with pytest.raises(DivergedError, match="not finite at any loss scale"):
        run("model=tiny_bert", "training.max_steps=30", "training.precision=fp16", methods=[Poison()])


class Poison(Method):
    def prepare(self, model: Any, context: Context) -> Hooks:
        return Hooks(loss=lambda batch, forward, inner: (objective(batch, forward)[0] * float("nan"), None))


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    outcome = Outcome()
    config = configured(*SHORT, "model=tiny_bert", "training.max_steps=500")
    with pytest.raises(DivergedError, match="no longer finite"):
        fine_tune(config, loaded(config), locate(config.model), {"poison": Poison()}, outcome)
    assert outcome.updates <= 10
    assert not outcome.evaluations


class LateNaN(Method):
    """Spoils the weights with the last step, when no training loss will show it any more."""

    def prepare(self, model: Any, context: Context) -> Hooks:
        return Hooks(finish=lambda: model.classifier.bias.data.fill_(float("nan")))


def test_weights_that_end_as_nan_are_diverged_not_scored() -> None:
    with pytest.raises(DivergedError, match="outputs on validation"):
        run("model=tiny_bert", methods=[LateNaN()])


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_the_saved_folder_is_the_model_that_was_scored(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    outcome = run(f"model=tiny_{family}", "method=hype_u", save_to=tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").is_file()
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    split = loaded(configured(*SHORT, f"model=tiny_{family}")).evaluation[0]
    with torch.no_grad():
        batch = tokenizer(*split.texts, padding=True, return_tensors="pt")
        again = model(**batch).logits
    np.testing.assert_allclose(again.numpy(), logits(outcome), atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (("model=tiny_xlnet", "training.packing=on"), "packing=on is not available for xlnet"),
        (("model=tiny_xlnet", "training.gradient_checkpointing=true"), "gradient_checkpointing=true is not available"),
        (("model=tiny_bert", "training.precision=fp16", "device=cpu"), "fp16 needs a CUDA device"),
    ],
)
def test_combinations_that_cannot_work(overrides: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        run(*overrides)
