"""AdaLoRA's allocation against peft's, and what it does in a run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hype_bench.contract.compose import compose
from hype_bench.contract.objective import forward_of, objective
from hype_bench.contract.registry import build
from hype_bench.methods.adalora import AdaLoRA, budget, distance_from_orthogonality
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, logits_of, still, tiny, train

UPDATES = 20


def values(model: Any) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if ".lora_E." in name}


def triplets_left(model: Any) -> int:
    return sum(int((p != 0).sum()) for p in values(model).values())


def test_the_budget_falls_between_two_updates() -> None:
    assert [budget(update, 2, 6, 100, 20) for update in (1, 2, 3, 4, 5, 6, 9)] == [100, 100, 53, 30, 21, 20, 20]


def test_every_step_is_that_of_the_library() -> None:
    """Peft's allocator beside ours, on a copy that has the same weights and gradients."""
    from peft import AdaLoraConfig
    from peft.tuners.adalora.layer import RankAllocator

    method = AdaLoRA(rank=4, target_rank=2, initial=0.2, final=0.3, interval=2, beta1=0.7, beta2=0.8)
    model, batch = still(tiny("bert")), batch_of(3)
    hooks = compose({"adalora": method}, model, context_of(batch, updates=UPDATES))
    config = AdaLoraConfig(init_r=4, target_r=2, tinit=4, tfinal=6, deltaT=2, beta1=0.7, beta2=0.8, total_step=UPDATES)
    names = {name: p for name, p in model.named_parameters() if ".lora_" in name}
    copies: dict[str, nn.Parameter] = {}
    beside: Any = nn.Module()
    beside.named_parameters = copies.items
    allocator, counts, kept = None, [], {}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for update in range(1, UPDATES + 1):
        optimizer.zero_grad()
        hooks.loss(batch, forward_of(model), objective)[0].backward()
        optimizer.step()
        copies |= {name: nn.Parameter(p.detach().clone()) for name, p in names.items()}
        for name, p in names.items():
            copies[name].grad = p.grad
        allocator = allocator or RankAllocator(beside, config, "default")
        hooks.after_step(optimizer)
        if update <= UPDATES - 6:
            _, pattern = allocator.update_and_allocate(beside, update, force_mask=update == UPDATES - 6)
            kept = pattern or kept
        else:
            allocator.mask_using_rank_pattern(beside, kept)
        for name, p in values(model).items():
            assert torch.equal(p, copies[name]), (update, name)
        counts.append(triplets_left(model))
    everything = len(values(model)) * 4
    assert counts[3] == everything
    assert counts[-1] == counts[13] == everything // 2
    assert everything > counts[5] > counts[9] > counts[13]
    assert len({int((p != 0).sum()) for p in values(model).values()}) > 1, "every map has the same rank"


def test_the_orthogonality_term_is_the_librarys() -> None:
    model, batch = still(tiny("bert")), batch_of(3)
    hooks = compose({"adalora": AdaLoRA(orthogonality=0.7)}, model, context_of(batch))
    norms = []
    for name, p in model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            product = p @ p.T if ".lora_A." in name else p.T @ p
            norms.append(torch.norm(product - torch.eye(2, dtype=p.dtype)))
    task = objective(batch, forward_of(model))[0]
    expected = task + 0.7 * torch.stack(norms).mean()
    torch.testing.assert_close(hooks.loss(batch, forward_of(model))[0], expected, atol=1e-12, rtol=0)
    assert distance_from_orthogonality([torch.eye(2)], [torch.eye(3)[:, :2]]) == 0


def test_what_is_merged_is_what_was_trained_with_few_triplets() -> None:
    model, batch = still(tiny("bert")), batch_of(3)
    plain = logits_of(model, batch)
    hooks = compose({"adalora": AdaLoRA()}, model, context_of(batch, updates=4))
    torch.testing.assert_close(logits_of(model, batch), plain, atol=1e-12, rtol=0)
    list(train(model, hooks, batch, 4, lr=0.05))
    assert triplets_left(model) == len(values(model))
    trained = logits_of(model, batch)
    hooks.finish()
    torch.testing.assert_close(logits_of(model, batch), trained, atol=1e-10, rtol=0)


def test_a_run_of_one_update_has_scores_too() -> None:
    model, batch = tiny("bert").train(), batch_of(3)
    hooks = compose({"adalora": AdaLoRA()}, model, context_of(batch, updates=1))
    list(train(model, hooks, batch, 1))
    assert len(values(model)) <= triplets_left(model) < 2 * len(values(model))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"target_rank": 2}, "method.adalora.target_rank must be below rank=2, not 2"),
        ({"initial": 0.6}, "method.adalora.initial must be below 1 - final = 0.55, not 0.6"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build({"adalora": options})
