"""Mixout against the released module's numbers, its formula entry by entry, and a model that holds mixed weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.linear_maps import mix
from hype_bench.contract.noise import NoiseSource
from hype_bench.contract.objective import forward_of, task_loss
from hype_bench.contract.registry import build
from hype_bench.methods.mixout import Mixout
from hype_bench.models.hidden_dropout import all_dropouts
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, logits_of, still, tiny, train

LR, DECAY = 3e-3, 0.01  # of tiny.train
CASES = ("p0.9", "p0.7", "p0.5")


class Forced(NoiseSource):
    """Always the same choice of neurons."""

    def __init__(self, neurons: list[int]) -> None:
        super().__init__(0, "")
        self.neurons = neurons

    def keep(self, like: Tensor, p: float, site: str) -> Tensor:
        return like.new_tensor(self.neurons) / p


class Recorder(NoiseSource):
    """Draws as always and remembers what it drew, by forward pass and site."""

    drawn: dict[tuple[int, str], Tensor]

    def keep(self, like: Tensor, p: float, site: str) -> Tensor | None:
        keep = super().keep(like, p, site)
        assert keep is not None
        assert keep.dim() == like.dim() == 1  # one number an input neuron
        self.drawn[self.forward, site] = keep.clone()
        return keep


def with_source(method: Mixout, model: Any, source: NoiseSource) -> Composed:
    context = Context(seed=3)
    context.noise = lambda *_: source  # type: ignore[method-assign]
    context.until_finish(model.register_forward_pre_hook(source.watch))
    return compose({"mixout": method}, model, context)


def recorder(seed: int = 3) -> Recorder:
    source = Recorder(seed, "mixout")
    source.drawn = {}
    return source


def formula(weight: list[list[float]], target: list[list[float]], mask: list[float], p: float) -> list[list[float]]:
    """[(1 - M) target + M weight - p target] / (1 - p), entry by entry; one M a column."""
    return [
        [((1 - m) * t + m * w - p * t) / (1 - p) for w, t, m in zip(row, pulled, mask, strict=True)]
        for row, pulled in zip(weight, target, strict=True)
    ]


@pytest.mark.parametrize("key", CASES)
def test_published_numbers(key: str, parity: Callable[[str], Any]) -> None:
    case, p = parity("mixout"), float(key[1:])
    weight, target = (torch.tensor(case[name], requires_grad=name == "weight") for name in ("weight", "target"))
    assert case[key]["bernoulli_keep_prob"] == [pytest.approx(1 - p)]
    keep = torch.tensor(case[key]["mask_forced"]) / (1 - p)
    upstream = torch.tensor(case[key]["upstream_grad"])
    for gradient, name in (("true", "true_derivative_times_upstream"), ("official", "official_grad")):
        mixed = mix(weight, target, keep, gradient)
        torch.testing.assert_close(mixed.detach(), torch.tensor(case[key]["forward"]), atol=1e-6, rtol=1e-5)
        (downstream,) = torch.autograd.grad(mixed, weight, upstream)
        torch.testing.assert_close(downstream, torch.tensor(case[key][name]), atol=1e-6, rtol=1e-5)
    expected = formula(case["weight"], case["target"], case[key]["mask_forced"], p)
    torch.testing.assert_close(torch.tensor(expected), torch.tensor(case[key]["forward"]), atol=1e-6, rtol=1e-5)


class Toy(nn.Module):
    """One linear map with the published target as its pre-trained weight."""

    def __init__(self, target: list[list[float]]) -> None:
        super().__init__()
        self.config = None
        self.linear = nn.Linear(4, 3)
        self.linear.weight.data = torch.tensor(target)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@pytest.mark.parametrize("gradient", ["true", "official"])
@pytest.mark.parametrize("key", CASES)
def test_published_numbers_through_a_linear_map(key: str, gradient: str, parity: Callable[[str], Any]) -> None:
    """What the technique reads with the identity as input is the mixed weight, and a bias that is not mixed."""
    case, p = parity("mixout"), float(key[1:])
    assert case["mixlinear_bias_is_mixed"] is False
    toy = Toy(case["target"]).train()
    hooks = with_source(Mixout(p, gradient, "every"), toy, Forced(case[key]["mask_forced"]))
    toy.linear.weight.data = torch.tensor(case["weight"])
    toy.linear.bias.data += 1
    bias = toy.linear.bias.detach().clone()
    read = toy(torch.eye(4)) - bias
    torch.testing.assert_close(read.T.detach(), torch.tensor(case[key]["forward"]), atol=1e-6, rtol=1e-5)
    (read.T * torch.tensor(case[key]["upstream_grad"])).sum().backward()
    name = "true_derivative_times_upstream" if gradient == "true" else "official_grad"
    torch.testing.assert_close(toy.linear.weight.grad, torch.tensor(case[key][name]), atol=1e-6, rtol=1e-5)
    assert case["eval_returns_weight"]
    hooks.finish()
    torch.testing.assert_close((toy(torch.eye(4)) - bias).T.detach(), torch.tensor(case["weight"]))


@pytest.mark.parametrize(
    ("key", "p", "training", "expected"),
    [
        ("p0_returns_weight", 0.0, True, "weight"),
        ("p1_returns_target", 1.0, True, "target"),
        ("eval_returns_weight", 0.9, False, "weight"),
    ],
)
def test_limits(key: str, p: float, training: bool, expected: str, parity: Callable[[str], Any]) -> None:
    case = parity("mixout")
    toy = Toy(case["target"]).train(training)
    compose({"mixout": Mixout(p, where="every")}, toy, Context(seed=1))  # type: ignore[arg-type]
    toy.linear.weight.data = torch.tensor(case["weight"])
    read = (toy(torch.eye(4)) - toy.linear.bias).T.detach()
    assert case[key] is True
    torch.testing.assert_close(read, torch.tensor(case[expected]), atol=1e-6, rtol=0)


def test_against_a_loop_over_entries() -> None:
    """Forward value, and both gradients by finite differences of the formula."""
    torch.manual_seed(1)
    weight, target, upstream = (torch.randn(3, 5, dtype=torch.float64) for _ in range(3))
    mask, p = [1.0, 0.0, 1.0, 1.0, 0.0], 0.8
    keep = torch.tensor(mask, dtype=torch.float64) / (1 - p)
    weight.requires_grad_()
    mixed = mix(weight, target, keep)
    expected = formula(weight.tolist(), target.tolist(), mask, p)
    torch.testing.assert_close(mixed.detach(), torch.tensor(expected, dtype=torch.float64), atol=1e-13, rtol=0)
    true, official = (
        torch.autograd.grad(mix(weight, target, keep, g), weight, upstream)[0] for g in ("true", "official")
    )
    for row in range(3):
        for column in range(5):
            ends = []
            for step in (-0.5, 0.5):  # the formula is linear: any step gives the derivative
                moved = weight.tolist()
                moved[row][column] += step
                ends.append(formula(moved, target.tolist(), mask, p)[row][column])
            slope = float(upstream[row, column]) * (ends[1] - ends[0])
            assert true[row, column].item() == pytest.approx(slope, abs=1e-12)
            assert official[row, column].item() == pytest.approx(slope * (1 - p), abs=1e-12)


@pytest.mark.parametrize("gradient", ["true", "official"])
@pytest.mark.parametrize("count", [1, 3])
def test_steps_against_a_model_that_holds_the_mixed_weights(count: int, gradient: str) -> None:
    """A plain model whose weights are the formula's, its gradients led back by hand, AdamW in numpy."""
    p, model, batch, source = 0.3, still(tiny("bert")), batch_of(3), recorder()
    list(train(model, with_source(Mixout(p, gradient), model, source), batch, count))

    plain = still(tiny("bert"))
    parameters = dict(plain.named_parameters())
    weights = {name: q.detach().numpy().copy() for name, q in parameters.items()}
    start = {name: w.copy() for name, w in weights.items()}
    first, second = ({name: np.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    for step in range(1, count + 1):
        keeps = {site: keep.numpy() for (forward, site), keep in source.drawn.items() if forward == step}
        assert len(keeps) == 3 * 5 + 2  # query, key, value, attention output, first map of the feed-forward part
        for name, q in parameters.items():
            keep = keeps.get(name.removesuffix(".weight"), 1.0)
            q.data.copy_(torch.from_numpy(weights[name] * keep + start[name] * (1 - keep)))
        plain.zero_grad()
        task_loss(forward_of(plain)(batch).logits, batch["labels"]).backward()
        for name, q in parameters.items():
            keep = keeps.get(name.removesuffix(".weight"), np.ones(1))
            g = q.grad.numpy() * (keep if gradient == "true" else np.sign(keep))
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            corrected = np.sqrt(second[name] / (1 - 0.999**step))
            weights[name] = weights[name] * (1 - LR * DECAY)
            weights[name] -= LR * first[name] / (1 - 0.9**step) / (corrected + 1e-8)
    for name, q in model.named_parameters():
        np.testing.assert_allclose(q.detach().numpy(), weights[name], atol=1e-10, rtol=0, err_msg=name)


@pytest.mark.parametrize("p", [0.3, 0.7, 0.9])
def test_law_on_a_million_draws(p: float) -> None:
    """Support {0, 1/(1-p)}, expectation of the mixed weight W, its variance p/(1-p) (W - target)^2."""
    count, w, t = 10**6, 1.5, -0.25
    target = torch.full((1, count), t, dtype=torch.float64)
    source = NoiseSource(1, "mixout")
    keep = source.keep(target[0], 1 - p, "a")
    assert keep is not None
    mixed = mix(torch.full_like(target, w), target, keep)
    values = sorted(set(mixed.flatten().tolist()))
    assert values == [pytest.approx(t, abs=1e-12), pytest.approx(t + (w - t) / (1 - p), rel=2e-4)]
    deviation = (w - t) * math.sqrt(p / (1 - p))
    assert abs(float(mixed.mean()) - w) < 4 * deviation / math.sqrt(count)
    assert float(mixed.std()) == pytest.approx(deviation, rel=0.01)
    others: list[Any] = [keep.roll(lag) for lag in (1, 2, 3, 4)]
    others += [source.keep(target[0], 1 - p, "b"), NoiseSource(2, "mixout").keep(target[0], 1 - p, "a")]
    source.next_forward()
    others.append(source.keep(target[0], 1 - p, "a"))
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([keep, other]))[0, 1])) < 4 / math.sqrt(count)


