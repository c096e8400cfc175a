"""Sharpness by SAM's definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hype_bench.analysis.sharpness import Sharpness
from hype_bench.contract.objective import task_loss
from tests.analysis.runs import finished


@pytest.mark.parametrize("task", ["demo_rte", "demo_stsb"])
def test_it_is_the_rise_of_the_loss_one_step_uphill(task: str, tmp_path: Path) -> None:
    """With all examples in one padded batch, by hand."""
    analysis = Sharpness(rho=0.1)
    trained = finished(tmp_path, analysis, f"task={task}")
    scores = analysis.measure(trained).scores["train"]
    plain = type(trained.model).from_pretrained(tmp_path / "model").eval()
    train = trained.data.train
    inputs = trained.tokenizer(*train.texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    labels = torch.from_numpy(train.labels)
    labels = labels.float() if labels.is_floating_point() else labels
    loss = task_loss(plain(**inputs).logits, labels)
    loss.backward()
    weights = [p for p in plain.parameters() if p.grad is not None]
    gradients = [p.grad for p in weights if p.grad is not None]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight += 0.1 * gradient / norm
        rise = task_loss(plain(**inputs).logits, labels) - loss
    assert scores["loss"] == pytest.approx(float(loss.detach()), rel=1e-4)
    assert scores["rise"] == pytest.approx(float(rise.detach()), rel=1e-3)
    assert scores["rise"] > 0


def test_fewer_examples_are_a_fixed_part(tmp_path: Path) -> None:
    trained = finished(tmp_path, Sharpness())
    measured = Sharpness(examples=16, adaptive=True).measure(trained)
    assert measured.rows == {"train": 16}
    assert measured.scores["train"]["rise"] > 0
