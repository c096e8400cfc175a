"""DSEE: dually sparsity-embedded efficient tuning (Chen et al., ACL 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import (
    Context,
    Exclusive,
    Hooks,
    Method,
    NoiseSource,
    Part,
    UserError,
    Weights,
    choice,
    full,
    number,
    register,
)
from hype_bench.contract.freeze import train_only
from hype_bench.contract.linear_maps import replace_forward
from hype_bench.contract.lora_targets import target_maps
from hype_bench.contract.pruning import check_heads, drop_heads_, keep_largest_
from hype_bench.models.layers import encoder_layers, head_parameters, linear_maps
from hype_bench.options import Affects

_A, _B, _S = "dsee_a", "dsee_b", "dsee_s"
_INIT_STD = 0.02  # of A
_LONGER = Affects.NUMBERS | Affects.LENGTH
_ADDED, _STEPS, _THRESHOLD = 5, 2, 0.01  # as released: of one round of the decomposition


def decomposed(
    weight: Float[Tensor, "outputs inputs"], start: Float[Tensor, " inputs"], rounds: int
) -> tuple[Float[Tensor, "outputs inputs"], Float[Tensor, "outputs inputs"]]:
    """A low-rank matrix, found greedily, and what a weight has beside it; each round adds five to the rank.

    Args:
        start: a random row, from which the search begins.

    Reference: Chen et al. 2023, "DSEE: Dually Sparsity-embedded Efficient Tuning of Pre-trained Language Models",
    arXiv:2111.00160
    """
    rows = start[None]
    for _ in range(rounds):
        sparse = torch.zeros_like(weight)
        for _ in range(_STEPS):
            basis = torch.linalg.qr((weight - sparse) @ rows.mT).Q
            rows = basis.mT @ (weight - sparse)
            left = weight - (low_rank := basis @ rows)
            sparse = left * (left.abs() >= _THRESHOLD)
        rows = torch.cat([rows, torch.linalg.qr(left - sparse).R[:_ADDED]])
    return low_rank, sparse


def change(
    a: Float[Tensor, "rank inputs"],
    b: Float[Tensor, "outputs rank"],
    s: Float[Tensor, " entries"],
    entries: Int[Tensor, " entries"],
    scale: float,
) -> Float[Tensor, "outputs inputs"]:
    """``scale (B A + S)``, by how much the weight changes; S has the values ``s`` at these places of its flat form."""
    return scale * (b @ a).flatten().scatter_add(0, entries, s).view(len(b), -1)


def importance(
    criterion: str,
    weight: Float[Tensor, "outputs inputs"],
    a: Float[Tensor, "rank inputs"],
    b: Float[Tensor, "outputs rank"],
    s: Float[Tensor, " entries"],
    entries: Int[Tensor, " entries"],
    scale: float,
) -> Float[Tensor, "outputs inputs"]:
    """Which of W, B A and S the criterion names, scaled: pruned is where it is smallest. As released, the scale misses
    B A in ``wabs``."""
    if criterion == "wabs":
        return weight + change(a, b, scale * s, entries, 1.0)
    learnt = change(a, b, s if criterion == "abs" else torch.zeros_like(s), entries, scale)
    return weight + learnt if criterion == "wab" else learnt


@register("dsee")
@dataclass(frozen=True)
class DSEE(Method):
    r"""DSEE: trains low-rank and a few single additions to frozen linear maps.

    The maps become W x + (B A + S) x * alpha / rank. S has a few entries, whose places are chosen once, from the
    pre-trained W alone. A, B, these entries and the head are trained. At the end all is merged into the weights, which
    leaves a plain model.

    Args:
        rank: rank r of the product.
        alpha: numerator of the scale.
        sparse: how many entries S has for each map.
        entries: where they are: `decomposition`, the largest of what W has beside a low-rank matrix; `magnitude`, the
            largest of W; `random`.
        rounds: of the decomposition, each of which adds five to the rank that it takes off W; null until that is
            `rank`; 100 as released.
        target: `query_value`, or `all` linear maps of the layers.
        prune: asks for a second phase, before which the smallest entries of the frozen weights become 0: in the maps
            that are changed where the scaled B A (`ab`), B A + S (`abs`), W + B A (`wab`) or W + B A + S (`wabs`) is
            smallest, in the others where W is. Null: one phase.
        prune_fraction: of these entries; 0.2 as published: of all changed maps together, and of all others together.
        prune_heads: how many heads of each layer go instead, those with the smallest rows; 3 as published.

    Equation:
        h = W_0 x + \frac{\alpha}{r} (B A + S) x, \quad B_0 = 0, \; S_0 = 0

    Reference:
        Chen, Chen, Chen, Awadallah, Wang and Cheng 2023, *DSEE: Dually Sparsity-embedded Efficient Tuning of
        Pre-trained Language Models*, ACL 2023, https://arxiv.org/abs/2111.00160; code: VITA-Group/DSEE, commit 61844c3

    Differences:
        As released, the decomposition takes a rank of 496 off W whatever the rank r is: at width 768 two random starts
        then share 13 of 64 places, so that the set is mostly chance, and at width 384 nothing is left, so that S is
        dense. Here it ends at rank r by default, and a set with fewer entries than asked for is refused. The random
        start is the run's own. In the released code the optimizer holds moments for all entries of S; here S is its
        entries. Class defaults of the code are rank 4 and 128 entries; its commands, followed here, have learning rates
        of 2e-4 to 5e-4, 5 epochs (5 to 10 more once pruned) and the best checkpoint on the dev set: set
        `training.learning_rate`. XLNet has its attention matrices outside of linear modules: `target=all` covers its
        feed-forward blocks. With `prune` a run has twice the updates of the recipe: compare it with `dsee` of twice the
        epochs. Optimizer and schedule start anew; A, B, S and the head go on. As released, `wabs` does not scale B A,
        and the pooler is pruned too, never the head; DeBERTa's maps of positions are pruned here. Of a dropped head
        only what the next map reads of it becomes 0, which computes the same. The record has `sparsity_before_merge`,
        of the frozen weights: once B A is merged, those of the changed maps are dense again.

    Cost:
        One pass per update; about 1 % of the parameters have gradients and optimizer state. The decomposition takes
        less than a second for each map once; 100 rounds take 40.

    Control:
        lora: the single entries.

    When it helps:
        The paper reports the scores of LoRA on GLUE with fewer parameters.
    """

    wraps_weights = True
    tiny_options: ClassVar[Mapping[str, Any]] = {"target": "all", "rank": 4, "sparse": 8}
    rank: int = number(16, least=1)
    alpha: float = number(32.0, above=0)
    sparse: int = number(16, least=1)
    entries: str = choice("decomposition", "decomposition", "magnitude", "random")
    rounds: int | None = number(None, least=1)
    target: str = choice("query_value", "query_value", "all")
    prune: str | None = choice(
        None, "ab", "abs", "wab", "wabs", affects=Affects.NUMBERS | Affects.LENGTH, added_later=True
    )
    prune_fraction: float = number(0.2, added_later=True, above=0, below=1)
    prune_heads: int = number(0, added_later=True, least=0)

    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.LINEAR_MAPS})

    @property
    def exclusive(self) -> frozenset[Enum]:
        decided = {Exclusive.TRAINED_WEIGHTS, Exclusive.LINEAR_MAPS, Exclusive.TRAINED_ENTRIES}
        return frozenset({*decided, Exclusive.PHASES} if self.prune else decided)

    @property
    def phases(self) -> int:
        return 2 if self.prune else 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prune_heads and (self.prune not in ("abs", "wabs") or self.target != "query_value"):
            raise UserError("prune_heads needs prune=abs or prune=wabs, and target=query_value")

    def check(self, model: PreTrainedModel) -> None:
        names = target_maps("dsee", model, self.target)
        for name in names:
            if (size := model.get_submodule(name).weight.numel()) < self.sparse:  # type: ignore[operator]
                raise UserError(f"dsee.sparse must be at most {size}, the entries of {name}, not {self.sparse}")
        if self.prune_heads:
            check_heads("dsee.prune_heads", self.prune_heads, model, names)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        head, source, changes = head_parameters(model), context.noise("dsee"), {}
        for name in target_maps("dsee", model, self.target):
            module = model.get_submodule(name)
            assert isinstance(module, nn.Linear)
            changes[name] = self._attach(name, module, source, context)
        train_only(model, context, lambda name, p: name.endswith((_A, _B, _S)) or p in head)
        next_phase = _Pruning(self, model, changes, context).next_phase if self.prune else None
        return Hooks(next_phase=next_phase, plain_weights=partial(_merged, changes))

    def _attach(self, name: str, module: nn.Linear, source: NoiseSource, context: Context) -> _Change:
        weight, scale = module.weight.detach(), self.alpha / self.rank
        entries = self._places(name, weight, source)
        like = weight[:1].expand(self.rank, -1)
        a = nn.Parameter(_INIT_STD * source.normal(torch.empty_like(like), f"{name} a"))
        b, s = nn.Parameter(weight.new_zeros(len(weight), self.rank)), nn.Parameter(weight.new_zeros(self.sparse))
        for key, parameter in ((_A, a), (_B, b), (_S, s)):
            module.register_parameter(key, parameter)
        inputs = F.one_hot(entries % weight.shape[1], weight.shape[1]).to(weight.dtype)  # entries x inputs
        outputs = F.one_hot(entries // weight.shape[1], len(weight)).to(weight.dtype).mT  # outputs x entries

        def forward(x: Tensor) -> Tensor:
            low_rank = F.linear(F.linear(x, a), b)
            single = F.linear(F.linear(x, inputs) * s, outputs)
            return F.linear(x, module.weight, module.bias) + scale * (low_rank + single)

        added = _Change(module, a, b, s, entries, scale)
        replace_forward(module, forward, context)
        context.cleanup.callback(added.merge)
        return added

    def _places(self, name: str, weight: Tensor, source: NoiseSource) -> Int[Tensor, " entries"]:
        """Where the entries of S are, in its flat form."""
        if self.entries == "random":
            sizes = source.uniform(torch.empty_like(weight), f"{name} places")
        elif self.entries == "magnitude":
            sizes = weight.abs()
        else:
            rounds = self.rounds or 1 + math.ceil((self.rank - 1) / _ADDED)
            start = source.normal(torch.empty_like(full(weight[0])), f"{name} start")
            sizes = decomposed(full(weight), start, rounds)[1].abs()
        largest, places = sizes.flatten().topk(self.sparse)
        if not bool(largest[-1] > 0):
            raise UserError(
                f"dsee.sparse={self.sparse}: beside a low-rank matrix {name} has {int((sizes > 0).sum())} entries "
                "only; use fewer rounds or a smaller rank, or dsee.entries=magnitude"
            )
        return places


class _Change:
    """What is added to one linear map."""

    def __init__(self, module: nn.Linear, a: Tensor, b: Tensor, s: Tensor, entries: Tensor, scale: float) -> None:
        self.module, self.factors, self.entries, self.scale = module, (a, b, s), entries, scale

    @torch.no_grad()
    def of_weight(self) -> Tensor:
        return change(*self.factors, self.entries, self.scale)

    @torch.no_grad()
    def merge(self) -> None:
        self.module.weight += self.of_weight()
        for key in (_A, _B, _S):
            del self.module._parameters[key]

    def importance(self, criterion: str) -> Tensor:
        return importance(criterion, self.module.weight, *self.factors, self.entries, self.scale)

    def importance_of_rows(self, criterion: str) -> Tensor:
        """The sums of the magnitudes of B A + S in each row; ``wabs`` adds those of W."""
        sizes = change(*self.factors, self.entries, 1.0).abs()
        return (sizes + self.module.weight.abs() if criterion == "wabs" else sizes).sum(1)


class _Pruning:
    """Between the phases: parts of the frozen weights become 0, by what was learnt beside them."""

    def __init__(self, method: DSEE, model: PreTrainedModel, changes: Mapping[str, _Change], context: Context) -> None:
        self.method, self.model, self.changes, self.context = method, model, changes, context
        maps, head = linear_maps(model), head_parameters(model)
        self.weights = {name: module.weight for name, module in maps.items() if module.weight not in head}

    @torch.no_grad()
    def next_phase(self, optimizer: Optimizer) -> None:
        optimizer.state.clear()
        if self.method.prune_heads:
            self.context.facts["dropped_heads"] = [self._drop_heads(layer) for layer in encoder_layers(self.model)]
        else:
            self._prune_entries()
        zeros = sum(int((weight == 0).sum()) for weight in self.weights.values())
        self.context.facts["sparsity_before_merge"] = zeros / sum(w.numel() for w in self.weights.values())

    def _prune_entries(self) -> None:
        criterion, fraction = str(self.method.prune), self.method.prune_fraction
        own = [added.importance(criterion) for added in self.changes.values()]
        keep_largest_([self.weights[name] for name in self.changes], own, fraction)
        others = [weight for name, weight in self.weights.items() if name not in self.changes]
        keep_largest_(others, others, fraction)

    def _drop_heads(self, layer: nn.Module) -> list[int]:
        own = [added for added in self.changes.values() if added.module in set(layer.modules())]
        rows = torch.stack([added.importance_of_rows(str(self.method.prune)) for added in own]).sum(0)
        return drop_heads_(layer, rows, self.model.config.num_attention_heads, self.method.prune_heads)


def _merged(changes: Mapping[str, _Change], weights: Weights) -> Weights:
    """Without the parameters of its own, by which the weights are changed."""
    plain = {name: value for name, value in weights.items() if not name.endswith((_A, _B, _S))}
    return plain | {f"{name}.weight": plain[f"{name}.weight"] + added.of_weight() for name, added in changes.items()}