def test_mean_of_many_masks_as_in_the_released_module(parity: Callable[[str], Any]) -> None:
    """Both means of 20 000 masks are W up to an error that is one number a column: masks are of input neurons."""
    case, count = parity("mixout"), 20_000
    weight, target = (torch.tensor(case[name], dtype=torch.float64) for name in ("weight", "target"))
    source, total = NoiseSource(1, "mixout"), torch.zeros_like(weight)
    for _ in range(count):
        source.next_forward()
        keep = source.keep(target[0], 0.3, "linear")
        assert keep is not None
        total += mix(weight, target, keep)
    error = math.sqrt(0.7 / 0.3 / count)  # in units of W - target
    for mean in (total / count, torch.tensor(case["monte_carlo_mean_p0.7_n20000"], dtype=torch.float64)):
        shift = (mean - weight) / (weight - target)
        assert float(shift.abs().max()) < 4 * error
        assert float((shift - shift[0]).abs().max()) < 0.01 * error  # the same in all rows
        assert float(shift[0].std()) > 0.1 * error


HEADS = {
    "bert": {"bert.pooler.dense", "classifier"},
    "xlnet": {"sequence_summary.summary", "logits_proj"},
    "deberta": {"pooler.dense", "classifier"},
    "electra": {"electra.embeddings_project", "classifier.dense", "classifier.out_proj"},
}
MAPS = {
    "bert": {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
             "intermediate.dense"},
    "xlnet": {"ff.layer_1", "ff.layer_2"},
    "deberta": {"attention.self.in_proj", "attention.self.pos_proj", "attention.self.pos_q_proj",
                "attention.output.dense", "intermediate.dense"},
}  # fmt: skip
MAPS["electra"] = MAPS["bert"]


