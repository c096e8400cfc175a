"""Mixup: the released TMix's logits, losses and gradients on a small encoder, and mixtures of features."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hype_bench.contract.registry import build
from hype_bench.methods.mixup import Mixup, mixed
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, fine_tuned
from tests.methods.toys import TanhLayer, ToyEncoder, close, embedded_ids, hooked, one_backward, tensor


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, list[int]], None]:
    """Sets the coefficient and the partners that are drawn; the place is the first there is."""

    def draw(share: float, partners: list[int]) -> None:
        given = SimpleNamespace(
            random=lambda: 0.0, beta=lambda a, b: share, permutation=lambda n: np.array(partners), choice=lambda x: x[0]
        )
        monkeypatch.setattr("hype_bench.methods.mixup.np", SimpleNamespace(random=SimpleNamespace(
            default_rng=lambda seed: given)))  # fmt: skip

    return draw


CASES = {"mix_embeddings": Mixup("embeddings"), "mix_after_layer_0": Mixup(layers=[1], keeps_larger=True)}
CASES["mix_after_layer_1"] = Mixup(layers=[2])


@pytest.mark.parametrize("key", list(CASES))
def test_mixup_of_hidden_states(key: str, parity: Callable[[str], Any], drawn: Any) -> None:
    case = parity("mixup")
    method = CASES[key]
    drawn(1 - case["l"] if method.keeps_larger else case["l"], case["permutation"])
    table, ids = embedded_ids(case["embeddings"])
    layers = [TanhLayer(layer["A"], layer["a"], residual=True) for layer in case["layers"]]
    model = ToyEncoder(table, layers, case["head"]["C"], case["head"]["c"])
    batch = {"input_ids": ids, "labels": torch.tensor(case["labels"])}
    loss = one_backward(hooked(method, model), model, batch)
    close(loss, case[key]["loss"])
    close(model.classifier.weight.grad, case[key]["grad_head_weight"])
    close(layers[0].map.weight.grad, case[key]["grad_layer0_A"])


def test_mixup_of_features(parity: Callable[[str], Any], drawn: Any) -> None:
    case = parity("mixup")
    drawn(case["l"], case["permutation"])
    model = ToyEncoder(case["features_only"]["features"], [], case["head"]["C"], case["head"]["c"])
    batch = {"input_ids": torch.arange(4)[:, None], "labels": torch.tensor(case["labels"])}
    loss = one_backward(hooked(Mixup("features"), model), model, batch)
    close(loss, case["features_only"]["loss"])
    close(model.classifier.weight.grad, case["features_only"]["grad_head_weight"])
    close(model.get_input_embeddings().weight.grad, case["features_only"]["grad_features"])


def test_a_regression_has_the_gradient_of_the_mixed_target(parity: Callable[[str], Any], drawn: Any) -> None:
    """Its loss is larger by what no weight changes: ``l (1 - l) (y_i - y_j)^2``."""
    case = parity("mixup")
    share, partners = case["l"], torch.tensor(case["permutation"])
    predictions, targets = (tensor(case["regression"][key]) for key in ("predictions", "targets"))
    close(F.mse_loss(predictions, mixed(targets, partners, share)), case["regression"]["loss"])
    drawn(share, case["permutation"])
    model = ToyEncoder(targets[:, None].tolist(), [], [[1.0]], [0.5])
    batch = {"input_ids": torch.arange(4)[:, None], "labels": predictions}
    loss = one_backward(hooked(Mixup("features"), model), model, batch)
    outputs = mixed(targets, partners, share) + 0.5
    more = share * (1 - share) * (predictions - predictions[partners]).square().mean()
    close(loss, float(F.mse_loss(outputs, mixed(predictions, partners, share)) + more))


def test_passes_of_other_techniques_have_one_mixture_each() -> None:
    """R-Drop inside makes two passes for each label, outside one mixture for both of its passes."""
    for order in (["mixup", "r_drop"], ["r_drop", "mixup"], ["mixup", "smart"], ["smart", "mixup"]):
        _, losses = fine_tuned(build({name: {} for name in order}), "bert", batch_of(3), 2)
        assert np.isfinite(losses).all()


def test_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(UserError, match="numbers from 0 to 3"):
        fine_tuned(build({"mixup": {"layers": [4]}}), "bert", batch_of(3), 1)
