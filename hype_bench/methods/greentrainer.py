"""GreenTrainer (Huang et al., ICLR 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Exclusive, Hooks, Method, Part, choice, number, register
from hype_bench.contract.gradients import take_gradients
from hype_bench.models.layers import depths, encoder_layers
from hype_bench.models.tensor_costs import tensor_costs
from hype_bench.options import Affects

_UNITS = 1000  # into which all costs together are divided
_LEAST_SHARE = 0.05  # of the backward pass, where the forward pass alone takes more than rho


def in_units(costs: Sequence[float], total: float) -> list[int]:
    """Costs in thousandths of ``total``, rounded down."""
    return [int(cost * (_UNITS / total)) for cost in costs]


def backward_share(rho: float, forward: float, backward: float) -> float:
    """``rho``, a share of forward and backward pass, as a share of the backward pass alone."""
    share = rho * (1 + forward / backward) - forward / backward
    return share if share > 0 else _LEAST_SHARE


def importance(gradients: Sequence[Tensor], steps: Sequence[Tensor]) -> Float[Tensor, " tensors"]:
    """How much a step lowers the loss by each tensor: ``-<g, dw>`` over the largest magnitude of all.

    Args:
        gradients: at the weights after the step, on the batch of the step.
        steps: what the optimizer added to the weights.
    """
    gains = torch.stack([-(g * step).sum() for g, step in zip(gradients, steps, strict=True)])
    return (gains / gains.abs().max()).nan_to_num(0.0)


def best_subset(passing: Sequence[int], own: Sequence[int], gains: Sequence[float], budget: int) -> list[bool]:
    """The tensors with the largest sum of ``gains``: a knapsack for each tensor that may be the deepest.

    Args:
        passing, own: costs in order from the loss. A set costs ``own`` of its members, and ``passing`` of all tensors
            down to the deepest member, which is included.
    """
    chosen = [False] * len(own)
    if budget < 0:
        return chosen
    table = np.zeros((len(own) + 1, budget + 1))  # the best of the first k tensors, for every sum of their own costs
    taken = np.zeros((len(own), budget + 1), dtype=bool)
    best, deepest, room = 0.0, -1, 0
    for k, depth in enumerate(accumulate(passing)):
        left = budget - depth - own[k]
        if left >= 0 and table[k, left] + gains[k] > best:
            best, deepest, room = table[k, left] + gains[k], k, left
        table[k + 1] = table[k]
        if own[k] <= budget:
            with_it = table[k, : budget + 1 - own[k]] + gains[k]
            taken[k, own[k] :] = with_it > table[k, own[k] :]
            table[k + 1, own[k] :] = np.maximum(with_it, table[k, own[k] :])
    for k in range(deepest, -1, -1):
        if k == deepest or taken[k, room]:
            chosen[k] = True
            room -= 0 if k == deepest else own[k]
    return chosen


def official_subset(passing: Sequence[int], own: Sequence[int], gains: Sequence[float], budget: int) -> list[bool]:
    """:func:`best_subset` as released: of each tensor and sum of costs only the better of taking and leaving it is
    kept, a set is continued only from a tensor that was taken, and the deepest tensor of all is never taken."""
    chosen = [False] * len(own)
    fitting = next((k for k, depth in enumerate(accumulate(passing)) if depth > budget), len(own) - 1)
    values = np.zeros((fitting + 1, max(budget, 0) + 1))
    origins = np.full(values.shape, -1)  # which tensor was taken before this one, counted from 1; -1: it is left
    for k in range(1, fitting + 1):
        values[k], spent = values[k - 1], own[k - 1]
        for earlier in range(k - 1, -1, -1):
            spent += passing[earlier]
            if spent > budget:
                break
            source = slice(0, budget + 1 - spent)
            candidate = values[earlier, source] + gains[k - 1]
            is_valid = origins[earlier, source] >= 0 if earlier else True
            better = is_valid & (candidate > values[k, spent:])
            values[k, spent:][better], origins[k, spent:][better] = candidate[better], earlier
    k, units = map(int, np.unravel_index(values.argmax(), values.shape))
    while k > 0:
        earlier = int(origins[k, units])
        if earlier >= 0:
            chosen[k - 1] = True
            units -= own[k - 1] + sum(passing[earlier:k])
        k = earlier if earlier >= 0 else k - 1
    return chosen


_SEARCHES = {"exact": best_subset, "official": official_subset}


@register("greentrainer")
@dataclass(frozen=True)
class GreenTrainer(Method):
    r"""GreenTrainer: trains only those weight tensors that promise most within a budget of the backward pass.

    At the start of every interval all tensors train for one update. By how much each of them has lowered the loss, to
    first order, is its importance; those that are then chosen keep their step and train on, the others go back and are
    frozen. The backward pass ends at the deepest tensor that is chosen. Head and pooler always train.

    Args:
        rho: what forward and backward pass may cost, as a share of that of all tensors; 0.5 and 0.7 in the paper, 0.3
            in the released code; 1 trains all.
        interval: epochs between two choices.
        search: `exact`, the best set of tensors; `official`, as released, which often misses it.

    Equation:
        \max_m \sum_k m_k I_k \;\; \text{s.t.} \; \sum_k m_k t_{dw, k} + \sum_{k \le k_{\max}(m)} t_{dy, k} \le \rho'
        T, \quad I_k = -\langle \nabla_k \ell(w + \Delta w), \Delta w_k \rangle

    Reference:
        Huang, Yin, Huang and Gao 2024, *Towards Green AI in Fine-tuning Large Language Models via Adaptive
        Backpropagation*, ICLR 2024, https://arxiv.org/abs/2309.13192; code: pittisl/GreenTrainer, commit 7b7a9fe

    Differences:
        The released search misses the optimum in about half of small cases and never takes the deepest tensor. The
        released code restores the weights after it has measured importance but not the moments of the optimizer, which
        have seen that batch twice more; here the measuring update is one of the run's. Both passes of it share dropout
        masks. With a warm-up the first update has a learning rate of 0, so that the choice waits for the second. Costs
        are those of the released table but for three choices of this project: the attention maps count with the map of
        the values and not with its bias, a table of embeddings costs as much as its tokens look up, and head and pooler
        read one token. Tensors are ordered by their depth, not as they are registered. Moments of frozen tensors stay
        as they were until these come back. Where the forward pass takes more than rho, the backward pass gets 5 %.

    Cost:
        Two passes in one update per interval, with a copy of weights and moments; else less than one pass.

    When it helps:
        The paper reports the quality of full fine-tuning at half of the operations, for language models.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"rho": 1.0}
    tiny_options: ClassVar[Mapping[str, Any]] = {"rho": 0.9}
    rho: float = number(0.5, above=0, most=1, affects=Affects.NUMBERS | Affects.PACE)
    interval: float = number(2.0, above=0, affects=Affects.NUMBERS | Affects.PACE)
    search: str = choice("exact", "exact", "official")

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS})
    acts_on = frozenset(
        {Part.TRAINED_WEIGHTS, Part.LOSS, Part.BACKWARD, Part.WEIGHTS_BEFORE_STEP, Part.WEIGHTS_AFTER_STEP}
    )

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks() if self.rho == 1 else Hooks.of(_Choice(self, model, context))