@pytest.mark.parametrize("where", ["after_dropout", "every"])
@pytest.mark.parametrize("family", HEADS)
def test_which_maps_are_mixed(family: str, where: str) -> None:
    """Those behind a dropout, heads too; with ``every`` also the second map of the feed-forward part."""
    model, source = tiny(family).train(), recorder()
    with_source(Mixout(0.5, where=where), model, source)
    forward_of(model)(batch_of(3))
    sites = {site for _, site in source.drawn}
    in_layers = {re.sub(r".*\.layer\.\d+\.", "", site) for site in sites if re.search(r"\.layer\.\d+\.", site)}
    assert {site for site in sites if ".layer." not in site} == HEADS[family]
    assert in_layers == MAPS[family] | ({"output.dense"} if where == "every" and family != "xlnet" else set())
    assert len(sites) == len(HEADS[family]) + 3 * len(in_layers)


@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
def test_no_dropout_is_left_while_it_trains(family: str) -> None:
    """With p = 0 a pass in training equals one in evaluation bit for bit; afterwards every probability is back."""
    model, batch = tiny(family).eval(), batch_of(3)
    before = {name: module.p for name, module in all_dropouts(model).items()}
    expected = logits_of(model, batch)
    hooks = compose({"mixout": Mixout(0.0)}, model.train(), context_of(batch))
    assert {module.p for module in all_dropouts(model).values()} == {0.0}
    assert torch.equal(logits_of(model, batch), expected)
    hooks.finish()
    assert {name: module.p for name, module in all_dropouts(model).items()} == before
    assert 0.1 in before.values()


