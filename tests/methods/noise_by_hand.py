"""For tests that write a technique out by hand: its draws, batches of unequal lengths, and passes without a hook."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.attach import Attached
from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.noise import NoiseSource
from hype_bench.contract.objective import Batch
from hype_bench.models.attention import Packing
from hype_bench.models.layers import encoder_layers
from hype_bench.models.packing import attach_packing
from hype_bench.testing.tiny import still, tiny, train

LENGTHS = (5, 3, 7, 4)
Change = Callable[[Tensor], Tensor]
ByHand = Callable[[Any, Iterator[Tensor], dict[str, Any]], Tensor]  # (model, draws, facts) -> loss; leaves gradients


class Recorder(NoiseSource):
    """Keeps what it drew, in order."""

    def __init__(self, seed: int, name: str) -> None:
        super().__init__(seed, name)
        self.drawn: list[Tensor] = []

    def normal(self, like: Tensor, site: str) -> Tensor:
        self.drawn.append(super().normal(like, site))
        return self.drawn[-1]

    def uniform(self, like: Tensor, site: str) -> Tensor:
        self.drawn.append(super().uniform(like, site))
        return self.drawn[-1]


class Wave(NoiseSource):
    """The same numbers at every token: an example gets the same noise alone, in a batch and in a packed row."""

    def normal(self, like: Tensor, site: str) -> Tensor:
        wave = torch.cos(0.7 * torch.arange(like.shape[-1], dtype=torch.float64) + self.forward)
        return wave.to(like.dtype).expand(like.shape).clone()

    def uniform(self, like: Tensor, site: str) -> Tensor:
        return (1 + self.normal(like, site)) / 2


def attach(method: Method, model: Any, kind: type[NoiseSource] = Recorder, seed: int = 3) -> Attached:
    """The technique on the model, with a noise source of this kind."""
    context = Context(seed=seed)

    def noise(name: str, of: Any = None) -> NoiseSource:
        source = kind(context.seed, name)
        context.sources.append(source)
        if of is not None:
            context.until_finish(of.register_forward_pre_hook(source.watch))
        return source

    context.noise = noise  # type: ignore[method-assign, assignment]
    return Attached(model, compose({"method": method}, model, context), context)


def drawn(attached: Attached) -> list[Tensor]:
    """All that a :class:`Recorder` drew."""
    (source,) = attached.context.sources
    return source.drawn  # type: ignore[attr-defined]


def unequal(outputs: int = 3, family: str = "bert", lengths: Sequence[int] = LENGTHS, padding: int = 9) -> Batch:
    """A padded batch, left for XLNet; padding is a token like any other, so that only the mask shows it."""
    generator, longest = torch.Generator().manual_seed(2), max(lengths)
    ids, mask = torch.full((len(lengths), longest), padding), torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        own = slice(longest - length, None) if family == "xlnet" else slice(length)
        ids[row, own] = torch.randint(10, 60, (length,), generator=generator)
        mask[row, own] = 1
    labels = torch.arange(len(lengths)) % outputs if outputs > 1 else torch.arange(len(lengths)) / 2
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def packed(batch: Batch) -> Batch:
    """The same examples in one row; the model needs ``attach_packing``."""
    lengths = batch["attention_mask"].sum(1).tolist()
    return {
        "input_ids": batch["input_ids"][batch["attention_mask"].bool()][None],
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "packing": Packing.of(lengths),
        "labels": batch["labels"],
    }


def alone(batch: Batch, index: int) -> Batch:
    """One example of a padded batch, without padding."""
    own = batch["attention_mask"][index].bool()
    one = {name: value[index][own][None] for name, value in batch.items() if name != "labels"}
    return one | {"labels": batch["labels"][index : index + 1]}


def embedded_pass(model: Any, batch: Batch, noise: Tensor, detach: bool = False) -> Tensor:
    """Logits of a pass with ``noise`` on the word embeddings, (batch, length, width)."""
    embedded = model.get_input_embeddings()(batch["input_ids"])
    inputs = (embedded.detach() if detach else embedded) + noise
    return model(inputs_embeds=inputs, attention_mask=batch["attention_mask"]).logits


def layered_pass(
    model: Any, batch: Batch, into: Mapping[int, Change] | None = None, out_of: Mapping[int, Change] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Logits and every layer's output of a pass in which the inputs or outputs of some layers are changed.

    Without hooks: each layer's ``forward`` is another function meanwhile.
    """
    states: list[Tensor] = []
    layers = encoder_layers(model)

    def around(inner: Callable[..., Any], before: Change, after: Change) -> Callable[..., Any]:
        def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            output = inner(before(hidden), *args, **kwargs)
            states.append(after(output[0] if isinstance(output, tuple) else output))
            return (states[-1], *output[1:]) if isinstance(output, tuple) else states[-1]

        return forward

    for index, layer in enumerate(layers):
        layer.forward = around(layer.forward, (into or {}).get(index, same), (out_of or {}).get(index, same))
    logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    for layer in layers:
        del layer.forward
    return logits, states


def same(hidden: Tensor) -> Tensor:
    return hidden


def train_by_hand(model: Any, count: int, update: Callable[[], Tensor]) -> list[float]:
    """Losses of updates with the optimizer of ``tiny.train``; ``update`` leaves gradients and returns the loss."""
    optimizer, losses = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.01), list[float]()
    for _ in range(count):
        losses.append(update().item())
        optimizer.step()
        optimizer.zero_grad()
    return losses


