"""DSEE: the released code's places of single entries, its map, gradients and merged weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hype_bench.methods.dsee import DSEE, change, sparse_part
from hype_bench.options import UserError
from hype_bench.testing.tiny import tiny
from tests.methods.toys import Maps, close, given_noise, hooked, linear, tensor

MAPS = ["query", "value"]


@pytest.mark.parametrize("name", MAPS)
def test_the_decomposition(name: str, parity: Callable[[str], Any]) -> None:
    case = parity("dsee")
    sparse = sparse_part(tensor(case[name]), tensor(case[f"start_row_{name}"])[0], case["rounds"])
    close(sparse, case[f"sparse_{name}"])
    least = sparse.abs().flatten().topk(case["num_sparse"]).values[-1]
    assert (sparse.abs() >= least).double().tolist() == case[f"mask_{name}"]


@pytest.mark.parametrize("name", MAPS)
def test_merged(name: str, parity: Callable[[str], Any]) -> None:
    """By how much the weight changes is the criterion ABS of the released code, without the magnitude."""
    case = parity("dsee")
    a, b, s = (tensor(case["factors"][name[0] + part]) for part in ("a", "b", "s"))
    places = tensor(case[f"mask_{name}"]).flatten().nonzero().squeeze(1)
    merged = change(a, b, s.flatten()[places], places, case["alpha"] / case["rank"])
    close(merged, case["merged"]["ABS"][name])


def test_the_map_its_gradients_and_what_is_left(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity("dsee")
    starts = {"start": tensor(case["start_row_query"])[0], "a": tensor(case["factors"]["qa"]) / 0.02}
    given_noise(monkeypatch, lambda like, site: starts[site.split()[1]])
    module: Any = linear(case["query"], [0.0] * 14)
    model = Maps(module)
    hooks = hooked(DSEE(case["rank"], case["alpha"], case["num_sparse"], rounds=case["rounds"]), model)
    mask = tensor(case["mask_query"]).bool()
    x = tensor(case["forward"]["x"])
    close(model(x).detach(), (x @ tensor(case["query"]).mT).tolist())  # B and S are 0
    module.dsee_b.data.copy_(tensor(case["factors"]["qb"]))
    sizes = sparse_part(tensor(case["query"]), starts["start"], case["rounds"]).abs().flatten()
    largest = sizes.topk(case["num_sparse"]).indices  # in the file they are sorted by place
    module.dsee_s.data.copy_(tensor(case["factors"]["qs"]).flatten()[largest])
    output = model(x)
    close(output.detach(), case["forward"]["output"])
    (output * tensor(case["forward"]["upstream"])).sum().backward()
    close(module.dsee_a.grad, case["forward"]["grad_a"])
    close(module.dsee_b.grad, case["forward"]["grad_b"])
    close(module.dsee_s.grad, tensor(case["forward"]["grad_s"]).flatten()[largest].tolist())
    assert not module.weight.requires_grad
    assert mask.flatten()[largest].all()
    hooks.finish()
    close(model(x).detach(), case["forward"]["output"])


def test_a_set_that_is_too_small_is_refused() -> None:
    with pytest.raises(UserError, match=r"dsee\.sparse=8: beside a low-rank matrix .* has 0 entries only; use fewer"):
        hooked(DSEE(rank=4, sparse=8, rounds=10), tiny("bert"))
    with pytest.raises(UserError, match=r"dsee\.sparse must be at most"):
        hooked(DSEE(sparse=10**6), tiny("bert"))


@pytest.mark.parametrize("entries", ["magnitude", "random"])
def test_other_places(entries: str) -> None:
    module: Any = linear([[0.1, -3.0], [2.0, 0.2]], [0.0, 0.0])
    hooks = hooked(DSEE(rank=1, sparse=2, entries=entries), Maps(module))
    module.dsee_s.data.fill_(1.0)
    hooks.finish()
    changed = (module.weight.detach() - tensor([[0.1, -3.0], [2.0, 0.2]])).abs() > 1
    assert changed.sum() == 2
    assert entries == "random" or changed.tolist() == [[False, True], [True, False]]
