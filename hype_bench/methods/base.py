"""What a technique is: a frozen dataclass of hyper-parameters and the few moments at which it acts.

A technique lives in one file of this folder. It is found there by its ``@register`` line, its fields are what a user
may set in ``conf/method/<name>.yaml``, and :meth:`Method.prepare` returns the :class:`Moments` at which it acts on one
run. :func:`compose` nests several in the order in which they are named: the first named is outermost.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.options import check_fields

Batch = dict[str, Any]  # keyword arguments of the model's forward call, "labels" among them
Forward = Callable[[Batch], Any]  # a batch -> the model's output (.logits); runs the model once
Loss = Callable[[Batch, Forward], Tensor]  # a batch -> the scalar mean loss to be differentiated
Gradients = Callable[[list[Batch]], Tensor]  # the pieces of one update -> its loss; leaves gradients in .grad
Groups = list[dict[str, Any]]  # an optimizer's parameter groups


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The objective of plain fine-tuning, in float32: mean cross-entropy, or mean squared error of a regression.

    Args:
        logits: (batch, classes), or (batch, 1) for a regression.
        labels: (batch,), integers or, for a regression, floats.
    """
    if labels.is_floating_point():
        return F.mse_loss(logits.float().squeeze(-1), labels)
    return F.cross_entropy(logits.float(), labels)


def with_logits(objective: Loss, batch: Batch, forward: Forward) -> tuple[Tensor, Tensor]:
    """The loss of an objective and the logits of the first pass it made, (batch, outputs)."""
    passes: list[Tensor] = []

    def recording(inputs: Batch) -> Any:
        output = forward(inputs)
        passes.append(output.logits)
        return output

    loss = objective(batch, recording)
    return loss, passes[0]


class NoiseSource:
    """Random tensors of a technique's own, as a function of (seed, forward pass, site) and of nothing else.

    Data order and head are thus the same for every technique, and a forward pass that gradient checkpointing runs
    again draws what it drew before (:meth:`Context.checkpointed`). :meth:`next_forward` is called once for every run
    of the model.
    """

    def __init__(self, seed: int, name: str) -> None:
        self.key = f"{seed}/{name}"
        self.forward = 0

    def next_forward(self, *_: object) -> None:
        self.forward += 1

    def generator(self, site: str, device: torch.device) -> torch.Generator:
        digest = hashlib.blake2b(f"{self.key}/{self.forward}/{site}".encode(), digest_size=8).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest, "little", signed=True))

    def normal(self, like: Tensor, site: str) -> Tensor:
        """N(0, 1) in the shape, dtype and device of ``like``."""
        return torch.empty_like(like).normal_(generator=self.generator(site, like.device))

    def draw(self, like: Tensor, site: str, distribution: str) -> Tensor:
        """:meth:`normal` or :meth:`uniform`, by name."""
        return self.normal(like, site) if distribution == "normal" else self.uniform(like, site)

    def uniform(self, like: Tensor, site: str) -> Tensor:
        """U[0, 1) in the shape, dtype and device of ``like``."""
        return torch.empty_like(like).uniform_(generator=self.generator(site, like.device))


@dataclass
class Context:
    """What a technique may know of the run it acts on, and where it leaves what the record should say.

    Attributes:
        seed: the run's seed; randomness comes from :meth:`noise`, never from torch's own generator.
        precision: fp32, tf32, bf16 or fp16.
        facts: numbers for the record, such as a measured fraction.
        warnings: sentences for the record and the user; each is said once.
        cleanup: what undoes the technique; run in reverse order when the run ends.
        sources: every noise source handed out.
        hidden_noise: whether noise on hidden states acts now, see :meth:`without_hidden_noise`.
    """

    seed: int = 0
    precision: str = "fp32"
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    cleanup: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    hidden_noise: bool = True
    sources: list[NoiseSource] = field(default_factory=list)

    def noise(self, name: str) -> NoiseSource:
        self.sources.append(NoiseSource(self.seed, name))
        return self.sources[-1]

    @contextlib.contextmanager
    def without_hidden_noise(self) -> Iterator[None]:
        """Silences techniques that add noise to hidden states, for a pass that another technique wants clean."""
        before, self.hidden_noise = self.hidden_noise, False
        try:
            yield
        finally:
            self.hidden_noise = before

    def checkpointed(self) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
        """``context_fn`` of ``torch.utils.checkpoint``: what is run again in the backward pass sees the state of its
        own forward pass, also when the objective has made another pass meanwhile."""
        then = self._state()

        @contextlib.contextmanager
        def as_it_was() -> Iterator[None]:
            now = self._state()
            self._restore(*then)
            try:
                yield
            finally:
                self._restore(*now)

        return contextlib.nullcontext(), as_it_was()

    def _state(self) -> tuple[bool, list[int]]:
        return self.hidden_noise, [source.forward for source in self.sources]

    def _restore(self, hidden_noise: bool, forwards: list[int]) -> None:
        self.hidden_noise = hidden_noise
        for source, forward in zip(self.sources, forwards, strict=True):
            source.forward = forward

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)


