"""FreeLB against its ascent written out: loops over examples, passes with ``inputs_embeds`` instead of hooks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.ascent import ascend, first_delta
from hype_bench.contract.attach import Attached
from hype_bench.contract.compose import compose
from hype_bench.contract.method import Method
from hype_bench.contract.objective import Batch, forward_of, objective, task_loss
from hype_bench.methods.freelb import FreeLB
from hype_bench.methods.hype import HyPe
from hype_bench.models.attention import Packing
from hype_bench.models.segments import Segments
from hype_bench.testing.tiny import batch_of, context_of, cut, still, tiny
from tests.methods.noise_by_hand import (
    LENGTHS,
    Recorder,
    Table,
    assert_as_by_hand,
    assert_close,
    assert_mean_of_examples,
    assert_packed_as_padded,
    assert_uniform,
    attach,
    drawn,
    embedded_pass,
    gradients,
    unequal,
)

Nested = list[list[list[float]]]  # example, place, width


def begun(draw: Nested, mask: list[list[int]], method: FreeLB) -> Nested:
    """U(-1, 1) on real tokens; over sqrt(tokens * width) of the example for l2."""
    delta = []
    for example, real in zip(draw, mask, strict=True):
        size = math.sqrt(sum(real) * len(example[0])) if method.norm == "l2" else 1.0
        delta.append([[(2 * u - 1) * method.init_magnitude * m / size for u in token]
                      for token, m in zip(example, real, strict=True)])  # fmt: skip
    return delta


def climbed(delta: Nested, gradient: Nested, method: FreeLB) -> Nested:
    """One step of every example on its own, and back into its ball."""
    moved = []
    for d, g in zip(delta, gradient, strict=True):
        flat_d, flat_g = (torch.tensor(x, dtype=torch.float64).flatten().tolist() for x in (d, g))
        if method.norm == "l2":
            size = max(math.sqrt(sum(v * v for v in flat_g)), 1e-8)
        else:
            size = max(max(abs(v) for v in flat_g), 1e-8)
        new = [a + method.learning_rate * b / size for a, b in zip(flat_d, flat_g, strict=True)]
        if method.max_norm and method.norm == "l2":
            length = math.sqrt(sum(v * v for v in new))
            new = [v * method.max_norm / length for v in new] if length > method.max_norm else new
        elif method.max_norm:
            new = [min(max(v, -method.max_norm), method.max_norm) for v in new]
        width = len(d[0])
        moved.append([new[at : at + width] for at in range(0, len(new), width)])
    return moved


def update_by_hand(model: Any, batch: Batch, draw: Tensor, method: FreeLB) -> Tensor:
    """Leaves the mean gradient of all passes of an update."""
    draw = draw.transpose(0, 1) if model.config.model_type == "xlnet" else draw
    passes = method.steps + (1 if method.passes == "fairseq" else 0)
    delta = torch.tensor(begun(draw.tolist(), batch["attention_mask"].tolist(), method), dtype=torch.float64)
    losses = []
    for _ in range(passes):
        delta.requires_grad_()
        losses.append(task_loss(embedded_pass(model, batch, delta), batch["labels"]))
        (losses[-1] / passes).backward()
        delta = torch.tensor(climbed(delta.tolist(), delta.grad.tolist(), method), dtype=torch.float64)
    return torch.stack(losses).sum() / passes


METHODS = [
    FreeLB(steps=3, learning_rate=0.5, init_magnitude=0.4),
    FreeLB(steps=3, learning_rate=0.5, init_magnitude=0.4, max_norm=0.3),
    FreeLB(steps=2, learning_rate=0.5, init_magnitude=0.0, passes="fairseq"),
    FreeLB(steps=3, learning_rate=0.1, init_magnitude=0.05, norm="linf"),
    FreeLB(steps=2, learning_rate=0.1, init_magnitude=0.05, norm="linf", max_norm=0.12, passes="fairseq"),
]


@pytest.mark.parametrize("outputs", [3, 1], ids=["classification", "regression"])
@pytest.mark.parametrize("family", ["bert", "xlnet"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.norm}-{m.max_norm:g}-{m.passes}")
def test_against_the_ascent_by_hand(method: FreeLB, family: str, outputs: int) -> None:
    """Loss, gradients and the weights after one and three updates of a padded batch."""
    batch = unequal(outputs, family)

    def by_hand(model: Any, draws: Iterator[Tensor], _: Any) -> Tensor:
        return update_by_hand(model, batch, next(draws), method)

    assert_as_by_hand(method, family, batch, by_hand, loss=1e-6, gradient=1e-6, losses=1e-6, weights=1e-5)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("most", [0.0, 0.25, 0.5, 5.0])
@pytest.mark.parametrize("layout", ["padded", "packed", "xlnet"])
def test_functions_against_loops(layout: str, most: float, norm: str) -> None:
    """In three layouts, every example compared with itself alone; no ball, one that some leave, one that none does."""
    lengths, width = LENGTHS, 3
    generator = torch.Generator().manual_seed(4)
    if layout == "packed":
        ids = torch.ones(1, sum(lengths))
        segments = Segments.from_inputs({"input_ids": ids, "packing": Packing.of(list(lengths))})
    else:
        segments = Segments.from_inputs(unequal(), length_first=layout == "xlnet")
    shape = (*segments.ids.shape, width)
    draw, gradient = torch.rand(shape, generator=generator), torch.randn(shape, generator=generator)
    gradient = gradient * segments.mask.unsqueeze(-1)  # padding reaches no output
    gradient[segments.ids == 1] = 0  # an example that has no gradient stays where it is
    method = FreeLB(init_magnitude=0.7, learning_rate=0.2, max_norm=most, norm=norm)
    delta = first_delta(draw, segments, method.init_magnitude, norm)
    moved = ascend(delta, gradient, segments, method.learning_rate, method.max_norm, norm)
    for example, length in enumerate(lengths):
        own = (segments.ids == example) & segments.mask
        (first,) = begun([draw[own].tolist()], [[1] * length], method)
        torch.testing.assert_close(delta[own], torch.tensor(first), atol=1e-7, rtol=1e-6)
        (second,) = climbed([first], [gradient[own].tolist()], method)
        torch.testing.assert_close(moved[own], torch.tensor(second), atol=1e-7, rtol=1e-6)
    assert not delta[~segments.mask].any()
    assert not moved[~segments.mask].any()


def test_the_largest_entry_of_an_example_is_found_without_a_warning() -> None:
    segments, gradient = (
        Segments.from_inputs({"input_ids": torch.ones(2, 1)}),
        torch.tensor([[[1.0, -4.0]], [[0.5, 0.0]]]),
    )
    torch.set_warn_always(True)  # else torch warns once a process, whoever came first
    try:
        moved = ascend(torch.zeros_like(gradient), gradient, segments, 1.0, 0.0, "linf")
    finally:
        torch.set_warn_always(False)
    torch.testing.assert_close(moved, torch.tensor([[[0.25, -1.0]], [[1.0, 0.0]]]))


def test_first_perturbation_is_uniform_in_a_million_draws() -> None:
    """l2: U(-1, 1) magnitude / sqrt(tokens * width) of each example, nothing at padding; linf: U(-magnitude, it)."""
    lengths = torch.tensor([50, 250, 125, 75])
    mask = (torch.arange(250)[None] < lengths[:, None]).long()
    model = Table(2000)
    batch = {"input_ids": torch.ones_like(mask), "attention_mask": mask, "labels": torch.zeros(4)}
    real = mask.bool()
    for norm in ("l2", "linf"):
        bound = 0.3 / (lengths * 2000).sqrt() if norm == "l2" else torch.full((4,), 0.3)
        units = []
        for seed in (3, 4):
            attached = attach(FreeLB(steps=1, init_magnitude=0.3, norm=norm), model, seed=seed)
            for _ in range(2):
                delta = perturbation(attached, model, batch)
                assert not delta[~real].any()
                units.append((delta / bound[:, None, None])[real])
            attached.hooks.finish()
        assert_uniform(units)
        assert 0.9999 < float(units[0].max()) <= 1 + 1e-6
        assert -1 - 1e-6 <= float(units[0].min()) < -0.9999


def perturbation(attached: Any, model: Table, batch: Batch) -> Tensor:
    """What the first pass of an update adds to a table of zeros."""
    seen: list[Tensor] = []

    def backward(pieces: list[Batch]) -> Tensor:
        def inner(piece: Batch, forward: Any) -> tuple[Tensor, Any]:
            output = forward(piece)
            seen.append(output.logits)
            return output.logits.sum(), output

        loss = attached.hooks.loss(pieces[0], forward_of(model), inner)[0]
        loss.backward()
        return loss.detach()

    attached.hooks.backward([batch], backward)
    return seen[0].detach()


def passes_of(model: Any, methods: dict[str, Any], batch: Batch, updates: int = 1) -> tuple[list[float], list[Tensor]]:
    """Losses of some updates without a step between them, and the logits of all their passes."""
    logits: list[Tensor] = []
    handle = model.register_forward_hook(lambda _, args, output: logits.append(output.logits.detach()))
    context = context_of(batch)
    attached = Attached(model, compose(methods, model, context), context)
    losses = [float(attached.backward(batch)) for _ in range(updates)]
    attached.hooks.finish()
    handle.remove()
    return losses, logits


@pytest.mark.parametrize(("passes", "count"), [("paper", 3), ("fairseq", 4)])
def test_number_of_passes_and_their_mean(passes: str, count: int) -> None:
    batch = batch_of(3)
    method = FreeLB(steps=3, learning_rate=0.1, passes=passes)
    (loss,), logits = passes_of(still(tiny("bert")), {"freelb": method}, batch)
    assert len(logits) == count
    by_pass = [float(task_loss(z, batch["labels"])) for z in logits]
    assert loss == pytest.approx(sum(by_pass) / count, abs=1e-6)
    assert by_pass == sorted(by_pass), "the perturbation does not climb the loss"
    assert by_pass[-1] > by_pass[0] + 0.01


@pytest.mark.parametrize("magnitude", [0.0, 0.3])
def test_all_passes_of_an_update_have_the_same_dropout(magnitude: float) -> None:
    """Also the same noise of another technique; the next update has other masks: those that vanilla would have."""
    batch = batch_of(3)
    method = FreeLB(steps=3, learning_rate=0.0, init_magnitude=magnitude)
    hype = HyPe(scale=0.3, dropout=None)
    torch.manual_seed(1)
    _, logits = passes_of(tiny("bert").train(), {"freelb": method, "hype": hype}, batch, updates=2)
    first, second = logits[:3], logits[3:]
    assert len(second) == 3
    assert all(torch.equal(z, first[0]) for z in first)
    assert all(torch.equal(z, second[0]) for z in second)
    assert not torch.equal(first[0], second[0])
    if magnitude == 0:
        torch.manual_seed(1)
        _, vanilla = passes_of(tiny("bert").train(), {"hype": hype}, batch, updates=2)
        assert torch.equal(vanilla[0], first[0])


def test_dropout_of_the_next_update_is_that_of_vanilla() -> None:
    batch = batch_of(3)
    states = []
    for methods in ({"vanilla": Method()}, {"freelb": FreeLB(steps=3, init_magnitude=0.2)}):
        torch.manual_seed(1)
        passes_of(tiny("bert").train(), methods, batch, updates=2)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("method", [FreeLB(learning_rate=0.5), FreeLB(learning_rate=0.1, norm="linf", max_norm=0.15)])
def test_pieces_of_an_update_equal_the_whole_batch(method: FreeLB) -> None:
    """Gradient accumulation with pieces of 5 and 3 examples that count by their size."""
    batch = batch_of(3)
    updates = []
    for pieces in ([batch], cut(batch, 5)):
        model = still(tiny("bert"))
        hooks = compose({"freelb": method}, model, context_of(batch))
        loss = hooks.backward(pieces, weighing(model, hooks))
        updates.append((float(loss), gradients(model)))
        hooks.finish()
    assert updates[1][0] == pytest.approx(updates[0][0], abs=1e-6)
    assert_close(updates[1][1], updates[0][1], atol=1e-6)


def weighing(model: Any, hooks: Any) -> Any:
    """Forward and backward as the training loop has them: a piece counts by its examples."""

    def backward(pieces: list[Batch]) -> Tensor:
        whole, losses = sum(len(piece["labels"]) for piece in pieces), []
        for piece in pieces:
            loss = hooks.loss(piece, forward_of(model), objective)[0] * (len(piece["labels"]) / whole)
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    return backward


def test_every_piece_has_a_perturbation_of_its_own() -> None:
    """Drawn once an update, kept through its passes, another in the next update."""
    model, batch = still(tiny("bert")), batch_of(3)
    attached = attach(FreeLB(steps=3, init_magnitude=0.5), model, Recorder)
    for _ in range(2):
        attached.hooks.backward(cut(batch, 4), weighing(model, attached.hooks))
    draws = drawn(attached)
    assert [d.shape for d in draws] == [(4, 7, 32)] * 4
    assert len({float(d.sum()) for d in draws}) == 4


@pytest.mark.parametrize("method", METHODS[1::2], ids=["l2", "linf"])
@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_a_batch_is_its_examples_alone_and_padding_is_nothing(family: str, method: FreeLB) -> None:
    """Same noise at every token: a padded batch gives the mean of its examples alone, and a packed row too."""
    assert_mean_of_examples(family, method, atol=1e-6)
    if family == "bert":
        assert_packed_as_padded(method, atol=1e-6)