class _Choice:
    """Which tensors train, and the update in which that is found out."""

    def __init__(self, method: GreenTrainer, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.length = method.interval * context.needs("greentrainer", "examples")  # of an interval
        self.candidates = [p for p in model.parameters() if p.requires_grad]
        self.frozen: list[nn.Parameter] = []
        self.chosen_at: float | None = None  # examples seen before the choice; None: it has yet to be made
        self.seen = self.examples = 0
        self.tokens = torch.zeros(())  # of an example
        self.weights: list[Tensor] = []  # before the step of the measuring update
        self.moments: list[dict[str, Any]] = []
        self.again: Callable[[], None] | None = None  # both passes of this update once more
        context.cleanup.callback(self._unfreeze)

    def backward(self, micro_batches: list[Batch], inner: Backward) -> Tensor:
        for parameter in self.frozen:  # also where a run was resumed
            parameter.requires_grad_(False)
        self.examples = sum(map(_examples, micro_batches))
        if self.chosen_at is None:
            self.tokens = torch.stack([*map(_tokens, micro_batches)]).sum() / self.examples
            replayed = self.context.rng_snapshot(self.model)

            def again() -> None:
                with replayed():
                    inner(micro_batches)

            self.again = again
        return inner(micro_batches)

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        if self.chosen_at is None and any(group["lr"] > 0 for group in optimizer.param_groups):
            self.weights = [p.detach().clone() for p in self.candidates]
            self.moments = [deepcopy(optimizer.state.get(p, {})) for p in self.candidates]

    def after_step(self, optimizer: Optimizer) -> None:
        if self.weights:
            self._choose(optimizer)
        self.again = None
        self.seen += self.examples
        if self.chosen_at is not None and self.seen >= self.chosen_at + self.length:
            self._unfreeze()

    def _choose(self, optimizer: Optimizer) -> None:
        """Measures importance and undoes the step of the tensors that are not chosen."""
        assert self.again is not None
        gradients = take_gradients(self.model)
        self.again()
        measured = take_gradients(self.model)
        with torch.no_grad():
            steps = {p: p - old for p, old in zip(self.candidates, self.weights, strict=True)}
            gains = importance([measured.get(p, torch.zeros_like(p)) for p in steps], list(steps.values()))
            chosen = self._chosen(dict(zip(steps, gains.cpu().tolist(), strict=True)), float(self.tokens.cpu()))
            for p, old, moments in zip(self.candidates, self.weights, self.moments, strict=True):
                if p in chosen:
                    p.grad = gradients.get(p)
                    continue
                p.copy_(old)
                optimizer.state.pop(p, None)
                optimizer.state.update({p: moments} if moments else {})
                p.requires_grad_(False)
                self.frozen.append(p)
        self.chosen_at, self.weights, self.moments = self.seen, [], []

    def _chosen(self, gains: Mapping[nn.Parameter, float], tokens: float) -> set[nn.Parameter]:
        costs, height = tensor_costs(self.model, tokens), depths(self.model)
        tensors = sorted(reversed(costs), key=height.__getitem__, reverse=True)  # from the loss
        passing, own, forward = (sum(parts) for parts in zip(*costs.values(), strict=True))
        share = backward_share(self.method.rho, forward, passing + own)
        units = [in_units([costs[p][part] for p in tensors], passing + own) for part in (0, 1)]
        always = [p for p in tensors if height[p] == max(height.values())]
        first = len(always)  # in the order from the loss
        budget = int(share * sum(map(sum, units))) - sum(units[0][:first]) - sum(units[1][:first])
        below = [gains.get(p, -np.inf) for p in tensors[first:]]
        mask = _SEARCHES[self.method.search](units[0][first:], units[1][first:], below, budget)
        chosen = {*always, *(p for p, is_chosen in zip(tensors[first:], mask, strict=True) if is_chosen)}
        self.context.facts.setdefault("trained_tensors", []).append(len(chosen & gains.keys()))
        return chosen

    def _unfreeze(self) -> None:
        for parameter in self.frozen:
            parameter.requires_grad_(True)
        self.frozen, self.chosen_at = [], None


def _examples(batch: Batch) -> int:
    """Answers within a text have labels of other names."""
    return len(batch["labels"] if "labels" in batch else batch["input_ids"])


def _tokens(batch: Batch) -> Tensor:
    """How many there are, without padding."""
    if (packing := batch.get("packing")) is not None:
        return torch.tensor(sum(packing.lengths))
    real: Tensor = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
    return real.sum()
