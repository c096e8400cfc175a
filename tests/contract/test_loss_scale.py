"""Loss scaling, which techniques never see: no number depends on it, and an overflow in any pass skips the update."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hype_bench.contract.attach import attach
from hype_bench.contract.compose import Composed
from hype_bench.contract.context import Context
from hype_bench.contract.method import Hooks, Method
from hype_bench.contract.registry import discover
from hype_bench.testing.tiny import TOKENIZER, batch_of, cut, outputs_for, technique, tiny

FP16 = torch.autocast("cpu", torch.float16)


class Doubling(torch.amp.GradScaler):
    """Doubles the scale at every update, so that whoever adds up scaled gradients counts the last ones most."""

    def __init__(self, scale: float) -> None:
        super().__init__("cpu", init_scale=scale, growth_interval=1)


def fine_tuned(
    methods: dict[str, Method], scaler: torch.amp.GradScaler | None, count: int, autocast: Any = contextlib.nullcontext
) -> tuple[Any, list[float]]:
    """A model after some updates, and their losses, in a loop of one's own."""
    outputs = outputs_for(*methods)
    batch, model, losses = batch_of(outputs), tiny("bert", outputs).train(), list[float]()
    run: dict[str, Any] = {"seed": 3, "updates": count, "warmup": 1, "batches": lambda size: cut(batch, size)}
    run |= {"examples": len(batch["labels"]), "tokenizer": TOKENIZER}
    torch.manual_seed(5)
    with attach(methods, model, **run, scaler=scaler) as attached:
        trained = [p for p in model.parameters() if p.requires_grad]
        groups = attached.parameter_groups([{"params": trained, "lr": 3e-3, "weight_decay": 0.01}])
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], fused=True)
        ends = {count * phase // attached.hooks.phases for phase in range(1, attached.hooks.phases)}
        for update in range(count):
            if update in ends:
                attached.next_phase(optimizer)
            with autocast():
                losses.append(float(attached.backward(batch)))
            if scaler:
                scaler.unscale_(optimizer)
            if attached.context.will_step(model):
                attached.before_step(optimizer)
                scaler.step(optimizer) if scaler else optimizer.step()
                attached.after_step(optimizer)
            if scaler:
                scaler.update()
            optimizer.zero_grad()
    return model, losses


@pytest.mark.filterwarnings("ignore:the checkpoint has no head that predicts words")
@pytest.mark.parametrize("name", discover())
def test_no_technique_depends_on_the_scale(name: str) -> None:
    plain, losses = fine_tuned(technique(name), None, 4)
    scaled, same = fine_tuned(technique(name), Doubling(2.0**10), 4)
    assert losses == same
    for key, weight in plain.state_dict().items():
        assert torch.equal(weight, scaled.state_dict()[key]), key


@pytest.mark.parametrize("name", ["dps", "freelb", "rose", "sam", "smart", "sage", "recadam"])
def test_an_overflow_skips_the_update_and_lowers_the_scale(name: str) -> None:
    scaler = Doubling(2.0**60)
    model, _ = fine_tuned(technique(name), scaler, 1, lambda: FP16)
    for key, weight in tiny("bert").state_dict().items():
        assert torch.equal(weight, model.state_dict()[key]), key
    assert scaler.get_scale() == 2.0**59


def test_an_overflow_counts_although_its_gradients_are_forgotten() -> None:
    model, scaler = nn.Linear(2, 1), Doubling(4.0)
    context, gradients = Context(scaler=scaler), iter([float("inf"), 8.0])

    def backward(batches: list[Any]) -> Tensor:
        for p in model.parameters():
            p.grad = torch.full_like(p, next(gradients) if p is model.weight else 0.0)
        return torch.zeros(())

    def twice(batches: list[Any], inner: Any) -> Tensor:
        inner(batches)
        loss: Tensor = inner(batches)
        assert model.weight.grad is not None
        assert model.weight.grad.tolist() == [[2.0, 2.0]]
        return loss

    hooks = Composed([Hooks(backward=twice)], unscaled=lambda inner: context.unscaled_passes(model, inner))
    hooks.backward([{}], backward)
    assert not context.will_step(model)


def test_a_technique_s_own_gradient_in_fp16() -> None:
    """Through one map, from a loss so small that without a scale its gradient is 0 on the way."""
    torch.manual_seed(0)
    weight, at, scaler = torch.randn(3, 4), torch.randn(2, 4, requires_grad=True), Doubling(2.0**16)
    with FP16:
        loss = nn.functional.linear(at, weight).float().square().sum() * 1e-9
    (lost,) = torch.autograd.grad(loss, at, retain_graph=True)
    assert not lost.any()
    expected = 2e-9 * (at @ weight.T) @ weight
    torch.testing.assert_close(Context(scaler=scaler).gradient(loss, at), expected, rtol=0.01, atol=1e-11)
