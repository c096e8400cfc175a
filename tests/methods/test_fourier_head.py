"""The Fourier head: published numbers, alone and driven; the range of the labels; half precision."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.objective import Batch, forward_of
from hype_bench.contract.registry import build
from hype_bench.methods.fourier_head import FourierHead, autocorrelation, bin_logits, centres, roughness
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, tiny
from tests.methods.toys import ToyEncoder, close, hooked, one_backward, tensor


def toy(case: Any) -> tuple[ToyEncoder, Batch]:
    """The features are the embeddings of one token each; a label is the centre of its bin."""
    model = ToyEncoder(case["features"], [], [[0.0] * 4], [0.0])
    labels = tensor(case["bin_centres"])[case["labels"]]
    return model, {"input_ids": torch.arange(len(labels))[:, None], "labels": labels}


def options(case: Any) -> dict[str, Any]:
    of_case = {"bins": case["bins"], "frequencies": case["frequencies"], "gamma": case["regularization_gamma"]}
    return of_case | {"low": -1.0, "high": 1.0}


def given_weights(model: ToyEncoder, case: Any) -> None:
    model.classifier.weight.data, model.classifier.bias.data = tensor(case["weight"]), tensor(case["bias"])


def test_the_density_of_the_released_code(parity: Callable[[str], Any]) -> None:
    case = parity("fourier_head")
    real, imaginary = F.linear(tensor(case["features"]), tensor(case["weight"]), tensor(case["bias"])).chunk(2, -1)
    for part, expected in zip(autocorrelation(real, imaginary), ("re", "im"), strict=True):
        close(part, case["coefficients"][expected])
    logits = bin_logits(real, imaginary, case["bins"])
    close(logits, case["logits"])
    close(centres(case["bins"], logits), case["bin_centres"])
    close(F.cross_entropy(logits, torch.tensor(case["labels"])), case["cross_entropy"])
    close(case["regularization_gamma"] * roughness(real, imaginary), case["regularisation"])


def test_driven_it_has_the_released_loss_and_gradients(parity: Callable[[str], Any]) -> None:
    case = parity("fourier_head")
    model, batch = toy(case)
    hooks = hooked(FourierHead(**options(case)), model)
    given_weights(model, case)
    close(one_backward(hooks, model, batch), case["total"])
    close(model.classifier.weight.grad, case["grad_weight"])
    close(model.classifier.bias.grad, case["grad_bias"])
    close(model.encoder.embeddings.weight.grad, case["grad_features"])
    close(model.eval()(batch["input_ids"]).logits[:, 0].detach(), case["expected_centre"])


@pytest.mark.parametrize("order", list(permutations(["fourier_head", "r_drop"])))
def test_others_wrap_its_loss(order: tuple[str, ...], parity: Callable[[str], Any]) -> None:
    """Without dropout both passes of R-Drop have the same loss."""
    case = parity("fourier_head")
    model, batch = toy(case)
    chosen = {name: options(case) if name == "fourier_head" else {} for name in order}
    hooks = compose(build(chosen), model, Context())  # type: ignore[arg-type]
    given_weights(model, case)
    close(hooks.loss(batch, forward_of(model))[0].detach(), 2 * case["total"])


def test_the_range_is_that_of_the_training_data() -> None:
    batch, model = batch_of(1), tiny("bert", 1)
    context = context_of(batch)
    compose({"fourier_head": FourierHead(high=5.0)}, model, context)
    assert context.facts["label_range"] == [0.0, 5.0]
    model.classifier.weight.data.zero_()
    model.classifier.bias.data.zero_()[0] = 1.0  # a_0 alone: all bins alike
    close(forward_of(model)(batch).logits.detach().double(), [[2.5]] * 8, atol=1e-6)


def test_labels_beyond_the_range_count_to_the_outermost_bins(parity: Callable[[str], Any]) -> None:
    case = parity("fourier_head")
    losses = []
    for labels in ([-7.0, -1.0, 9.0], [-0.9, -0.9, 0.9]):
        model, batch = toy(case)
        hooks = hooked(FourierHead(**options(case)), model)
        given_weights(model, case)
        losses.append(hooks.loss(batch | {"labels": tensor(labels)}, forward_of(model))[0].item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("low", "high", "complaint"),
    [(2.0, 1.0, "low must be below"), (9.0, None, "needs labels that differ, and they go from 9 to 3.5")],
)
def test_a_range_without_width_is_refused(low: float, high: float | None, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        compose({"fourier_head": FourierHead(low=low, high=high)}, tiny("bert", 1), context_of(batch_of(1)))


def test_in_half_precision_bins_are_computed_in_float32() -> None:
    batch, model = batch_of(1), tiny("bert", 1)
    hooks = compose({"fourier_head": FourierHead()}, model, context_of(batch))
    with torch.autocast("cpu", torch.bfloat16):
        loss, output = hooks.loss(batch, forward_of(model))
    assert output.logits.dtype == loss.dtype == torch.float32
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
