"""ELR: the released code's losses, gradients and targets over four batches, and a target that moves once an update."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.methods.elr import ELR
from hype_bench.options import UserError
from tests.methods.toys import close, hooked, tensor


def model() -> Any:
    return SimpleNamespace(config=SimpleNamespace(num_labels=3), training=True)


def output_of(logits: Tensor) -> Callable[[Any], Any]:
    return lambda batch: SimpleNamespace(logits=logits)


def test_elr(parity: Callable[[str], Any]) -> None:
    case = parity("elr")
    hooks = hooked(ELR(weight=case["lambda"], beta=case["beta"]), model(), examples=case["examples"])
    state = hooks._hooks[0].after_step.__self__
    for step in case["elr"]:
        logits = tensor(step["logits"]).requires_grad_()
        batch = {"labels": torch.tensor(step["labels"]), "example_ids": torch.tensor(step["index"])}
        for _ in range(2):  # another technique's second pass moves nothing
            loss, _ = hooks.loss(batch, output_of(logits))
            close(loss.detach(), step["loss"])
            close(torch.autograd.grad(loss, logits)[0], step["grad_logits"])
            close(state.targets, step["targets_after"])
        hooks.after_step(None)  # type: ignore[arg-type]


def test_examples_must_have_numbers() -> None:
    hooks = hooked(ELR(), model(), examples=2)
    with pytest.raises(UserError, match="example_ids"):
        hooks.loss({"labels": torch.tensor([0, 1])}, output_of(torch.zeros(2, 3)))
