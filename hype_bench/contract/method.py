"""What a technique is: a frozen dataclass of hyper-parameters and the hooks by which it acts on a run.

A technique is found by its ``@register`` line, its fields are what a user may set in ``conf/method/<name>.yaml``, and
:meth:`Method.prepare` returns its :class:`Hooks` for one run. :func:`~hype_bench.contract.compose.compose` nests them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract.context import Context
from hype_bench.contract.objective import Batch, Criterion, Forward, Loss
from hype_bench.contract.parts import Part
from hype_bench.options import check_fields

if TYPE_CHECKING:
    from hype_bench.contract.attach import Attached

Backward = Callable[[list[Batch]], Tensor]  # the micro-batches of one update -> its loss; leaves gradients in .grad
Groups = list[dict[str, Any]]  # an optimizer's parameter groups
Weights = dict[str, Tensor]  # a model's state_dict


@dataclass(frozen=True)
class Hooks:
    """When a technique acts; None where it does not.

    criterion(logits, labels): in place of cross-entropy as the task's loss of classes; innermost wherever it is named.
        A regression keeps its mean squared error.
    regression_criterion(logits, labels): in place of that error, likewise.
    parameter_groups(groups): who gets which learning rate, decay or pull, before the optimizer exists.
    loss(batch, forward, next): around the objective; ``next(batch, forward)`` is what it wraps. Returns the loss and
        the model's output in the first pass, without perturbations of the technique's.
    backward(micro_batches, next): around forward and backward of one update, which gradient accumulation cuts into
        micro-batches; ``next(micro_batches)`` leaves gradients in ``.grad``.
    before_step(optimizer): on gradients, after clipping and before the step.
    after_step(optimizer): on weights, after the step.
    next_phase(optimizer): between two phases of a run, of a technique that asks for more than one.
    finish(): before weights are scored: the last, and others where a host scores them on the way and puts them back.
    plain_weights(weights): of a technique that puts parameters of its own in the model, the model's state_dict as that
        of the plain model which the end of the run leaves: for checkpoints on the way.
    """

    criterion: Criterion | None = None
    regression_criterion: Criterion | None = None
    parameter_groups: Callable[[Groups], Groups] | None = None
    loss: Callable[[Batch, Forward, Loss], tuple[Tensor, Any]] | None = None
    backward: Callable[[list[Batch], Backward], Tensor] | None = None
    before_step: Callable[[Optimizer], None] | None = None
    after_step: Callable[[Optimizer], None] | None = None
    next_phase: Callable[[Optimizer], None] | None = None
    finish: Callable[[], None] | None = None
    plain_weights: Callable[[Weights], Weights] | None = None

    @classmethod
    def of(cls, state: object) -> Hooks:
        """The methods of these names of an object that holds what a technique keeps during a run.

        Raises:
            TypeError: it has another public method, which nobody would call.
        """
        names = {field.name for field in fields(cls)}
        methods = {name for name in dir(type(state)) if not name.startswith("_") and callable(getattr(state, name))}
        if unknown := methods - names:
            raise TypeError(f"{type(state).__name__}.{min(unknown)} is no hook; there are {', '.join(sorted(names))}")
        return cls(**{name: getattr(state, name) for name in methods})


class Method:
    """Base of every technique. Subclasses are frozen dataclasses whose fields are the hyper-parameters.

    Their docstring is what the documentation says of them, see :func:`~hype_bench.contract.card.card_of`.

    Attributes:
        neutral: options with which it does nothing: the run then equals vanilla bit for bit. None if there are none,
            empty if it does nothing with any.
        moves_weights: whether ``prepare`` changes weights, so that what is named after it meets the changed ones.
        takes_regression: whether it is defined where labels are numbers; if not, it is refused there.
        takes_classes: whether it is defined where labels are classes, likewise.
        unmerged: what stays in the model after the run and cannot be merged, in words such as ``adapters beside the
            feed-forward blocks``: that model is scored, but not saved. Empty if a plain model is left.
        wraps_weights: whether it puts other modules in their place, so that nothing may move weights after it.
        reads_features: whether it acts on what the output projection reads.
        replaces_head: whether nothing depends on what that projection reads: beside those techniques it is refused.
        per_example: whether it reads one label an example; tasks of tokens, answers or several labels have none.
        resumable: whether a checkpoint can hold all that it keeps, see :mod:`hype_bench.contract.state`.
        version: of a plug-in's technique, raised when its numbers change: old records are then other runs.
        tiny_options: options with which its effect shows in a test of three layers and a dozen updates.
    """

    neutral: ClassVar[Mapping[str, Any] | None] = None
    moves_weights: ClassVar[bool] = False
    takes_regression: ClassVar[bool] = True
    takes_classes: ClassVar[bool] = True
    unmerged: ClassVar[str] = ""
    wraps_weights: ClassVar[bool] = False
    reads_features: ClassVar[bool] = False
    replaces_head: ClassVar[bool] = False
    per_example: ClassVar[bool] = False
    resumable: ClassVar[bool] = True
    version: ClassVar[int] = 1
    tiny_options: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        check_fields("", self)

    @property
    def exclusive(self) -> frozenset[Enum]:
        """What it decides on alone, members of :class:`Exclusive`: a class attribute, or a property where options
        decide. Two techniques that share a member cannot be combined."""
        return frozenset()

    @property
    def acts_on(self) -> frozenset[Part]:
        """The parts of a run on which it acts: a class attribute, or a property where options decide; all of them
        unless a subclass says which. Beside a technique that acts on other parts its order has no effect."""
        return frozenset(Part)

    @property
    def phases(self) -> int:
        """How often the run goes through its schedule, each time with all of its updates: warm-up and decay start
        anew, and the updates of all phases count."""
        return 1

    @property
    def needs_every_token(self) -> bool:
        """Whether it reads what the top layer puts out, of which a packed row has first tokens only otherwise."""
        return False

    @property
    def capturable(self) -> bool:
        """Whether its part of forward and backward can be captured in a CUDA graph: a class attribute, or a property
        where options decide. It then launches the same kernels at every update, reads nothing back, draws from its
        :class:`NoiseSource` alone, and does not care for tokens that belong to no example."""
        return False

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
    def attached(self, model: Any, **context: Any) -> Iterator[Attached]:
        """For a training loop of one's own: the technique acts on the model within, and leaves it plain unless
        something of it is :attr:`unmerged`.

        Args:
            model: a ``transformers`` model, or what others put around it, see :func:`~hype_bench.contract.attach`.
            context: what a :class:`Context` holds, above all ``seed``; some techniques need ``updates``, ``batches`` or
                ``tokenizer``. ``objective`` is a loss of one's own.
        """
        from hype_bench.contract.attach import attach  # stands above this module

        with attach({type(self).__name__: self}, model, **context) as attached:
            yield attached
