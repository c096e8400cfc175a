"""Child-Tuning against the released optimizer's traces, Fisher information by hand, and a loop over steps in numpy."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.noise import NoiseSource
from hype_bench.contract.objective import Batch, forward_of, task_loss
from hype_bench.contract.registry import build
from hype_bench.methods.child_tuning_d import CLIP, ChildTuningD, child_network, fisher_information
from hype_bench.methods.child_tuning_f import ChildTuningF
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, cut, still, tiny, train
from hype_bench.training.optimizer import AdamWHF

LR, DECAY = 3e-3, 0.01  # of tiny.train
SITE = "bert.encoder.layer.0.intermediate.dense.weight"


class Toy(nn.Module):
    """The traces' p as the only layer of an encoder, q as its head; p's Fisher information ranks as [4, 1, 3, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_hidden_layers=1, model_type="toy")
        self.layer = nn.ModuleList([nn.Module()])
        self.layer[0].p = nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.25]))
        self.q = nn.Parameter(torch.ones(2))
        self.table = nn.Embedding(2, 1)

    @property
    def base_model(self) -> Toy:
        return self

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, x: Tensor) -> Any:
        return SimpleNamespace(logits=(self.layer[0].p * x).sum(-1, keepdim=True) + self.q.sum())


class Recorded(NoiseSource):
    """Hands out the masks of a trace, step by step."""

    def __init__(self, masks: list[dict[str, Tensor]]) -> None:
        super().__init__(0, "")
        self.masks = masks

    def keep(self, like: Tensor, p: float, site: str) -> Tensor:
        return self.masks[self.forward - 1][site] / p

    def keep_(self, values: Tensor, p: float, site: str) -> Tensor:
        return values.mul_(self.keep(values, p, site))


class Recorder(NoiseSource):
    """Draws as always and remembers what it drew, by step and site."""

    drawn: dict[tuple[int, str], Tensor]

    def keep(self, like: Tensor, p: float, site: str) -> Tensor | None:
        keep = super().keep(like, p, site)
        assert keep is not None
        self.drawn[self.forward, site] = keep.clone()
        return keep

    def keep_(self, values: Tensor, p: float, site: str) -> Tensor:
        self.keep(values, p, site)
        return super().keep_(values, p, site)


def with_source(method: ChildTuningF, model: Any, source: NoiseSource) -> Composed:
    context = Context(seed=3)
    context.noise = lambda *_: source  # type: ignore[method-assign]
    return compose({"child_tuning_f": method}, model, context)


def recorder(seed: int = 3) -> Recorder:
    source = Recorder(seed, "child_tuning_f")
    source.drawn = {}
    return source


TRACES = ("F_p0.3_seed0", "D_mask_1010", "none_mode_is_plain_AdamW")


