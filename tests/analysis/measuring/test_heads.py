"""Heads of all layers together: equal to each layer's own, by torch's modules and optimizer, and much faster."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hype_bench.analysis.measuring.heads import apply_heads, train_heads

RATE, EPOCHS, BATCH, SEED = 1e-3, 3, 16, 5


def alone(states: Tensor, labels: Tensor, classes: int) -> Tensor:
    """One layer's head, as one writes it: a module, a loss, an optimizer, a schedule."""
    generator = torch.Generator().manual_seed(SEED)
    head = nn.Linear(states.shape[1], max(classes, 1)).to(states.dtype)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * 0.02)
        head.bias.zero_()
    optimizer = torch.optim.Adam(head.parameters(), RATE)
    total = EPOCHS * -(-len(states) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(states), generator=generator).split(BATCH):
            outputs = head(states[batch])
            loss = F.cross_entropy(outputs, labels[batch]) if classes else F.mse_loss(outputs[:, 0], labels[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return torch.cat([head.weight, head.bias[:, None]], 1).detach()


def data(layers: int, examples: int, width: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(layers, examples, width, generator=generator)
    if not classes:
        return states, 5 * torch.rand(examples, generator=generator)
    return states, torch.randint(classes, (examples,), generator=generator)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_all_layers_together_are_each_layer_alone(classes: int) -> None:
    states, labels = data(4, 53, 24, classes)  # the last batch of an epoch is smaller
    heads = train_heads(states, labels, classes, RATE, EPOCHS, BATCH, SEED)
    assert heads.shape == (4, max(classes, 1), 25)
    expected = torch.stack([alone(of_layer, labels, classes) for of_layer in states])
    torch.testing.assert_close(heads, expected, atol=1e-6, rtol=0)
    assert (heads - heads[:1]).abs().amax() > 1e-3  # they differ, and moved
    third = train_heads(states[2:3], labels, classes, RATE, EPOCHS, BATCH, SEED)
    torch.testing.assert_close(heads[2:3], third, atol=1e-6, rtol=0)
    outputs = torch.stack([F.linear(of_layer, w[:, :-1], w[:, -1]) for of_layer, w in zip(states, heads, strict=True)])
    torch.testing.assert_close(apply_heads(heads, states), outputs)


@pytest.mark.slow
def test_twelve_layers_together_take_less_than_a_tenth_of_the_time() -> None:
    """And their embeddings; with two threads, as outside of the tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    states, labels = data(13, 1000, 384, 2)
    ratios = []
    for _ in range(3):  # in turns: the machine's clock changes
        started = time.perf_counter()
        train_heads(states, labels, 2, RATE, EPOCHS, BATCH, SEED)
        together = time.perf_counter() - started
        started = time.perf_counter()
        for of_layer in states:
            alone(of_layer, labels, 2)
        ratios.append((time.perf_counter() - started) / together)
    torch.set_num_threads(threads)
    assert max(ratios) >= 10, ratios