def gradients(model: Any) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], atol: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=atol, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


def assert_unrelated(first: Tensor, second: Tensor) -> None:
    """The correlation of two samples is within four standard errors of 0."""
    correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert abs(float(correlation)) < 4 / first.numel() ** 0.5


def assert_normal(samples: Sequence[Tensor], std: float) -> None:
    """The first: a million draws from N(0, std^2); the others, of other updates and seeds, are unrelated to it."""
    first, *others = samples
    assert first.numel() == 10**6
    assert abs(float(first.mean())) < 4 * std / 1000
    assert float(first.std()) == pytest.approx(std, rel=0.005)
    assert float((first.abs() < std).double().mean()) == pytest.approx(0.6827, abs=0.002)
    assert float((first / std).pow(4).mean()) == pytest.approx(3, abs=0.05)
    for other in others:
        assert_unrelated(first, other)


def assert_uniform(samples: Sequence[Tensor]) -> None:
    """The first: a million draws from U(-1, 1); the others, of other updates and seeds, are unrelated to it."""
    first, *others = samples
    assert first.numel() == 10**6
    assert abs(float(first.mean())) < 4 * 3**-0.5 / 1000
    assert float(first.var()) == pytest.approx(1 / 3, rel=0.005)
    for other in others:
        assert_unrelated(first, other)


def entered(method: Method, model: Any, layer: int, batch: Batch, updates: int = 1, seed: int = 3) -> list[Tensor]:
    """What goes into a layer in every pass of some updates."""
    attached, inputs = attach(method, model, seed=seed), list[Tensor]()
    handle = encoder_layers(model)[layer].register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
    for _ in range(updates):
        attached.loss(batch)
    handle.remove()
    attached.hooks.finish()
    return inputs


def assert_as_by_hand(
    method: Method,
    family: str,
    batch: Batch,
    by_hand: ByHand,
    *,
    loss: float,
    gradient: float,
    losses: float,
    weights: float,
) -> None:
    """Loss and gradients, then losses and weights after one and three updates; of each its absolute tolerance."""
    outputs = 1 if batch["labels"].is_floating_point() else 3
    model, reference = still(tiny(family, outputs)), still(tiny(family, outputs))
    attached = attach(method, model)
    measured = attached.backward(batch).item()
    draws = iter(drawn(attached))
    assert measured == pytest.approx(by_hand(reference, draws, attached.context.facts).item(), abs=loss)
    assert next(draws, None) is None
    assert_close(gradients(model), gradients(reference), atol=gradient)
    for count in (1, 3):
        model, reference = still(tiny(family, outputs)), still(tiny(family, outputs))
        attached = attach(method, model)
        all_found = list(train(model, attached.hooks, batch, count))
        draws = iter(drawn(attached))
        expected = train_by_hand(reference, count, partial(by_hand, reference, draws, attached.context.facts))
        assert all_found == pytest.approx(expected, abs=losses)
        assert next(draws, None) is None
        attached.hooks.finish()
        assert_close(model.state_dict(), reference.state_dict(), atol=weights)


def update_of(family: str, method: Method, batch: Batch) -> dict[str, Tensor]:
    """The ``loss`` of an update with the same noise at every token, and the gradients by name."""
    model = still(tiny(family))
    if "packing" in batch:
        attach_packing(model)
    attached = attach(method, model, Wave)
    loss = attached.backward(batch)
    attached.hooks.finish()
    return gradients(model) | {"loss": loss}


def assert_mean_of_examples(family: str, method: Method, atol: float) -> None:
    """An update of a padded batch is the mean of updates of its examples alone; what pads it is nothing."""
    batch = unequal(3, family)
    whole = update_of(family, method, batch)
    assert_close(update_of(family, method, unequal(3, family, padding=33)), whole, atol=0)
    examples = [update_of(family, method, alone(batch, index)) for index in range(4)]
    assert_close({name: sum(one[name] for one in examples) / 4 for name in whole}, whole, atol)


def assert_packed_as_padded(method: Method, atol: float) -> None:
    """An update of a packed row is that of the padded batch."""
    assert_close(update_of("bert", method, packed(unequal())), update_of("bert", method, unequal()), atol)


class Table(torch.nn.Module):
    """A model that is a table of zeros: its output is what is added to the word embeddings."""

    def __init__(self, width: int, family: str = "bert") -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type=family)
        self.table = torch.nn.Embedding.from_pretrained(torch.zeros(70, width, dtype=torch.float64), freeze=False)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.table

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        return SimpleNamespace(logits=self.table(input_ids.t() if self.config.model_type == "xlnet" else input_ids))


class Stack(torch.nn.Module):
    """An encoder of linear layers; ``hidden`` goes in, the mean of each example's entries comes out as logits."""

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type="bert", num_hidden_layers=len(matrices))
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a.shape[1], a.shape[0], bias=False) for a in matrices)
        for layer, matrix in zip(self.layers, matrices, strict=True):
            layer.weight = torch.nn.Parameter(matrix.clone())

    @property
    def base_model(self) -> Stack:
        return self

    def forward(self, hidden: Tensor, **_: Any) -> Any:
        for layer in self.layers:
            hidden = layer(hidden)
        return SimpleNamespace(logits=hidden.mean((1, 2))[:, None] * torch.tensor([1.0, -1.0]))
