"""NoiseFiT entry by entry, its choice of layers in NumPy, and passes through wrapped layers instead of hooks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hype_bench.contract.objective import Batch, task_loss
from hype_bench.methods import noisefit
from hype_bench.methods.noisefit import NoiseFiT, adaptive_noise, consistency, signal_to_noise
from hype_bench.models.layers import encoder_layers
from hype_bench.options import UserError
from hype_bench.testing.tiny import logits_of, still, tiny
from tests.methods.noise_by_hand import (
    Stack,
    assert_as_by_hand,
    assert_close,
    assert_normal,
    assert_packed_as_padded,
    assert_unrelated,
    attach,
    gradients,
    layered_pass,
    unequal,
)

METHOD = NoiseFiT(noise_std=1.5, layers=2, weight=0.6, between=0.3, temperature=2.0)


def test_noise_entry_by_entry() -> None:
    """A usual token, one of large variance (the factor stops at 5), one whose spread is 0, and padding."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 3, 7, dtype=torch.float64, generator=generator)
    hidden[0, 1] *= 4
    hidden[0, 2] = torch.tensor([2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0])
    hidden[1, 2] *= 1000  # padding: its variance must not enter the mean
    draw = torch.randn(hidden.shape, dtype=torch.float64, generator=generator)
    real = torch.tensor([[True, True, True], [True, True, False]])
    noised = adaptive_noise(hidden, draw, torch.tensor(0.3, dtype=torch.float64), real)

    mean_variance = statistics.mean(statistics.variance(token) for token in hidden[real].tolist())
    factors = []
    for token, z, noisy in zip(hidden[real].tolist(), draw[real].tolist(), noised[real].tolist(), strict=True):
        median = sorted(token)[3]
        distances = [abs(h - median) for h in token]
        spread = max(sorted(distances)[3], 1e-6 * math.sqrt(sum(h * h for h in token)))
        factors.append(min(5.0, math.exp(statistics.variance(token) / (mean_variance + 1e-6))))
        for h, d, n, value in zip(token, distances, z, noisy, strict=True):
            s = 0.3 * spread * math.exp(-0.1 * d / (spread + 1e-6)) * factors[-1]
            assert value == pytest.approx(h + n * s, abs=1e-12)
    assert factors[1] == 5.0
    assert all(1 < factor < 5 for factor in (factors[0], *factors[2:]))
    assert 0 < (noised - hidden)[0, 2].abs().max() < 1e-4


def test_of_an_even_width_the_lower_median_is_taken() -> None:
    """As torch's ``median`` does, in the released code too."""
    hidden, draw = torch.tensor([[[0.0, 1.0, 3.0, 10.0]]], dtype=torch.float64), torch.ones(1, 1, 4).double()
    noised = adaptive_noise(hidden, draw, torch.tensor(1.0), torch.ones(1, 1, dtype=torch.bool))
    size = math.exp(statistics.variance([0, 1, 3, 10]) / (statistics.variance([0, 1, 3, 10]) + 1e-6))
    expected = [size * math.exp(-0.1 * distance / (1 + 1e-6)) for distance in (1, 0, 2, 9)]  # their lower median is 1
    assert (noised - hidden).flatten().tolist() == pytest.approx(expected, abs=1e-12)