@pytest.mark.parametrize("key", TRACES)
def test_steps_of_the_released_optimizer(key: str, parity: Callable[[str], Any]) -> None:
    trace, toy = parity("child_tuning")[key], Toy().train()
    p, q = toy.layer[0].p, toy.q
    if key.startswith("F"):
        masks = [{"layer.0.p": torch.tensor(s["masks"][0]), "q": torch.tensor(s["masks"][1])} for s in trace]
        hooks = with_source(ChildTuningF(reserve_p=0.3), toy, Recorded(masks))
    else:  # the half with the larger Fisher information is the first and the third entry
        batch = {"x": torch.tensor([[4.0, 1.0, 3.0, 2.0]]), "labels": torch.tensor([9.0])}
        method = ChildTuningD(reserve_p=0.5 if key.startswith("D") else 1.0)
        hooks = compose({"child_tuning_d": method}, toy, Context(batches=lambda size: [batch]))  # type: ignore[arg-type]
    groups = [{"params": [p], "weight_decay": 0.1}, {"params": [q], "weight_decay": 0.0}]
    optimizer = AdamWHF(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-6)
    assert [step["step"] for step in trace] == [1, 2, 3]
    for step in trace:
        toy.table(torch.tensor([0]))
        p.grad, q.grad = torch.tensor(step["grad_p"]), torch.tensor(step["grad_q"])
        hooks.before_step(optimizer)
        torch.testing.assert_close(p.grad, torch.tensor(step["grad_p_after"]), atol=1e-6, rtol=1e-5)
        optimizer.step()
        torch.testing.assert_close(p.detach(), torch.tensor(step["p"]), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(q.detach(), torch.tensor(step["q"]), atol=1e-6, rtol=1e-5)


def linear_quantile(values: list[float], q: float) -> float:
    ordered, place = sorted(values), q * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@pytest.mark.parametrize("reserve_p", ["0.1", "0.2", "0.3"])
@pytest.mark.parametrize("pieces", [(10,), (1, 6, 3)], ids=str)
def test_published_thresholds(reserve_p: str, pieces: tuple[int, ...], parity: Callable[[str], Any]) -> None:
    """One threshold over all tensors together, however the entries are spread over them."""
    case = parity("child_tuning")["D_threshold"]
    fisher, expected = case["fisher_flat"], case[reserve_p]
    assert linear_quantile(fisher, 1 - float(reserve_p)) == pytest.approx(expected["threshold"], rel=1e-5)
    masks = child_network(list(torch.tensor(fisher).split(list(pieces))), float(reserve_p))
    assert torch.cat(masks).tolist() == expected["selected"]
    assert sum(int(mask.sum()) for mask in masks) == expected["n_selected"]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("entries", [1, 2, 7, 50, 4097, 100_003])
def test_thresholds_are_numpys_percentiles(entries: int, kind: type) -> None:
    """To the last bit of the place between two entries, which numpy computes in the precision of the entries."""
    generator = np.random.default_rng(entries)
    fisher = (generator.standard_normal(entries) ** 2).astype(kind)
    fisher[generator.random(entries) < 0.2] = 0  # of what a pass does not use
    pieces = list(torch.from_numpy(fisher).split(max(1, entries // 3)))
    for reserve_p in (0.1, 0.2, 0.3, 0.55, 0.9, 1.0):
        expected = fisher >= np.percentile(fisher, (1 - reserve_p) * 100)
        assert np.array_equal(torch.cat(child_network(pieces, reserve_p)).numpy(), expected)


def test_ties_are_kept_and_everything_is() -> None:
    tied = [torch.tensor([1.0, 2.0, 2.0]), torch.tensor([2.0, 0.0])]
    assert [mask.tolist() for mask in child_network(tied, 0.25)] == [[0, 1, 1], [1, 0]]
    assert all(bool(mask.all()) for mask in child_network(tied, 1.0))


def two_two_two() -> tuple[list[Tensor], Tensor, list[int]]:
    """Weights and biases of a net with two inputs, two hidden units and two classes, and five examples."""
    numbers = [0.4, -0.3, 0.9, 0.2, 0.1, -0.5, 1.1, -0.7, 0.3, 0.8, -0.2, 0.6]
    flat = torch.tensor(numbers, dtype=torch.float64)
    shapes = ((2, 2), (2,), (2, 2), (2,))
    parts = flat.split([math.prod(shape) for shape in shapes])
    weights = [part.view(shape).clone().requires_grad_() for part, shape in zip(parts, shapes, strict=True)]
    inputs = torch.tensor([[3.0, -1.5], [0.5, 2.0], [-4.0, 2.5], [1.0, 1.0], [6.0, 5.0]], dtype=torch.float64)
    return weights, inputs, [0, 1, 0, 1, 0]


def gradient_by_hand(weights: list[list[Any]], inputs: list[list[float]], labels: list[int]) -> list[list[float]]:
    """Of the mean cross-entropy of ``B tanh(A x + a) + b`` with respect to A, a, B, b; each flattened."""
    a_matrix, a_bias, b_matrix, b_bias = weights
    sums = [[0.0] * 4, [0.0] * 2, [0.0] * 4, [0.0] * 2]
    for x, label in zip(inputs, labels, strict=True):
        hidden = [math.tanh(sum(a_matrix[i][j] * x[j] for j in range(2)) + a_bias[i]) for i in range(2)]
        logits = [sum(b_matrix[k][i] * hidden[i] for i in range(2)) + b_bias[k] for k in range(2)]
        total = sum(math.exp(z) for z in logits)
        error = [math.exp(logits[k]) / total - (k == label) for k in range(2)]
        back = [sum(error[k] * b_matrix[k][i] for k in range(2)) * (1 - hidden[i] ** 2) for i in range(2)]
        for i in range(2):
            for j in range(2):
                sums[0][2 * i + j] += back[i] * x[j] / len(inputs)
                sums[2][2 * i + j] += error[i] * hidden[j] / len(inputs)
            sums[1][i] += back[i] / len(inputs)
            sums[3][i] += error[i] / len(inputs)
    return sums


@pytest.mark.parametrize("clip", [None, CLIP, 0.05])
@pytest.mark.parametrize("size", [1, 4])
def test_fisher_information_of_a_small_net_by_hand(size: int, clip: float | None) -> None:
    """Batches of one and of four (the last one is of one), with and without the clip of every tensor's gradient."""
    weights, inputs, labels = two_two_two()

    def losses() -> Iterator[Tensor]:
        a_matrix, a_bias, b_matrix, b_bias = weights
        for at in range(0, len(labels), size):
            hidden = torch.tanh(inputs[at : at + size] @ a_matrix.T + a_bias)
            target = torch.tensor(labels[at : at + size])
            yield torch.nn.functional.cross_entropy(hidden @ b_matrix.T + b_bias, target)

    count = math.ceil(len(labels) / size)
    information = fisher_information(weights, losses(), count, clip)
    expected = [[0.0] * w.numel() for w in weights]
    clipped = 0
    for at in range(0, len(labels), size):
        piece = slice(at, at + size)
        gradients = gradient_by_hand([w.tolist() for w in weights], inputs.tolist()[piece], labels[piece])
        for sums, gradient in zip(expected, gradients, strict=True):
            norm = math.sqrt(sum(g * g for g in gradient))
            factor = 1.0 if clip is None else min(1.0, clip / (norm + 1e-6))
            clipped += factor < 1
            for place, g in enumerate(gradient):
                sums[place] += (g * factor) ** 2 / count
    assert (clipped > 0) == (clip is not None)
    for tensor, row in zip(information, expected, strict=True):
        torch.testing.assert_close(tensor.flatten(), torch.tensor(row, dtype=torch.float64), atol=1e-12, rtol=0)
    assert all(w.grad is None for w in weights)


def reference_steps(count: int, mask: Callable[[int, str, np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """AdamW in numpy on the gradients of a plain model, each multiplied by ``mask(step, name, gradient)``."""
    model, batch = still(tiny("bert")), batch_of(3)
    parameters = dict(model.named_parameters())
    weights = {name: p.detach().numpy().copy() for name, p in parameters.items()}
    first, second = ({name: np.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    for step in range(1, count + 1):
        model.zero_grad()
        task_loss(forward_of(model)(batch).logits, batch["labels"]).backward()
        for name, p in parameters.items():
            g = p.grad.numpy()
            g = g * mask(step, name, g)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            corrected = np.sqrt(second[name] / (1 - 0.999**step))
            w = weights[name] * (1 - LR * DECAY)
            weights[name] = w - LR * first[name] / (1 - 0.9**step) / (corrected + 1e-8)
            p.data.copy_(torch.from_numpy(weights[name]))
    return weights


def assert_weights(model: Any, expected: dict[str, np.ndarray]) -> None:
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.detach().numpy(), expected[name], atol=1e-10, rtol=0, err_msg=name)


@pytest.mark.parametrize("count", [1, 3])
def test_f_against_a_loop(count: int) -> None:
    model, batch, source = still(tiny("bert")), batch_of(3), recorder()
    list(train(model, with_source(ChildTuningF(reserve_p=0.3), model, source), batch, count))
    rows = sorted(set(batch["input_ids"].flatten().tolist()))

    def mask(step: int, name: str, gradient: np.ndarray) -> np.ndarray:
        drawn = source.drawn[step, name].numpy()
        if not name.endswith("word_embeddings.weight"):
            return drawn
        whole = np.ones_like(gradient)
        whole[rows] = drawn
        assert not gradient[(whole == 1).all(1)].any()  # the other rows have no gradient
        return whole

    assert_weights(model, reference_steps(count, mask))


def fisher_by_samples(model: Any, batch: Batch, size: int, clip: float | None) -> dict[str, np.ndarray]:
    pieces = cut(batch, size)
    sums: dict[str, np.ndarray] = {}
    for piece in pieces:
        model.zero_grad()
        task_loss(forward_of(model)(piece).logits, piece["labels"]).backward()
        for name, p in model.named_parameters():
            g = p.grad.numpy()
            g = g if clip is None else g * min(1.0, clip / (math.sqrt((g**2).sum()) + 1e-6))
            sums[name] = sums.get(name, 0.0) + g**2 / len(pieces)
    model.zero_grad()
    return sums


def context_with_batches_of_three(batch: Batch) -> Context:
    context = context_of(batch)
    context.batches = lambda size: cut(batch, size or 3)  # eight examples: 3, 3, 2
    return context


@pytest.mark.parametrize("fisher", ["paper", "official"])
def test_d_against_a_loop(fisher: str) -> None:
    """The entries that train are those of the layers above one quantile; three steps equal numpy's."""
    model, batch = still(tiny("bert")), batch_of(3)
    assert CLIP == 1.0
    size, clip = (1, None) if fisher == "paper" else (3, 1.0)
    information = fisher_by_samples(still(tiny("bert")), batch, size, clip)
    inside = [name for name in information if ".layer." in name]
    threshold = linear_quantile([v for name in inside for v in information[name].flatten().tolist()], 0.7)
    masks = {name: (information[name] >= threshold).astype(float) for name in inside}
    hooks = compose({"child_tuning_d": ChildTuningD(fisher=fisher)}, model, context_with_batches_of_three(batch))
    list(train(model, hooks, batch, 3))
    assert_weights(model, reference_steps(3, lambda step, name, gradient: masks.get(name, np.ones_like(gradient))))


def test_one_batch_of_the_fisher_pass_is_held_at_a_time() -> None:
    batch, model, held = batch_of(3), tiny("bert").train(), list[int]()
    alive = weakref.WeakSet[Tensor]()

    def batches(size: int | None) -> Iterator[Batch]:
        for piece in cut(batch, size):
            ids = piece["input_ids"].clone()
            alive.add(ids)
            yield piece | {"input_ids": ids}
            del ids
            held.append(len(alive))

    compose({"d": ChildTuningD()}, model, Context(seed=3, batches=batches))
    assert max(held) == 1


def test_the_two_forms_of_the_fisher_information_choose_differently() -> None:
    chosen = []
    for fisher in ("paper", "official"):
        model, batch = still(tiny("bert")), batch_of(3)
        hooks = compose({"d": ChildTuningD(fisher=fisher)}, model, context_with_batches_of_three(batch))
        chosen.append(torch.cat([mask.flatten() for mask in what_is_kept(model, hooks, batch).values()]))
    assert 0.01 < float((chosen[0] != chosen[1]).double().mean()) < 0.6


def what_is_kept(model: Any, hooks: Composed, batch: Batch) -> dict[str, Tensor]:
    """By what ``before_step`` multiplies every gradient: all gradients are one beforehand."""
    forward_of(model)(batch)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    hooks.before_step(None)  # type: ignore[arg-type]
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
@pytest.mark.parametrize("reserve_p", [0.1, 0.5])
def test_d_masks_the_layers_and_nothing_else(family: str, reserve_p: float) -> None:
    model, batch, context = tiny(family).train(), batch_of(3), context_of(batch_of(3))
    hooks = compose({"child_tuning_d": ChildTuningD(reserve_p=reserve_p)}, model, context)
    kept = what_is_kept(model, hooks, batch)
    inside = {name for name in kept if ".layer." in name}
    assert 0 < len(inside) < len(kept)
    assert all(bool((kept[name] == 1).all()) for name in kept.keys() - inside)
    entries = torch.cat([kept[name].flatten() for name in inside])
    assert set(entries.tolist()) == {0.0, 1.0}
    assert float(entries.mean()) == pytest.approx(reserve_p, abs=2 / len(entries))
    assert len({round(float(kept[name].mean()), 6) for name in inside}) > 3  # not a share of every tensor
    again = what_is_kept(model, hooks, batch)
    assert all(torch.equal(again[name], kept[name]) for name in kept)  # fixed for the run


def test_d_only_decays_what_it_masks_and_its_moments_stay_zero() -> None:
    model, batch = tiny("bert").double().train(), batch_of(3)
    hooks = compose({"child_tuning_d": ChildTuningD(reserve_p=0.2)}, model, context_of(batch))
    kept = what_is_kept(model, hooks, batch)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.zero_grad()
    groups = [{"params": list(model.parameters()), "weight_decay": 0.1}]
    optimizer = AdamWHF(groups, lr=0.02, betas=(0.9, 0.999), eps=1e-6)
    for _ in range(3):
        task_loss(forward_of(model)(batch).logits, batch["labels"]).backward()
        hooks.before_step(optimizer)
        optimizer.step()
        optimizer.zero_grad()
    for name, p in model.named_parameters():
        masked = kept[name] == 0
        torch.testing.assert_close(p[masked], before[name][masked] * (1 - 0.02 * 0.1) ** 3, atol=1e-14, rtol=0)
        for moment in ("exp_avg", "exp_avg_sq"):
            assert not optimizer.state[p][moment][masked].any()


@pytest.mark.parametrize(("fisher", "passes"), [("paper", 8), ("official", 3)])
def test_the_fisher_pass(fisher: str, passes: int) -> None:
    """Shown, timed, with dropout, and without a trace in the model or in torch's generator."""
    model, batch = tiny("bert").eval(), batch_of(3)
    seen: list[tuple[bool, int]] = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((module.training, len(kwargs["input_ids"]))), with_kwargs=True
    )
    context, shown = context_with_batches_of_three(batch), []
    context.progress = lambda *said: shown.append(said)
    state = torch.get_rng_state()
    compose({"child_tuning_d": ChildTuningD(fisher=fisher)}, model, context)
    assert shown == [("Fisher information", done, passes) for done in range(1, passes + 1)]
    assert seen == [(True, size) for size in ([1] * 8 if fisher == "paper" else [3, 3, 2])]
    assert not model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
    assert context.facts["fisher_seconds"] > 0


def test_d_has_dropout_of_the_runs_own_seed_in_the_fisher_pass() -> None:
    kept = []
    for seed in (3, 3, 4):
        model, batch = tiny("bert").train(), batch_of(3)
        torch.manual_seed(len(kept))
        hooks = compose({"child_tuning_d": ChildTuningD()}, model, context_of(batch, seed=seed))
        kept.append(what_is_kept(model, hooks, batch)[SITE])
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])


@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
def test_f_masks_every_tensor(family: str) -> None:
    """Head, LayerNorm and the looked-up rows of the embeddings too; what stays is divided by p."""
    model, batch = tiny(family).train(), batch_of(3)
    hooks = compose({"child_tuning_f": ChildTuningF(reserve_p=0.4)}, model, context_of(batch))
    kept = what_is_kept(model, hooks, batch)
    table = next(name for name, p in model.named_parameters() if p is model.get_input_embeddings().weight)
    rows = batch["input_ids"].unique()
    kept[table] = kept[table][rows]
    for name, keep in kept.items():
        assert set(keep.flatten().tolist()) <= {0.0, float(keep.max())}, name
        if keep.numel() > 20:
            assert float(keep.max()) == pytest.approx(1 / 0.4, rel=1e-4), name
            deviation = math.sqrt(0.4 * 0.6 / keep.numel())
            assert float((keep > 0).double().mean()) == pytest.approx(0.4, abs=5 * deviation), name


def test_f_draws_a_mask_every_step_that_follows_from_the_seed() -> None:
    def masks(seed: int, torchs_own: int) -> list[Tensor]:
        model, batch, source = tiny("bert").train(), batch_of(3), recorder(seed)
        hooks = with_source(ChildTuningF(), model, source)
        torch.manual_seed(torchs_own)
        for _ in range(2):
            what_is_kept(model, hooks, batch)
        return [source.drawn[1, SITE], source.drawn[2, SITE], source.drawn[1, SITE.replace("layer.0", "layer.1")]]

    first, again, other = masks(3, 1), masks(3, 2), masks(4, 1)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    different = [*first, other[0]]  # another step, another tensor, another seed
    assert not any(torch.equal(a, b) for at, a in enumerate(different) for b in different[at + 1 :])


@pytest.mark.parametrize("p", [0.2, 0.3, 0.4])
def test_law_on_a_million_draws(p: float) -> None:
    """Support {0, 1/p}, mean 1, variance (1-p)/p; nothing in common with neighbours, other sites, steps and seeds."""
    like, count = torch.empty(10**6, dtype=torch.float64), 10**6
    source = NoiseSource(1, "child_tuning_f")
    first = source.keep(like, p, "a")
    assert first is not None
    support = sorted(set(first.tolist()))
    assert support[0] == 0
    assert support[1:] == [pytest.approx(1 / p, rel=1e-4)]
    variance = (1 - p) / p
    assert abs(float(first.mean()) - 1) < 4 * math.sqrt(variance / count)
    assert float(first.var()) == pytest.approx(variance, rel=0.01)
    others: list[Any] = [first.roll(lag) for lag in (1, 2, 3, 4)]
    others += [source.keep(like, p, "b"), NoiseSource(2, "child_tuning_f").keep(like, p, "a")]
    assert torch.equal(source.keep(like, p, "a"), first)  # type: ignore[arg-type]
    source.next_forward()
    others.append(source.keep(like, p, "a"))
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([first, other]))[0, 1])) < 4 / math.sqrt(count)


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"child_tuning_f": {"reserve_p": 0.0}}, "reserve_p must be above 0 and at most 1"),
        ({"child_tuning_d": {"reserve_p": 1.5}}, "reserve_p must be above 0 and at most 1"),
        ({"child_tuning_d": {"fisher": "samples"}}, "fisher must be one of paper, official"),
        ({"child_tuning_f": {}, "child_tuning_d": {}}, "cannot be combined: each decides on the gradient mask"),
    ],
)
def test_options_that_cannot_be(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(chosen)


def test_d_asks_for_the_data() -> None:
    with pytest.raises(UserError, match="child_tuning_d needs to know the run's batches"):
        compose({"child_tuning_d": ChildTuningD()}, tiny("bert"), Context())


def test_d_says_when_what_it_masks_is_frozen_after_it() -> None:
    batch = batch_of(3)
    hooks = compose(build({"child_tuning_d": {}, "top_k": {"k": 0}}), tiny("bert"), context_of(batch))
    with pytest.raises(UserError, match="child_tuning_d has nothing to mask: name what freezes its weights before it"):
        hooks.parameter_groups([])
