"""Techniques in a training loop of one's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.objective import Batch, forward_of


class Attached:
    """Techniques on a model in a training loop of one's own.

    ``loss`` gives what to differentiate in place of the task's loss; ``backward`` differentiates it and, with a
    technique that makes several passes over an update (SAM, FreeLB), is the only way to do so.

    In fp16, give ``scaler=`` where they are attached: ``backward`` leaves gradients for its ``unscale_``, and an update
    whose gradients are not finite then goes without ``before_step`` and ``after_step``.
    """

    def __init__(self, model: PreTrainedModel, hooks: Composed, context: Context) -> None:
        self.model, self.hooks, self.context = model, hooks, context
        self.parameter_groups, self.before_step = hooks.parameter_groups, hooks.before_step
        self.after_step = hooks.after_step

    def loss(self, batch: Batch) -> Tensor:
        """The scalar loss of a batch of keyword arguments of the model, ``labels`` among them."""
        return self.hooks.loss(batch, forward_of(self.model))[0]

    def backward(self, batch: Batch) -> Tensor:
        """Leaves the gradients of one update in ``.grad``; returns its loss."""

        def once(micro_batches: list[Batch]) -> Tensor:
            loss = self.loss(micro_batches[0])
            self.context.scaled(loss).backward()
            return loss.detach()

        return self.hooks.backward([batch], once)


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
