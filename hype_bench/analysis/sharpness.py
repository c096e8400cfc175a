"""How sharply the loss rises around the weights at which training ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.contract.objective import task_loss
from hype_bench.methods.sam import ascent
from hype_bench.options import flag, number
from hype_bench.tasks.data import Split
from hype_bench.training.batches import evaluation_order
from hype_bench.training.tokens import Tokens

_TOKENS = 2048  # of a batch: its activations are kept for the gradient


@dataclass(frozen=True)
class Sharpness(Analysis):
    """How much the training loss rises within a small step from the last weights, by SAM's definition.

    The loss L is the mean over training examples, without dropout and in float32. One step uphill from the weights w
    that training left, over all of them together: ``L(w + rho g / |g|) - L(w)`` with g the gradient of L, which is the
    first-order solution of ``max L(w + e) - L(w)`` over ``|e| <= rho``. With ``adaptive`` the step is
    ``rho w^2 g / | |w| g |``, ASAM's, which does not depend on the scale of the weights. The record also has ``loss``,
    L(w).

    Args:
        rho: the length of the step; 0.05 is SAM's.
        adaptive: whether the step is ASAM's.
        examples: so many training examples, drawn once, or all if there are fewer.

    Claim: a technique with noise ends in a flatter region of the loss.

    Source: Foret et al. 2021, "Sharpness-Aware Minimization", ICLR, equation 2, https://arxiv.org/abs/2010.01412; Kwon
    et al. 2021, "ASAM", ICML, https://arxiv.org/abs/2102.11600

    Cost: the run, if its weights were not kept; two passes over the examples, one of them with gradients.
    """

    metric = "rise"
    rho: float = number(0.05, above=0)
    adaptive: bool = flag()
    examples: int = number(512, least=1)

    def measure(self, trained: Trained) -> Measured:
        drawn = _drawn(trained, self.examples)
        loss = _add_gradients(trained, drawn)
        weights: list[Tensor] = [p for p in trained.model.parameters() if p.grad is not None]
        gradients = [p.grad for p in weights if p.grad is not None]
        with torch.no_grad():
            for weight, step in zip(weights, ascent(weights, gradients, self.rho, self.adaptive), strict=True):
                weight += step
            rise = sum(float(part) for part in _losses(trained, drawn)) - loss
        return Measured(scores={"train": {"rise": rise, "loss": loss}}, rows={"train": len(drawn)})


def _drawn(trained: Trained, size: int) -> Tokens:
    """Training examples, the same of every technique."""
    train = trained.data.train
    chosen = np.sort(np.random.default_rng(0).permutation(len(train))[:size])
    texts = tuple([column[i] for i in chosen] for column in train.texts)
    return trained.tokens(Split(train.name, texts, train.labels[chosen], train.rows[chosen]))


def _losses(trained: Trained, tokens: Tokens) -> Iterator[Tensor]:
    """The parts of the mean loss that batches contribute."""
    for indices in evaluation_order(tokens, _TOKENS):
        batch = trained.collate(tokens, indices)
        labels = batch.pop("labels")
        yield task_loss(trained.model(**batch).logits, labels) * (len(labels) / len(tokens))


def _add_gradients(trained: Trained, tokens: Tokens) -> float:
    """Leaves the gradients of the mean loss in ``.grad``; returns that loss."""
    total = 0.0
    for part in _losses(trained, tokens):
        part.backward()
        total += float(part.detach())
    return total