def test_at_the_start_nothing_is_mixed_and_evaluation_reads_the_weights() -> None:
    """While weight and target are the same, mixing changes nothing; in evaluation it never does."""
    model, batch = still(tiny("bert")), batch_of(3)
    expected = logits_of(model, batch)
    compose({"mixout": Mixout(0.9)}, model, context_of(batch))
    torch.testing.assert_close(logits_of(model, batch), expected, atol=1e-12, rtol=0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(0)))
    moved = still(tiny("bert"))
    moved.load_state_dict(model.state_dict())
    first, second = logits_of(model, batch), logits_of(model, batch)
    for other in (second, logits_of(moved, batch)):  # every pass has masks of its own
        assert float((first - other).abs().max()) > 1e-3
    assert torch.equal(logits_of(model.eval(), batch), logits_of(moved.eval(), batch))


def test_a_mask_a_pass_that_follows_from_the_seed() -> None:
    site = "bert.encoder.layer.0.intermediate.dense"

    def masks(seed: int, torchs_own: int) -> list[Tensor]:
        model, source = tiny("bert").train(), recorder(seed)
        with_source(Mixout(0.5), model, source)
        torch.manual_seed(torchs_own)
        for _ in range(2):
            forward_of(model)(batch_of(3))
        return [source.drawn[1, site], source.drawn[2, site], source.drawn[1, site.replace("layer.0", "layer.1")]]

    first, again, other = masks(3, 1), masks(3, 2), masks(4, 1)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    different = [*first, other[0]]  # another pass, another map, another seed
    assert not any(torch.equal(a, b) for at, a in enumerate(different) for b in different[at + 1 :])


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"mixout": {"p": 1.1}}, "p must be at least 0 and at most 1"),
        ({"mixout": {"gradient": "released"}}, "gradient must be one of true, official"),
        ({"mixout": {"where": "head"}}, "where must be one of after_dropout, every"),
        ({"mixout": {}, "no_dropout": {}}, "cannot be combined: each decides on the hidden dropout"),
        ({"mixout": {}, "lora": {}}, "cannot be combined: each decides on how linear maps are used"),
    ],
)
def test_options_that_cannot_be(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(chosen)
