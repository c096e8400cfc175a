"""DSEE: the released code's places of single entries, its map, gradients and merged weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.pruning import keep_largest_
from hype_bench.methods.dsee import DSEE, change, decomposed, importance
from hype_bench.models.checkpoint import locate
from hype_bench.models.layers import encoder_layers
from hype_bench.options import UserError
from hype_bench.testing.composed import configured, loaded
from hype_bench.testing.tiny import batch_of, logits_of, tiny
from hype_bench.training.loop import Outcome, fine_tune
from tests.methods.toys import Maps, close, given_noise, hooked, linear, tensor

MAPS = ["query", "value"]
CRITERIA = ["ab", "abs", "wab", "wabs"]


@pytest.mark.parametrize("name", MAPS)
def test_the_decomposition(name: str, parity: Callable[[str], Any]) -> None:
    case = parity("dsee")
    low_rank, sparse = decomposed(tensor(case[name]), tensor(case[f"start_row_{name}"])[0], case["rounds"])
    close(sparse, case[f"sparse_{name}"])
    if name == "query":
        close((tensor(case[name]) - low_rank).norm(), case["residual_norm_query"])
    least = sparse.abs().flatten().topk(case["num_sparse"]).values[-1]
    assert (sparse.abs() >= least).double().tolist() == case[f"mask_{name}"]


def learnt(case: Any, name: str) -> tuple[Any, ...]:
    """W, A, B, the entries of S and their places in a map of the file."""
    a, b, s = (tensor(case["factors"][name[0] + part]) for part in ("a", "b", "s"))
    places = tensor(case[f"mask_{name}"]).flatten().nonzero().squeeze(1)
    return tensor(case[name]), a, b, s.flatten()[places], places


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_merged(criterion: str, name: str, parity: Callable[[str], Any]) -> None:
    """What the released code merges before it prunes; ABS is by how much the weight changes."""
    case = parity("dsee")
    scale = case["alpha"] / case["rank"]
    weight, a, b, s, places = learnt(case, name)
    close(importance(criterion, weight, a, b, s, places, scale), case["merged"][criterion.upper()][name])
    if criterion == "abs":
        close(change(a, b, s, places, scale), case["merged"]["ABS"][name])


def test_pruned_over_both_maps(parity: Callable[[str], Any]) -> None:
    case = parity("dsee")
    weights = [tensor(case[name]) for name in MAPS]
    keep_largest_(weights, [tensor(case["merged"]["ABS"][name]) for name in MAPS], case["pruning"]["amount"])
    for name, weight in zip(MAPS, weights, strict=True):
        close(weight, (tensor(case[name]) * tensor(case["pruning"][f"keep_{name}"])).tolist())


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
    sizes = decomposed(tensor(case["query"]), starts["start"], case["rounds"])[1].abs().flatten()
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


class Pruned:
    """The released maps beside one of key, with what the file says was learnt; then the second phase begins."""

    def __init__(self, case: Any, criterion: str, monkeypatch: pytest.MonkeyPatch) -> None:
        starts = {f"encoder.layer.0.{name} start": tensor(case[f"start_row_{name}"])[0] for name in MAPS}
        given_noise(monkeypatch, lambda like, site: starts.get(site, torch.zeros_like(like)))
        model, self.context = Maps(linear(case["query"], [0.0] * 14)), Context()
        self.layer: Any = model.encoder.layer[0]
        self.layer.value, self.layer.key = linear(case["value"], [0.0] * 14), linear([[1.0, -2, 3, -4, 5]], [0.0])
        method = DSEE(case["rank"], case["alpha"], case["num_sparse"], rounds=case["rounds"], prune=criterion)
        self.hooks = compose({"dsee": method}, model, self.context)  # type: ignore[arg-type]
        self.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3)
        self.update(torch.ones(1, 12, dtype=torch.float64))  # so that there are moments
        for name in MAPS:
            _, *factors, places = learnt(case, name)
            module = getattr(self.layer, name)
            start = starts[f"encoder.layer.0.{name} start"]
            sizes = decomposed(tensor(case[name]), start, case["rounds"])[1].abs()
            order = sizes.flatten()[places].argsort(descending=True)  # in the file they are sorted by place
            for part, value in zip("abs", (*factors[:2], factors[2][order]), strict=True):
                getattr(module, f"dsee_{part}").data.copy_(value)
        self.hooks.next_phase(self.optimizer)

    def outputs(self, x: Tensor) -> Tensor:
        return torch.stack([getattr(self.layer, name)(x) for name in MAPS])

    def update(self, x: Tensor) -> None:
        self.outputs(x).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_second_phase(criterion: str, parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The frozen weights stay under the released mask while what is added goes on; other maps are pruned by W."""
    case = parity("dsee")
    run = Pruned(case, criterion, monkeypatch)
    assert not run.optimizer.state
    assert run.context.facts["sparsity_before_merge"] == (67 + 1) / (336 + 5)
    merged = {name: tensor(case["merged"][criterion.upper()][name]).abs() for name in MAPS}
    largest_pruned = torch.cat([sizes.flatten() for sizes in merged.values()]).sort().values[66]
    keep = {name: (sizes > largest_pruned).double() for name, sizes in merged.items()}
    if criterion == "abs":
        assert {f"keep_{name}": mask.tolist() for name, mask in keep.items()}.items() <= case["pruning"].items()
    x = tensor(case["forward"]["x"])
    for _ in range(3):
        run.update(x)
    for name, mask in keep.items():
        close(getattr(run.layer, name).weight.detach(), (tensor(case[name]) * mask).tolist())
    assert run.layer.key.weight.tolist() == [[0.0, -2.0, 3.0, -4.0, 5.0]]
    expected = run.outputs(x).detach()
    run.hooks.finish()
    close(run.outputs(x).detach(), expected.tolist())
    assert not (run.layer.query.weight == 0).any()


