"""What a technique is: a frozen dataclass of hyper-parameters and the few moments at which it acts.

A technique lives in one file of this folder. It is found there by its ``@register`` line, its fields are what a user
may set in ``conf/method/<name>.yaml``, and :meth:`Method.prepare` returns the :class:`Hooks` at which it acts on one
run. :func:`compose` nests several in the order in which they are named: the first named is outermost.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract.context import Batch, Context
from hype_bench.options import UserError, check_fields

Forward = Callable[[Batch], Any]  # a batch -> the model's output (.logits); runs the model once
Loss = Callable[[Batch, Forward], Tensor]  # a batch -> the scalar mean loss to be differentiated
Gradients = Callable[[list[Batch]], Tensor]  # the pieces of one update -> its loss; leaves gradients in .grad
Groups = list[dict[str, Any]]  # an optimizer's parameter groups


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The objective of plain fine-tuning: mean cross-entropy, or mean squared error of a regression.

    Args:
        logits: (batch, classes), or (batch, 1) for a regression.
        labels: (batch,), integers or, for a regression, floats.
    """
    if labels.is_floating_point():
        return F.mse_loss(full(logits).squeeze(-1), labels)
    return F.cross_entropy(full(logits), labels)


def full(x: Tensor) -> Tensor:
    """In float32, unless it is that or wider already: where half precision would not do."""
    return x.float() if x.dtype.itemsize < 4 else x


def objective(batch: Batch, forward: Forward) -> Tensor:
    """:func:`task_loss` of one pass: the innermost :data:`Loss`, which techniques stand around."""
    return task_loss(forward(batch).logits, batch["labels"])


def forward_of(model: Any) -> Forward:
    """Runs the model on a batch without showing it the labels."""
    return lambda batch: model(**{name: value for name, value in batch.items() if name != "labels"})


def with_output(loss: Loss, batch: Batch, forward: Forward) -> tuple[Tensor, Any]:
    """The loss of an objective and the model's output in the first pass it made."""
    passes: list[Any] = []

    def recording(inputs: Batch) -> Any:
        passes.append(forward(inputs))
        return passes[-1]

    return loss(batch, recording), passes[0]


def with_logits(loss: Loss, batch: Batch, forward: Forward) -> tuple[Tensor, Tensor]:
    """The loss of an objective and the logits of the first pass it made, (batch, outputs)."""
    value, output = with_output(loss, batch, forward)
    return value, output.logits


@dataclass(frozen=True)
class Hooks:
    """When a technique acts. What it leaves out is passed by.

    parameter_groups(groups): who gets which learning rate, decay or pull, before the optimizer exists.
    loss(batch, forward, next): around the objective; ``next(batch, forward)`` is what it wraps.
    gradients(pieces, next): around forward and backward of one update, which gradient accumulation cuts into
        pieces; ``next(pieces)`` leaves gradients in ``.grad``.
    before_step(optimizer): on gradients, after clipping and before the step.
    after_step(optimizer): on weights, after the step.
    finish(): before the last weights are scored.
    """

    parameter_groups: Callable[[Groups], Groups] = lambda groups: groups
    loss: Callable[[Batch, Forward, Loss], Tensor] = lambda batch, forward, next: next(batch, forward)
    gradients: Callable[[list[Batch], Gradients], Tensor] = lambda pieces, next: next(pieces)
    before_step: Callable[[Optimizer], None] = lambda optimizer: None
    after_step: Callable[[Optimizer], None] = lambda optimizer: None
    finish: Callable[[], None] = lambda: None


class Method:
    """Base of every technique. Subclasses are frozen dataclasses whose fields are the hyper-parameters.

    Their docstring is what the documentation says of them, see :func:`~hype_bench.contract.card.card_of`.

    Attributes:
        neutral: options with which it does nothing: the run then equals vanilla bit for bit. None if there are none,
            empty if it does nothing with any.
        moves_weights: whether ``prepare`` changes weights, so that what is named after it meets the changed ones.
        keeps_weights: whether ``prepare`` remembers the weights that it meets.
        wraps_weights: whether it puts other modules in their place, so that nothing may move weights after it.
    """

    neutral: ClassVar[Mapping[str, Any] | None] = None
    moves_weights: ClassVar[bool] = False
    keeps_weights: ClassVar[bool] = False
    wraps_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields("", self)

    @property
    def decides(self) -> frozenset[str]:
        """What it decides on alone, in words: two techniques that decide on the same thing cannot be combined."""
        return frozenset()

    def check(self, model: PreTrainedModel) -> None:
        """Asks whether the options fit the model: before a run leaves anything on disk, of a model on the meta device,
        and again before :meth:`prepare`.

        Raises:
            UserError: they do not; it names the option.
        """

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        """Acts once, before the optimizer exists, and returns the later hooks. Undo goes to ``context.cleanup``."""
        return Hooks()

    @contextlib.contextmanager
    def attached(self, model: PreTrainedModel, **context: Any) -> Iterator[Attached]:
        """For a training loop of one's own: the technique acts on the model within, and leaves it plain.

        Args:
            context: what a :class:`Context` holds, above all ``seed``; some techniques need ``updates`` or ``batches``.
        """
        with attach({type(self).__name__: self}, model, **context) as attached:
            yield attached