@dataclass(frozen=True)
class Moments:
    """When a technique acts. What it leaves out is passed by.

    parameter_groups(groups): who gets which learning rate, decay or pull, before the optimizer exists.
    loss(batch, forward, next): around the objective; ``next(batch, forward)`` is what it wraps.
    gradients(pieces, next): around forward and backward of one update, which gradient accumulation cuts into
        pieces; ``next(pieces)`` leaves gradients in ``.grad``.
    after_backward(): on gradients, after clipping and before the step.
    after_step(): on weights, after the step.
    finish(): before the last weights are scored.
    """

    parameter_groups: Callable[[Groups], Groups] = lambda groups: groups
    loss: Callable[[Batch, Forward, Loss], Tensor] = lambda batch, forward, next: next(batch, forward)
    gradients: Callable[[list[Batch], Gradients], Tensor] = lambda pieces, next: next(pieces)
    after_backward: Callable[[], None] = lambda: None
    after_step: Callable[[], None] = lambda: None
    finish: Callable[[], None] = lambda: None


class Method:
    """Base of every technique. Subclasses are frozen dataclasses whose fields are the hyper-parameters."""

    sets_dropout: ClassVar[bool] = False  # whether the technique decides on the hidden dropout

    def __post_init__(self) -> None:
        check_fields("", self)

    def prepare(self, model: PreTrainedModel, context: Context) -> Moments:
        """Acts once, before the optimizer exists, and returns the later moments. Undo goes to ``context.cleanup``."""
        return Moments()


def compose(methods: Iterable[Method], model: PreTrainedModel, context: Context) -> Moments:
    """Prepares the techniques in order and joins their moments; the first named is outermost.

    ``finish`` runs in reverse order, and then everything in ``context.cleanup``: a plain model is left.
    """
    prepared = [method.prepare(model, context) for method in methods]
    return Moments(
        parameter_groups=_pipe([moments.parameter_groups for moments in prepared]),
        loss=_nest([moments.loss for moments in prepared]),
        gradients=_nest([moments.gradients for moments in prepared]),
        after_backward=_each([moments.after_backward for moments in prepared]),
        after_step=_each([moments.after_step for moments in prepared]),
        finish=_each([*(moments.finish for moments in prepared[::-1]), context.cleanup.close]),
    )


def _pipe(stages: list[Callable[[Groups], Groups]]) -> Callable[[Groups], Groups]:
    return lambda groups: functools.reduce(lambda value, stage: stage(value), stages, groups)


def _each(actions: list[Callable[[], None]]) -> Callable[[], None]:
    def run() -> None:
        for action in actions:
            action()

    return run


def _nest(layers: list[Callable[..., Tensor]]) -> Callable[..., Tensor]:
    """One function around another: each layer gets, as its last argument, what it wraps."""

    def nested(*arguments: Any) -> Tensor:
        *given, innermost = arguments
        for layer in reversed(layers):
            innermost = functools.partial(_call_around, layer, innermost)
        return innermost(*given)  # type: ignore[no-any-return]

    return nested


def _call_around(layer: Callable[..., Tensor], inner: Callable[..., Tensor], *given: Any) -> Tensor:
    return layer(*given, inner)
