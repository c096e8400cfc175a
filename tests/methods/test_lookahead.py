"""Lookahead: the released code's trajectories with SGD and AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hype_bench.methods.lookahead import Lookahead
from tests.methods.toys import close, hooked, tensor


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_lookahead(name: str, parity: Callable[[str], Any]) -> None:
    case = parity("lookahead")
    model = torch.nn.Module()
    model.p = torch.nn.Parameter(tensor(case["p"]))
    hooks = hooked(Lookahead(k=case["k"], alpha=case["alpha"]), model)
    optimizer: Any = torch.optim.SGD(model.parameters(), 0.1)
    if name == "adamw":
        optimizer = torch.optim.AdamW(model.parameters(), 0.05, weight_decay=0.1)
    for gradient, expected in zip(case["gradients"], case[f"trajectory_{name}"], strict=True):
        model.p.grad = tensor(gradient)
        hooks.before_step(optimizer)
        optimizer.step()
        hooks.after_step(optimizer)
        close(model.p, expected)
    hooks.finish()
    close(model.p, case[f"slow_weights_at_end_{name}"])
