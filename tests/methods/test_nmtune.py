"""NMTune: the released code's terms, loss and gradients; a frozen encoder without dropout; one row alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hype_bench.contract.compose import compose
from hype_bench.contract.objective import forward_of
from hype_bench.methods import nmtune
from hype_bench.methods.nmtune import Mapping, NMTune, consistency, covariance, dominance
from hype_bench.testing.tiny import batch_of, context_of, cut, tiny
from tests.methods.toys import ToyEncoder, close, hooked, one_backward, tensor


def test_terms(parity: Callable[[str], Any]) -> None:
    case = parity("nmtune")
    mapped, half = tensor(case["mapped_features"]), len(case["labels"])
    close(consistency(mapped[half:], tensor(case["features"])[:half]), case["mse"])
    close(covariance(mapped), case["covariance"])
    close(dominance(mapped), sum(case["normalised_singular_values"][:5]) / 5)
    close(covariance(mapped[:1]), 0.0)


def test_two_views(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The network returns the file's rows, those of the strong view in the second pass; twice, as in two updates."""
    case = parity("nmtune")

    class Given(nn.Module):
        def __init__(self, width: int, scale: float) -> None:
            super().__init__()
            self.rows, self.calls = nn.Parameter(tensor(case["mapped_features"])), 0

        def forward(self, features: Tensor) -> Tensor:
            self.calls += 1
            return self.rows.chunk(2)[(self.calls - 1) % 2]

    monkeypatch.setattr(nmtune, "Mapping", Given)
    model: Any = ToyEncoder(case["features"], [], case["head_weight"], case["head_bias"])
    hooks = hooked(NMTune(views=2), model.train())
    labels = torch.tensor(case["labels"])
    for _ in range(2):
        model.zero_grad()
        close(one_backward(hooks, model, {"input_ids": torch.arange(4)[:, None], "labels": labels}), case["loss"])
        close(model.base_model.nmtune.rows.grad, case["grad_mapped_features"])
        close(model.classifier.weight.grad, case["grad_head_weight"])
        close(model.classifier.bias.grad, case["grad_head_bias"])
        assert model.encoder.embeddings.weight.grad is None


def test_the_encoder_is_frozen_and_has_no_dropout_and_one_example_trains() -> None:
    model, batch = tiny("roberta").train(), batch_of(3)
    hooks = compose({"nmtune": NMTune()}, model, context_of(batch))
    first, second = (hooks.loss(batch, forward_of(model))[0] for _ in range(2))
    assert torch.equal(first, second)
    hooks.loss(cut(batch, 1)[0], forward_of(model))[0].backward()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"roberta", "classifier"}
    assert all(".nmtune." in name for name, p in model.roberta.named_parameters("roberta") if p.grad is not None)
    hooks.finish()
    assert all(module.training for module in model.modules())


def test_the_network_by_hand() -> None:
    mapping = Mapping(3, 0.5).double().eval()
    x = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)
    hidden = mapping.up(x) / (1 + mapping.norm.eps) ** 0.5  # running statistics begin at 0 and 1
    torch.testing.assert_close(mapping(x), x + 0.5 * mapping.down(hidden.relu()))
