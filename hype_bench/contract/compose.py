"""Several techniques on one model: whether they go together, and their hooks as one."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract.context import Context
from hype_bench.contract.method import Backward, Groups, Hooks, Method, Weights
from hype_bench.contract.objective import Batch, Forward, Loss, objective, with_criterion
from hype_bench.contract.parts import Part
from hype_bench.contract.plain import refuse_saving
from hype_bench.contract.state import restore, state_of
from hype_bench.models.packing import check_every_token, compute_every_token
from hype_bench.options import UserError

T = TypeVar("T")


class Composed:
    """The hooks of several techniques as a host calls them, the first named outermost.

    Attributes:
        has_loss: whether a technique acts on the loss.
        has_backward: whether a technique makes several backward passes an update, and needs the update as a whole.
        criterion: what a technique puts in place of cross-entropy, if one does.
        regression_criterion: what one puts in place of the mean squared error.
        capturable: whether all of them can be captured in a CUDA graph.
        phases: how often a run goes through its schedule.
    """

    def __init__(
        self,
        hooks: Sequence[Hooks] = (),
        cleanup: contextlib.ExitStack | None = None,
        unscaled: Callable[[Backward], contextlib.AbstractContextManager[Backward]] = contextlib.nullcontext,
        capturable: bool = False,
        phases: int = 1,
    ) -> None:
        self._hooks, self._cleanup, self._unscaled = hooks, cleanup or contextlib.ExitStack(), unscaled
        self.capturable, self.phases = capturable, phases
        self.criterion = next(iter(_present(technique.criterion for technique in hooks)), None)
        self.regression_criterion = next(iter(_present(t.regression_criterion for t in hooks)), None)
        self.has_loss = any(self.acts_at("loss"))
        self.has_backward = any(technique.backward for technique in hooks)

    def acts_at(self, moment: str) -> list[bool]:
        """For every technique, whether it has the hook of this name; a criterion is a loss."""
        names = ("loss", "criterion", "regression_criterion") if moment == "loss" else (moment,)
        return [any(getattr(technique, name) is not None for name in names) for technique in self._hooks]

    def parameter_groups(self, groups: Groups) -> Groups:
        for change in _present(technique.parameter_groups for technique in self._hooks):
            groups = change(groups)
        return groups

    def loss(self, batch: Batch, forward: Forward, innermost: Loss = objective) -> tuple[Tensor, Any]:
        """The scalar to be differentiated, and the model's output in the first pass.

        Args:
            innermost: the host's loss, which the criterion of a technique replaces.
        """
        innermost = with_criterion(self.criterion, self.regression_criterion, innermost)
        return _nest(_present(technique.loss for technique in self._hooks), innermost)(batch, forward)

    def backward(self, micro_batches: list[Batch], innermost: Backward) -> Tensor:
        """Leaves the gradients of one update in ``.grad``; returns its loss.

        Whatever the precision, techniques meet them without a loss scale, see :class:`LossScale`.
        """
        if not self.has_backward:
            return innermost(micro_batches)
        with self._unscaled(innermost) as inner:
            return _nest(_present(technique.backward for technique in self._hooks), inner)(micro_batches)

    def before_step(self, optimizer: Optimizer) -> None:
        for act in _present(technique.before_step for technique in self._hooks):
            act(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        for act in _present(technique.after_step for technique in self._hooks):
            act(optimizer)

    def next_phase(self, optimizer: Optimizer) -> None:
        for act in _present(technique.next_phase for technique in self._hooks):
            act(optimizer)

    @contextlib.contextmanager
    def scored_weights(self, model: nn.Module) -> Iterator[None]:
        """Within, the model has the weights that :meth:`finish` would leave."""
        if not (acts := self._finishing()):
            yield
            return
        before = [(p.data, p.detach().clone()) for p in model.parameters()]
        for act in acts:
            act()
        try:
            yield
        finally:
            for weight, old in before:
                weight.copy_(old)

    @property
    def changes_scored_weights(self) -> bool:
        """Whether the weights that are scored are others than those that are trained."""
        return bool(self._finishing())

    @property
    def adds_weights(self) -> bool:
        """Whether the model has parameters of a technique's until the end."""
        return any(technique.plain_weights for technique in self._hooks)

    def plain_weights(self, weights: Weights) -> Weights:
        """The model's state_dict as that of the plain model that the end of the run would leave."""
        for merge in _present(technique.plain_weights for technique in reversed(self._hooks)):
            weights = merge(weights)
        return weights

    def state(self, model: nn.Module) -> list[Any]:
        """What the techniques keep, see :mod:`hype_bench.contract.state`."""
        return state_of(self._hooks, model)

    def restore(self, state: list[Any], model: nn.Module) -> None:
        """Puts the :meth:`state` of an earlier run of the same techniques in the place of this one's."""
        restore(self._hooks, model, state)

    def finish(self) -> None:
        """The last named first, and then everything in ``context.cleanup``: a plain model is left, or one unmerged."""
        for act in self._finishing():
            act()
        self._cleanup.close()

    def _finishing(self) -> list[Callable[[], None]]:
        return _present(technique.finish for technique in reversed(self._hooks))


