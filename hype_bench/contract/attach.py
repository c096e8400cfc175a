"""Techniques in a training loop of one's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hype_bench.contract.checkpointing import checkpoint_exactly
from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Groups, Method
from hype_bench.contract.objective import Batch, Forward, Loss, forward_of, objective
from hype_bench.contract.rows import check_labels, for_techniques, forward_in_rows, own_loss
from hype_bench.models.unwrapped import is_compiled, unwrapped

_CALLS = {
    "loss": "loss(batch) in place of the model's loss",
    "backward": "backward(batch) in place of loss.backward()",
    "parameter_groups": "parameter_groups(groups) for the optimizer",
    "before_step": "before_step(optimizer)",
    "after_step": "after_step(optimizer)",
    "next_phase": "next_phase(optimizer) between two phases",
}


class Attached:
    """Techniques on a model in a training loop of one's own.

    ``loss`` gives what to differentiate in place of the task's loss; ``backward`` differentiates it and, with a
    technique that makes several passes over an update (SAM, FreeLB), is the only way to do so.

    In fp16, give ``scaler=`` where they are attached: ``backward`` leaves gradients for its ``unscale_``, and an update
    whose gradients are not finite then goes without ``before_step`` and ``after_step``.
    """

    def __init__(
        self,
        model: Any,
        hooks: Composed,
        context: Context,
        objective: Loss = objective,
        forward: Forward | None = None,
        read: Callable[[Batch], Batch] = lambda batch: batch,
    ) -> None:
        self.model, self.hooks, self.context = model, hooks, context
        self._objective, self._forward, self._read = objective, forward or forward_of(model), read
        self.called: set[str] = set()  # of _CALLS

    def loss(self, batch: Batch) -> Tensor:
        """The scalar loss of a batch of keyword arguments of the model, its labels among them."""
        self.called.add("loss")
        return self.hooks.loss(self._read(batch), self._forward, self._objective)[0]

    def backward(self, batch: Batch) -> Tensor:
        """Leaves the gradients of one update in ``.grad``; returns its loss."""
        self.called |= {"loss", "backward"}

        def once(micro_batches: list[Batch]) -> Tensor:
            loss = self.loss(micro_batches[0])
            self.context.scaled(loss).backward()
            return loss.detach()

        return self.hooks.backward([batch], once)

    def parameter_groups(self, groups: Groups) -> Groups:
        """The optimizer's, as techniques want them."""
        self.called.add("parameter_groups")
        return self.hooks.parameter_groups(groups)

    def before_step(self, optimizer: Optimizer) -> None:
        """On gradients, after clipping and before the optimizer's step."""
        self.called.add("before_step")
        self.hooks.before_step(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        """On weights, after the step."""
        self.called.add("after_step")
        self.hooks.after_step(optimizer)

    def next_phase(self, optimizer: Optimizer) -> None:
        """Between two phases of a technique that asks for more than one (LT-SFT); the schedule then starts anew."""
        self.called.add("next_phase")
        self.hooks.next_phase(optimizer)


@contextlib.contextmanager
def attach(
    methods: Mapping[str, Method], model: Any, objective: Loss | None = None, **context: Any
) -> Iterator[Attached]:
    """:meth:`Method.attached` for several techniques, by name, the first named outermost.

    Args:
        model: a ``transformers`` model, or what PEFT, DDP, DataParallel, ``torch.compile`` or sentence-transformers put
            around it.
        objective: the loss that techniques stand around, ``objective(batch, forward)`` -> the mean loss and the output
            of ``forward(batch)``; the model's own if it is left out.
    """
    inner = unwrapped(model)
    if is_compiled(model):
        torch.compiler.reset()
    own = own_loss(model, inner)
    context.setdefault("announces", True)
    shared = Context(objective=objective or own, **context)
    hooks = compose(methods, inner, shared)

    def read(batch: Batch) -> Batch:
        if not hooks.has_loss or (objective and "labels" not in batch):
            return batch
        check_labels(methods, batch := for_techniques(batch, inner))
        return batch

    attached = Attached(model, hooks, shared, objective or own, forward_in_rows(model, inner), read)
    try:
        checkpoint_exactly(inner, shared)
        watched = _Passes(methods, attached, inner)
        yield attached
        watched.conclude()
    except BaseException:
        shared.cleanup.close()
        raise
    hooks.finish()
    if is_compiled(model):
        torch.compiler.reset()  # or the techniques would go on


class _Passes:
    """Warns where a technique is left without a call that it needs."""

    def __init__(self, methods: Mapping[str, Method], attached: Attached, model: nn.Module) -> None:
        self.silent, self.attached, self.passes = dict.fromkeys(methods, True), attached, 0
        attached.context.until_finish(model.register_forward_pre_hook(self._watch))

    def _watch(self, model: nn.Module, args: Any) -> None:
        """The second pass tells: the first may only show that there is noise."""
        self.passes += model.training and torch.is_grad_enabled()
        if self.passes == 2:
            self._warn("backward", "loss")

    def conclude(self) -> None:
        if self.passes > 1:
            self._warn("parameter_groups", "before_step", "after_step", "next_phase")

    def _warn(self, *moments: str) -> None:
        """Once for each technique."""
        for moment in moments:
            missing = moment not in self.attached.called
            acting = zip(self.silent, self.attached.hooks.acts_at(moment), strict=True)
            if names := [name for name, acts in acting if acts and missing and self.silent[name]]:
                self.silent |= dict.fromkeys(names, False)
                self.attached.context.warn(f"{' and '.join(names)} cannot act: call {_CALLS[moment]}")
