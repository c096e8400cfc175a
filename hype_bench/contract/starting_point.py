"""The model as it was when training began, for techniques that compare with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract.context import Context
from hype_bench.contract.objective import Batch, Forward


class StartingPoint:
    """The weights with which the first pass is made; their copy is taken then."""

    def __init__(self, model: PreTrainedModel, context: Context) -> None:
        self.model, self.context = model, context
        self.weights: list[tuple[Tensor, Tensor]] = []

    def keep(self) -> None:
        """Copies the weights, if that has not been done."""
        self.weights = self.weights or [(p, p.detach().clone()) for p in self.model.parameters()]

    def logits(self, batch: Batch, forward: Forward) -> Tensor:
        """What the model put out at the start, in evaluation mode and without gradients."""
        with self.restored():
            logits: Tensor = forward(batch).logits
        return logits

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Within, the model is as it was at the start, in evaluation mode and without gradients."""
        present = [weight.data for weight, _ in self.weights]
        for weight, start in self.weights:
            weight.data = start
        self.model.eval()
        try:
            with torch.no_grad(), self.context.rng_preserved(self.model):
                yield
        finally:
            self.model.train()
            for (weight, _), data in zip(self.weights, present, strict=True):
                weight.data = data