def phases_of(methods: Mapping[str, Method]) -> int:
    """How often a run with these techniques goes through its schedule."""
    return max((method.phases for method in methods.values()), default=1)


def compose(methods: Mapping[str, Method], model: PreTrainedModel, context: Context) -> Composed:
    """Prepares the techniques in order and joins their hooks.

    Raises:
        UserError: two techniques that cannot be combined, or an option that does not fit the model.
    """
    check_together(methods)
    check_fit(methods, model)
    for sentence in orders_that_matter(methods):
        context.warn(sentence)
    try:
        if any(method.needs_every_token for method in methods.values()):
            context.cleanup.callback(compute_every_token(model))
        prepared = [method.prepare(model, context) for method in methods.values()]
        refuse_saving(methods, model)
    except BaseException:
        context.cleanup.close()  # what the first ones put on the model
        raise
    unscaled = functools.partial(context.unscaled_passes, model)
    capturable = all(method.capturable for method in methods.values())
    return Composed(prepared, context.cleanup, unscaled, capturable, phases_of(methods))


def check_together(methods: Mapping[str, Method]) -> None:
    """Raises:
    UserError: two techniques decide on the same thing, or stand in an order that cannot work; it says which and why.
    """
    owners: dict[Enum, str] = {}
    wrapped = ""
    _check_pairs(methods)
    for name, method in methods.items():
        if wrapped and method.moves_weights:
            raise UserError(f"{name} must be named before {wrapped}, which wraps the weights that {name} moves")
        wrapped = name if method.wraps_weights else wrapped
        for what in sorted(method.exclusive, key=_in_words):
            if what in owners:
                raise UserError(f"{owners[what]} and {name} cannot be combined: each decides on {what.value}")
            owners[what] = name


def _check_pairs(methods: Mapping[str, Method]) -> None:
    for (one, first), (other, second) in itertools.permutations(methods.items(), 2):
        if not (first.takes_regression or second.takes_classes):
            raise UserError(f"{one} and {other} cannot be combined: one needs classes, the other a regression")
        if first.reads_features and second.replaces_head:
            raise UserError(f"{one} and {other} cannot be combined: one acts on the head that the other replaces")


def _in_words(what: Enum) -> str:
    if not isinstance(what, Enum):
        raise TypeError(f"{what!r} among what a technique decides on is no member of an Enum such as Exclusive")
    return str(what.value)


def check_fit(methods: Mapping[str, Method], model: PreTrainedModel) -> None:
    """Raises UserError if an option of a technique does not fit the model, see :meth:`Method.check`."""
    for name, method in methods.items():
        try:
            if not method.takes_regression and model.config.num_labels == 1:
                raise UserError(f"{name} needs classes: it is not available for a regression")
            if not method.takes_classes and model.config.num_labels != 1:
                raise UserError(f"{name} needs a regression: it is not available for classes")
            if method.needs_every_token:
                check_every_token(model)
            method.check(model)
        except UserError as error:
            raise error if name in str(error) else UserError(f"{name}: {error}") from None


def orders_that_matter(methods: Mapping[str, Method]) -> list[str]:
    """A sentence for every technique that moves weights beside one that reads or moves them too."""
    beside = {name: method for name, method in methods.items() if Part.INITIAL_WEIGHTS in method.acts_on}
    return [
        f"the order of {first} and {second} matters: {first} acts first, {second} on the weights that it leaves"
        for first, second in itertools.combinations(beside, 2)
        if beside[first].moves_weights or beside[second].moves_weights
    ]


def _present(hooks: Iterable[T | None]) -> list[T]:
    return [hook for hook in hooks if hook is not None]


def _nest(layers: list[Callable[..., T]], innermost: Callable[..., T]) -> Callable[..., T]:
    """One function around another: each layer gets, as its last argument, what it wraps."""
    return functools.reduce(lambda inner, layer: lambda *given: layer(*given, inner), reversed(layers), innermost)
