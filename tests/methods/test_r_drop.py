"""R-Drop against the released code's numbers and gradients, and against sums written out."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.config import ModelConfig
from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.divergence import symmetric_kl
from hype_bench.methods.hype import HyPe
from hype_bench.methods.r_drop import RDrop, consistency
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_classifier


def losses(method: RDrop, logits: list[Tensor], labels: Tensor) -> Tensor:
    """The loss of one update in which the two passes give these logits, in float64."""
    passes = iter(logits)
    model: Any = None
    hooks = compose({"r_drop": method}, model, Context())

    return hooks.loss({"labels": labels}, lambda batch: SimpleNamespace(logits=next(passes)), in_float64)[0]


def in_float64(batch: Any, forward: Any) -> tuple[Tensor, Any]:
    output, labels = forward(batch), batch["labels"]
    if labels.is_floating_point():
        return torch.nn.functional.mse_loss(output.logits.squeeze(-1), labels), output
    return torch.nn.functional.cross_entropy(output.logits, labels), output


def inputs(case: dict[str, Any]) -> tuple[list[Tensor], Tensor]:
    logits = [torch.tensor(case[key], dtype=torch.float64, requires_grad=True) for key in ("logits1", "logits2")]
    return logits, torch.tensor(case["labels"])


def test_hugging_face_form_with_gradients(parity: Callable[[str], Any]) -> None:
    case = parity("r_drop")
    logits, labels = inputs(case)
    loss = losses(RDrop(alpha=0.5, variant="official_hf"), logits, labels)
    expected = case["hf_bert_classification"]
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-10)
    loss.backward()
    for z, key in zip(logits, ("grad_logits1", "grad_logits2"), strict=True):
        torch.testing.assert_close(z.grad, torch.tensor(expected[key], dtype=torch.float64), atol=1e-10, rtol=0)


def test_hugging_face_regression(parity: Callable[[str], Any]) -> None:
    case = parity("r_drop")
    logits = [torch.tensor(case[key], dtype=torch.float64)[:, None] for key in ("reg_pred1", "reg_pred2")]
    targets = torch.tensor(case["reg_targets"], dtype=torch.float64)
    for variant in ("paper", "official_hf"):
        loss = losses(RDrop(alpha=1.0, variant=variant), logits, targets)
        assert loss.item() == pytest.approx(case["hf_bert_regression"]["loss"], abs=1e-10)


@pytest.mark.parametrize(("alpha", "expected"), [(1.0, 0.9751026), (0.5, 0.9403204576)])
def test_per_sample_form(alpha: float, expected: float, parity: Callable[[str], Any]) -> None:
    logits, labels = inputs(parity("r_drop"))
    assert losses(RDrop(alpha=alpha), logits, labels).item() == pytest.approx(expected, abs=1e-7)


def test_divergence_against_sums_written_out(divergence: Any) -> None:
    torch.manual_seed(0)
    first, second = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    total = sum(divergence(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True))
    assert symmetric_kl(first, second).item() == pytest.approx(total, abs=1e-12)
    assert consistency(first, second, "paper", False).item() == pytest.approx(total / 10, abs=1e-12)
    assert consistency(first, first, "paper", False).item() == 0.0


@pytest.mark.parametrize("order", ["hype_n first", "r_drop first"])
def test_with_hype_the_passes_differ_by_its_noise_alone(order: str, loss_and_passes: Any) -> None:
    """Appendix D.2: HyPe in both passes, dropout off. Without the noise the two passes are one."""
    model = load_classifier(locate(ModelConfig(name="t", checkpoint="tiny:bert", family="bert")), 2, 0.1, 0).train()
    for name, module in model.named_modules():
        if name.endswith("attention.self.dropout"):
            module.p = 0.0
    ids, labels = torch.tensor([[5, 6, 7], [8, 9, 10]]), torch.tensor([0, 1])
    for scale in (0.5, 0.0):
        methods = [HyPe(scale=scale), RDrop()] if order == "hype_n first" else [RDrop(), HyPe(scale=scale)]
        _, (first, second) = loss_and_passes(model, methods, ids, labels)
        assert torch.equal(first, second) == (scale == 0.0)
