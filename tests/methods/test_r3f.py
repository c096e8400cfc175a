"""R3F against its formula written out; with HyPe, noise in the noised pass only."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from hype_bench.config import ModelConfig
from hype_bench.contract.noise import NoiseSource
from hype_bench.contract.objective import task_loss
from hype_bench.methods.hype import HyPe
from hype_bench.methods.r3f import R3F, embedding_noise
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_classifier
from hype_bench.testing.tiny import still

IDS = torch.tensor([[5, 6, 7, 8], [8, 9, 10, 11], [6, 6, 6, 7]])


def still_model(family: str, outputs: int) -> Any:
    model = load_classifier(locate(ModelConfig(name="t", checkpoint=f"tiny:{family}", family=family)), outputs, 0.0, 0)
    return still(model)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
def test_loss_is_the_formula(family: str, distribution: str, loss_and_passes: Any, divergence: Any) -> None:
    model, labels = still_model(family, 3), torch.tensor([0, 2, 1])
    plain, _ = loss_and_passes(model, [], IDS, labels)
    loss, (clean, noised) = loss_and_passes(model, [R3F(0.5, distribution, 0.7)], IDS, labels)
    assert not torch.equal(clean, noised)
    total = sum(divergence(a, b) for a, b in zip(clean.tolist(), noised.tolist(), strict=True))
    assert loss.item() == pytest.approx(plain.item() + 0.7 * total / 3, abs=1e-12)


def test_regression_takes_the_mean_squared_difference(loss_and_passes: Any) -> None:
    model, labels = still_model("bert", 1), torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    plain, _ = loss_and_passes(model, [], IDS, labels)
    loss, (clean, noised) = loss_and_passes(model, [R3F(0.5, "normal", 2.0)], IDS, labels)
    assert loss.item() == pytest.approx(plain.item() + 2 * float(((clean - noised) ** 2).mean()), abs=1e-12)


def test_the_noised_pass_does_not_reach_the_embedding_table(loss_and_passes: Any) -> None:
    model, labels = still_model("bert", 2), torch.tensor([0, 1, 1])
    gradients = []
    for methods in ([], [R3F(0.5, "normal", 0.0)]):
        model.zero_grad()
        loss_and_passes(model, methods, IDS, labels)[0].backward()
        gradients.append(model.get_input_embeddings().weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-14, rtol=0)
    table = torch.nn.Embedding(20, 4).double()
    embedded = table(IDS)
    assert embedding_noise(embedded, torch.rand_like(embedded), 0.1, "uniform").requires_grad is False


@pytest.mark.parametrize("order", ["hype first", "r3f first"])
def test_with_hype_only_the_noised_pass_is_perturbed(order: str, loss_and_passes: Any) -> None:
    """Appendix D.2 of the HyPe paper, whichever of the two is named first."""
    model, labels = still_model("bert", 2), torch.tensor([0, 1, 1])
    _, (plain,) = loss_and_passes(model, [], IDS, labels)
    hype, r3f = HyPe(scale=0.5), R3F(scale=0.0)
    _, (clean, noised) = loss_and_passes(model, [hype, r3f] if order == "hype first" else [r3f, hype], IDS, labels)
    assert torch.equal(clean, plain)
    assert not torch.equal(noised, plain)


def test_scale_zero_adds_nothing_to_the_loss(loss_and_passes: Any) -> None:
    model, labels = still_model("bert", 2), torch.tensor([0, 1, 1])
    assert loss_and_passes(model, [R3F(scale=0.0)], IDS, labels)[0].item() == pytest.approx(
        loss_and_passes(model, [], IDS, labels)[0].item(), abs=1e-15
    )


@pytest.mark.parametrize(("distribution", "std"), [("normal", 1e-5), ("uniform", 1e-5 / math.sqrt(3))])
def test_laws_on_a_million_draws(distribution: str, std: float) -> None:
    zero, source = torch.zeros(10**6, dtype=torch.float64), NoiseSource(0, "t")
    draw = source.normal(zero, "a") if distribution == "normal" else source.uniform(zero, "a")
    noise = embedding_noise(zero, draw, 1e-5, distribution)
    assert abs(float(noise.mean())) < 4 * std / 1000
    assert float(noise.std()) == pytest.approx(std, rel=0.005)
    if distribution == "uniform":
        assert float(noise.abs().max()) <= 1e-5


def test_labels_as_the_loop_gives_them() -> None:
    """float32 regression labels and integer classes through :func:`task_loss`."""
    assert task_loss(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 0.0])).item() == pytest.approx(2.0)
    assert task_loss(torch.zeros(2, 4), torch.tensor([0, 3])).item() == pytest.approx(math.log(4))