class Attached:
    """Techniques on a model in a training loop of one's own.

    ``loss`` gives what to differentiate in place of the task's loss; ``backward`` differentiates it and, with a
    technique that makes several passes over an update (SAM, FreeLB), is the only way to do so.
    """

    def __init__(self, model: PreTrainedModel, hooks: Hooks, context: Context) -> None:
        self.model, self.hooks, self.context = model, hooks, context
        self.parameter_groups, self.before_step = hooks.parameter_groups, hooks.before_step
        self.after_step = hooks.after_step

    def loss(self, batch: Batch) -> Tensor:
        """The scalar loss of a batch of keyword arguments of the model, ``labels`` among them."""
        return self.hooks.loss(batch, forward_of(self.model), objective)

    def backward(self, batch: Batch) -> Tensor:
        """Leaves the gradients of one update in ``.grad``; returns its loss."""

        def once(pieces: list[Batch]) -> Tensor:
            loss = self.loss(pieces[0])
            loss.backward()
            return loss.detach()

        return self.hooks.gradients([batch], once)


@contextlib.contextmanager
def attach(methods: Mapping[str, Method], model: PreTrainedModel, **context: Any) -> Iterator[Attached]:
    """:meth:`Method.attached` for several techniques, by name, the first named outermost."""
    shared = Context(**context)
    hooks = compose(methods, model, shared)
    try:
        yield Attached(model, hooks, shared)
    except BaseException:
        shared.cleanup.close()
        raise
    hooks.finish()
    shared.log_warnings()


def check_together(methods: Mapping[str, Method]) -> None:
    """Raises:
    UserError: two techniques decide on the same thing, or stand in an order that cannot work; it says which and why.
    """
    owners: dict[str, str] = {}
    wrapped = ""
    for name, method in methods.items():
        if wrapped and method.moves_weights:
            raise UserError(f"{name} must be named before {wrapped}, which wraps the weights that {name} moves")
        wrapped = name if method.wraps_weights else wrapped
        for what in sorted(method.decides):
            if what in owners:
                raise UserError(f"{owners[what]} and {name} cannot be combined: each decides on {what}")
            owners[what] = name


def check_fit(methods: Mapping[str, Method], model: PreTrainedModel) -> None:
    """Raises UserError if an option of a technique does not fit the model, see :meth:`Method.check`."""
    for name, method in methods.items():
        try:
            method.check(model)
        except UserError as error:
            raise error if name in str(error) else UserError(f"{name}: {error}") from None


def orders_that_matter(methods: Mapping[str, Method]) -> list[str]:
    """A sentence for every technique that moves weights beside one that keeps or moves them too."""
    names = list(methods)
    return [
        f"the order of {first} and {second} matters: {first} acts first, {second} on the weights that it leaves"
        for place, first in enumerate(names)
        for second in names[place + 1 :]
        if (methods[first].moves_weights and (methods[second].keeps_weights or methods[second].moves_weights))
        or (methods[first].keeps_weights and methods[second].moves_weights)
    ]  # fmt: skip


def compose(methods: Mapping[str, Method], model: PreTrainedModel, context: Context) -> Hooks:
    """Prepares the techniques in order and joins their moments; the first named is outermost.

    ``finish`` runs in reverse order, and then everything in ``context.cleanup``: a plain model is left.

    Raises:
        UserError: two techniques that cannot be combined, or an option that does not fit the model.
    """
    check_together(methods)
    check_fit(methods, model)
    for sentence in orders_that_matter(methods):
        context.warn(sentence)
    try:
        prepared = [method.prepare(model, context) for method in methods.values()]
    except BaseException:
        context.cleanup.close()  # what the first ones put on the model
        raise
    around = [hooks.gradients for hooks in prepared if hooks.gradients is not Hooks.gradients]
    return Hooks(
        parameter_groups=_pipe([hooks.parameter_groups for hooks in prepared]),
        loss=_nest([hooks.loss for hooks in prepared]),
        gradients=_nest(around) if around else Hooks.gradients,  # by which a host sees that nobody wants passes
        before_step=_each([hooks.before_step for hooks in prepared]),
        after_step=_each([hooks.after_step for hooks in prepared]),
        finish=_each([*(hooks.finish for hooks in prepared[::-1]), context.cleanup.close]),
    )


def _pipe(stages: list[Callable[[Groups], Groups]]) -> Callable[[Groups], Groups]:
    return lambda groups: functools.reduce(lambda value, stage: stage(value), stages, groups)


def _each(actions: list[Callable[..., None]]) -> Callable[..., None]:
    def run(*given: Any) -> None:
        for action in actions:
            action(*given)

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
