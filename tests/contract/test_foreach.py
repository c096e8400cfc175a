"""The lists that techniques hand to torch: the same numbers whether all tensors together or one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hype_bench.contract import foreach, own_step
from hype_bench.methods import dps, rose, sage
from hype_bench.testing.tiny import batch_of, fine_tuned, technique


def test_on_a_cpu_one_by_one() -> None:
    weights = [torch.ones(2), torch.ones(3)]
    assert [len(part) for part in foreach.together(weights)] == [1, 1]
    assert [len(part) for part in foreach.together([w.to("meta") for w in weights])] == [2]
    assert not list(foreach.together([]))


@pytest.mark.parametrize("name", ["sage", "recadam", "rose", "dps"])
def test_all_at_once_is_the_same_bit_for_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where a list of all weights goes to a few kernels."""
    one_by_one, losses = fine_tuned(technique(name), "bert", batch_of(3))

    def all_at_once(weights: list[Tensor]) -> list[list[Tensor]]:
        return [weights] if weights else []

    for module in (own_step, sage, rose, dps):
        monkeypatch.setattr(module, "together", all_at_once)
    at_once, same = fine_tuned(technique(name), "bert", batch_of(3))
    assert losses == same
    for key, weight in one_by_one.state_dict().items():
        assert torch.equal(weight, at_once.state_dict()[key]), key
