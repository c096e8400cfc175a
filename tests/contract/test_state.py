"""What techniques keep comes back on the device of the model it is restored into."""

from __future__ import annotations

from typing import Any

import torch

from hype_bench.contract.method import Hooks
from hype_bench.contract.state import restore, state_of


class Keeping:
    """A mean beside the model, made in the run or before it, and a table that stays on the host."""

    def __init__(self, device: str) -> None:
        self.mean = torch.zeros(2, device=device)
        self.later: list[Any] = []
        self.table = torch.zeros(2)

    def after_step(self, optimizer: Any) -> None:
        self.mean += 1
        self.later = [self.mean.clone()]


def test_tensors_go_where_the_model_is() -> None:
    """From the CPU to another device, for which ``meta`` stands; there the table is elsewhere."""
    kept, resumed = Keeping("cpu"), Keeping("meta")
    model, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1, device="meta")
    kept.after_step(None)
    restore([Hooks.of(resumed)], other, state_of([Hooks.of(kept)], model))
    assert resumed.mean.is_meta
    assert resumed.later[0].is_meta
    resumed.table = torch.ones(2)
    state = state_of([Hooks.of(resumed)], other)
    restore([Hooks.of(again := Keeping("meta"))], other, state)
    assert again.table.tolist() == [1.0, 1.0]
    assert again.mean.is_meta