def test_signal_to_noise_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(5, 4, dtype=torch.float64, generator=generator)
    noised = [hidden + 0.1 * k * torch.randn(5, 4, dtype=torch.float64, generator=generator) for k in (1, 2, 3)]
    values = hidden.flatten().tolist()
    changes = [statistics.mean(abs(a - b) for a, b in zip(n.flatten().tolist(), values, strict=True)) for n in noised]
    expected = statistics.mean(map(abs, values)) / (statistics.mean(changes) + 1e-6)
    assert signal_to_noise(hidden, noised) == pytest.approx(expected, rel=1e-12)


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_divergences_against_sums_written_out() -> None:
    """The clean output, at its temperature, is a fixed target; the second noised output draws the first."""
    generator = torch.Generator().manual_seed(0)
    clean, first, second = (
        torch.randn(4, 3, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(3)
    )
    total = 0.0
    rows = (clean / 2).softmax(-1).tolist(), first.softmax(-1).tolist(), second.softmax(-1).tolist()
    for p, q1, q2 in zip(*rows, strict=True):
        total += 0.4 * (kl(p, q1) + kl(p, q2)) / 2 + 0.3 * kl(q2, q1)
    divergence = consistency(clean, first, second, 0.6, 0.3, 2.0)
    assert divergence.item() == pytest.approx(total / 4, abs=1e-12)
    divergence.backward()
    assert clean.grad is None
    assert first.grad.abs().min() > 0
    assert second.grad.abs().min() > 0


def scale_of(hidden: Tensor, real: Tensor, base: Tensor) -> Tensor:
    """The standard deviation of every entry's noise, by sorting."""
    width = hidden.shape[-1]
    middle = (width - 1) // 2
    distance = (hidden - hidden.sort(-1).values[..., middle, None]).abs()
    spread = distance.sort(-1).values[..., middle, None]
    variance = ((hidden - hidden.mean(-1, keepdim=True)) ** 2).sum(-1, keepdim=True) / (width - 1)
    factor = torch.exp(variance / (variance.squeeze(-1)[real].sum() / real.sum() + 1e-6))
    factor = torch.where(factor > 5, torch.full_like(factor, 5.0), factor)
    return base * spread * torch.exp(-0.1 * distance / (spread + 1e-6)) * factor


def update_by_hand(model: Any, batch: Batch, draws: list[Tensor], method: NoiseFiT, layers: list[int]) -> Tensor:
    real = batch["attention_mask"].bool()
    real = real.t() if model.config.model_type == "xlnet" else real

    def noised(draw: Tensor) -> Any:
        def change(hidden: Tensor) -> Tensor:
            values = hidden.detach()[real].flatten().tolist()
            base = method.noise_std * statistics.stdev(values)
            base *= method.noise_std if method.base == "official" else 1
            return hidden + draw * scale_of(hidden, real, torch.tensor(base, dtype=hidden.dtype))

        return change

    clean, _ = layered_pass(model, batch)
    half = len(layers)
    first, second = (
        layered_pass(model, batch, out_of={i: noised(d) for i, d in zip(layers, part, strict=True)})[0]
        for part in (draws[:half], draws[half:])
    )
    loss = method.weight * task_loss(clean, batch["labels"])
    target = clean.detach()
    if batch["labels"].is_floating_point():
        towards, apart = ((first - target) ** 2 + (second - target) ** 2).mean(), ((first - second) ** 2).mean()
    else:
        log_p, log_1, log_2 = (
            (z / t).log_softmax(-1) for z, t in ((target, method.temperature), (first, 1), (second, 1))
        )
        towards = (log_p.exp() * (2 * log_p - log_1 - log_2)).sum() / len(clean)
        apart = (log_2.exp() * (log_2 - log_1)).sum() / len(clean)
    loss = loss + (1 - method.weight) * towards / 2 + method.between * apart
    loss.backward()
    return loss


@pytest.mark.parametrize("base", ["paper", "official"])
@pytest.mark.parametrize("outputs", [3, 1], ids=["classification", "regression"])
@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_against_passes_by_hand(family: str, outputs: int, base: str) -> None:
    """Loss, gradients, and the weights after one and three updates of a padded batch."""
    batch = unequal(outputs, family)
    method = NoiseFiT(noise_std=1.5, layers=2, weight=0.6, between=0.3, temperature=2.0, base=base)

    def by_hand(model: Any, draws: Iterator[Tensor], facts: dict[str, Any]) -> Tensor:
        four, layers = list(islice(draws, 4)), facts["noised_layers"]
        assert len(four) == 4
        assert len(layers) == 2
        return update_by_hand(model, batch, four, method, layers)

    assert_as_by_hand(method, family, batch, by_hand, loss=1e-12, gradient=1e-12, losses=1e-9, weights=1e-8)


def ratio_in_numpy(hidden: np.ndarray, noise_std: float) -> float:
    """The signal-to-noise ratio of one layer's real tokens, (tokens, width), with draws of NumPy's."""
    middle = (hidden.shape[1] - 1) // 2
    distance = np.abs(hidden - np.sort(hidden, 1)[:, [middle]])
    spread = np.sort(distance, 1)[:, [middle]]
    variance = hidden.var(1, ddof=1, keepdims=True)
    factor = np.minimum(np.exp(variance / variance.mean()), 5)
    scale = noise_std * hidden.std(ddof=1) * spread * np.exp(-0.1 * distance / spread) * factor
    draws = np.random.default_rng(0).standard_normal((200, *hidden.shape))
    return float(np.abs(hidden).mean() / np.abs(draws * scale).mean())


@pytest.mark.parametrize("family", ["bert", "xlnet"])
@pytest.mark.parametrize(("selection", "count"), [("largest", 1), ("largest", 2), ("lowest", 1), ("lowest", 2)])
def test_layers_by_their_signal_to_noise(selection: str, count: int, family: str) -> None:
    """Layers of different size: what is larger gets more than its share of noise."""
    model, batch = still(tiny(family)), unequal(family=family)
    for layer, size in zip(encoder_layers(model), (1.0, 3.0, 0.4), strict=True):
        norm = layer.ff.layer_norm if family == "xlnet" else layer.output.LayerNorm
        norm.weight.data *= size
    _, states = layered_pass(model, batch)
    real = batch["attention_mask"].bool()
    real = real.t() if family == "xlnet" else real
    ratios = {index: ratio_in_numpy(h.detach()[real].numpy(), 0.1) for index, h in enumerate(states)}
    expected = sorted(ratios, key=lambda index: ratios[index] if selection == "lowest" else -ratios[index])[:count]
    attached = attach(NoiseFiT(layers=count, selection=selection), model)
    attached.loss(batch)
    assert attached.context.facts["noised_layers"] == sorted(expected)
    assert sorted(ratios, key=ratios.__getitem__) == [1, 0, 2]


def test_layers_are_chosen_once_in_evaluation_mode_on_ten_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own generator is left alone, dropout is off, and ``official`` multiplies by ``noise_std`` once here."""
    batch, seen = unequal(), {}
    for base in ("paper", "official"):
        compared: list[tuple[Tensor, list[Tensor]]] = []

        def keep(hidden: Tensor, noised: list[Tensor], into: Any = compared) -> float:
            into.append((hidden, noised))
            return signal_to_noise(hidden, noised)

        monkeypatch.setattr(noisefit, "signal_to_noise", keep)
        model, modes = tiny("bert").train(), list[bool]()
        model.register_forward_hook(lambda module, args, output, m=modes: m.append(module.training))
        attached = attach(NoiseFiT(base=base, noise_std=0.2), model)
        torch.manual_seed(1)
        for _ in range(2):
            attached.loss(batch)
        assert modes == [False, True, True, True, True, True, True]
        assert all(module.training for module in model.modules())
        assert len(compared) == 3
        seen[base] = compared
        state = torch.get_rng_state()
        torch.manual_seed(1)
        for _ in range(6):
            logits_of(model, batch)
        assert torch.equal(torch.get_rng_state(), state)
    for (hidden, noised), (other, others) in zip(seen["paper"], seen["official"], strict=True):
        assert len(noised) == 10
        assert len({float(n.sum()) for n in noised}) == 10
        assert hidden.shape == (sum((5, 3, 7, 4)), 32)
        assert torch.equal(hidden, other)
        assert all(torch.equal(a, b) for a, b in zip(noised, others, strict=True))


def test_the_official_base_is_noise_std_times_the_paper_s() -> None:
    batch, changes = unequal(), {}
    for base in ("paper", "official"):
        model, outputs = still(tiny("bert")), list[Tensor]()
        attached = attach(NoiseFiT(base=base, noise_std=0.2), model)
        encoder_layers(model)[0].register_forward_hook(lambda _, args, output, o=outputs: o.append(output.detach()))
        attached.loss(batch)
        changes[base] = outputs[2] - outputs[1]
    torch.testing.assert_close(changes["official"], 0.2 * changes["paper"], atol=1e-12, rtol=0)
    assert changes["paper"].abs().max() > 0.01


def test_three_passes_and_the_task_is_scored_on_the_clean_one() -> None:
    model, batch, passes = still(tiny("bert")), unequal(), list[Tensor]()
    plain = logits_of(model, batch)
    attached = attach(NoiseFiT(weight=1.0, between=1e-9), model)
    attached.loss(batch)
    model.register_forward_hook(lambda _, args, output: passes.append(output.logits.detach()))
    loss = attached.loss(batch)
    clean, first, second = passes
    assert torch.equal(clean, plain)
    assert not torch.equal(first, plain)
    assert not torch.equal(second, plain)
    assert not torch.equal(first, second)
    assert loss.item() == pytest.approx(task_loss(plain, batch["labels"]).item(), abs=1e-6)


def test_more_layers_than_there_are() -> None:
    with pytest.raises(UserError, match=r"noisefit\.layers must be at most 3"):
        attach(NoiseFiT(layers=4), tiny("bert"))


def test_noise_is_normal_in_a_million_draws() -> None:
    """In units of every entry's own scale; afresh in both passes, at every layer, in every update, for every seed."""
    hidden = torch.randn(40, 50, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ids, real = torch.ones(40, 50, dtype=torch.long), torch.ones(40, 50, dtype=torch.bool)
    batch = {"input_ids": ids, "hidden": hidden, "labels": ids[:, 0]}
    model = Stack([torch.eye(50, dtype=torch.float64)] * 2).train()
    units: dict[tuple[int, int], list[Tensor]] = {}  # (seed, layer) -> one pass after another

    def measure(place: tuple[int, int], entered: Tensor, left: Tensor) -> None:
        if not torch.equal(entered, left):
            scale = scale_of(entered, real, 0.5 * entered.flatten().std())
            units.setdefault(place, []).append((left - entered) / scale)

    for seed, updates in ((3, 5), (4, 1)):
        attached = attach(NoiseFiT(layers=2, noise_std=0.5), model, seed=seed)
        handles = [
            layer.register_forward_hook(
                lambda _, args, output, p=(seed, i): measure(p, args[0].detach(), output.detach())
            )
            for i, layer in enumerate(model.layers)
        ]
        for _ in range(updates):
            attached.loss(batch)
        attached.hooks.finish()
        for handle in handles:
            handle.remove()
    assert {place: len(passes) for place, passes in units.items()} == {(3, 0): 10, (3, 1): 10, (4, 0): 2, (4, 1): 2}
    assert_normal([torch.cat(units[3, 0])], 1.0)
    first, second, third, *_ = units[3, 0]
    for other in (second, third, units[3, 1][0], units[4, 0][0]):
        assert_unrelated(first, other)


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_padding_is_nothing(family: str) -> None:
    """Nor does it enter the spread of the hidden states, their mean variance or the choice of layers."""
    losses = []
    for padding in (9, 33):
        model, batch = still(tiny(family)), unequal(3, family, padding=padding)
        attached = attach(METHOD, model)
        loss = attached.backward(batch)
        losses.append((loss.item(), attached.context.facts["noised_layers"], gradients(model)))
    assert losses[0][:2] == losses[1][:2]
    assert_close(losses[0][2], losses[1][2], atol=1e-15)


def test_a_packed_row_gets_what_a_padded_batch_gets() -> None:
    """Same noise at every token and all layers noised."""
    assert_packed_as_padded(NoiseFiT(noise_std=1.5, layers=3, weight=0.3), atol=1e-10)