def test_heads_that_learnt_least_are_dropped() -> None:
    """In each layer one of the two; whatever it attends to has no effect."""
    model, context = tiny("bert").eval(), Context()
    hooks = compose({"dsee": DSEE(4, sparse=8, prune="abs", prune_heads=1)}, model, context)
    expected = []
    layers: list[Any] = encoder_layers(model)
    for index, layer in enumerate(layers):
        for module in (layer.attention.self.query, layer.attention.self.value):
            module.dsee_b.data.fill_(1.0)
            module.dsee_b.data[16 * (index % 2) :][:16] = 0.1
        expected.append([index % 2])
    hooks.next_phase(torch.optim.SGD([torch.zeros(1)]))
    assert context.facts["dropped_heads"] == expected
    assert context.facts["sparsity_before_merge"] > 0
    batch = batch_of(3)
    before = logits_of(model, batch)
    for index, layer in enumerate(layers):
        layer.attention.self.value.bias.data[16 * (index % 2) :][:16] += 1.0
    assert torch.equal(logits_of(model, batch), before)
    hooks.finish()


def test_heads_that_cannot_be_dropped() -> None:
    with pytest.raises(UserError, match="prune_heads needs prune=abs or prune=wabs, and target=query_value"):
        DSEE(prune="ab", prune_heads=1)
    with pytest.raises(UserError, match=r"dsee\.prune_heads must be below 2, the heads of a layer, not 2"):
        hooked(DSEE(4, sparse=8, prune="abs", prune_heads=2), tiny("bert"))
    with pytest.raises(UserError, match=r"dsee\.prune_heads is not available for deberta: its heads have no maps"):
        hooked(DSEE(4, sparse=8, prune="abs", prune_heads=1), tiny("deberta"))


def test_the_loop_runs_both_phases() -> None:
    short = ("task=demo_rte", "training.max_steps=2", "training.learning_rate=1e-3", "training.warmup_steps=0")
    config, outcome = configured("model=tiny_bert", "method=dsee", "method.dsee.prune=abs", *short), Outcome()
    method = DSEE(rank=4, sparse=8, prune="abs")
    fine_tune(config, loaded(config), locate(config.model), {"dsee": method}, outcome)
    assert outcome.updates == 4
    assert outcome.curve[-1]["learning_rate"] == pytest.approx(1e-3 / 2)  # the second phase's own last update
    assert outcome.facts["sparsity_before_merge"] == pytest.approx(0.2, abs=1e-3)
