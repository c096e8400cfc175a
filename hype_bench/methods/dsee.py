"""DSEE: dually sparsity-embedded efficient tuning (Chen et al., ACL 2023)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
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
from hype_bench.models.layers import head_parameters

_A, _B, _S = "dsee_a", "dsee_b", "dsee_s"
_INIT_STD = 0.02  # of A
_ADDED, _STEPS, _THRESHOLD = 5, 2, 0.01  # as released: of one round of the decomposition


def sparse_part(
    weight: Float[Tensor, "outputs inputs"], start: Float[Tensor, " inputs"], rounds: int
) -> Float[Tensor, "outputs inputs"]:
    """What a weight has beside a low-rank matrix, found greedily: each round adds five to the rank.

    Args:
        start: a random row, from which the search begins.

    Reference: Chen et al. 2023, "DSEE: Dually Sparsity-embedded Efficient Tuning of Pre-trained Language Models",
    arXiv:2111.00160
    """
    rows, sparse = start[None], torch.zeros_like(weight)
    for _ in range(rounds):
        sparse = torch.zeros_like(weight)
        for _ in range(_STEPS):
            basis = torch.linalg.qr((weight - sparse) @ rows.mT).Q
            rows = basis.mT @ (weight - sparse)
            left = weight - basis @ rows
            sparse = left * (left.abs() >= _THRESHOLD)
        rows = torch.cat([rows, torch.linalg.qr(left - sparse).R[:_ADDED]])
    return sparse


def change(
    a: Float[Tensor, "rank inputs"],
    b: Float[Tensor, "outputs rank"],
    s: Float[Tensor, " entries"],
    entries: Int[Tensor, " entries"],
    scale: float,
) -> Float[Tensor, "outputs inputs"]:
    """``scale (B A + S)``, by how much the weight changes; S has the values ``s`` at these places of its flat form."""
    product = b @ a
    return scale * product.flatten().scatter_add(0, entries, s).view_as(product)


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
        entries. The second stage, which prunes W by the size of what was learnt and trains on, is left out: merged
        weights are not sparse. Class defaults of the code are rank 4 and 128 entries; its commands, followed here, have
        learning rates of 2e-4 to 5e-4, 5 epochs and the best checkpoint on the dev set: set `training.learning_rate`.
        XLNet has its attention matrices outside of linear modules: `target=all` covers its feed-forward blocks.

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

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS, Exclusive.LINEAR_MAPS, Exclusive.TRAINED_ENTRIES})
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.LINEAR_MAPS})

    def check(self, model: PreTrainedModel) -> None:
        for name in target_maps("dsee", model, self.target):
            if (size := model.get_submodule(name).weight.numel()) < self.sparse:  # type: ignore[operator]
                raise UserError(f"dsee.sparse must be at most {size}, the entries of {name}, not {self.sparse}")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        head, source, changes = head_parameters(model), context.noise("dsee"), {}
        for name in target_maps("dsee", model, self.target):
            module = model.get_submodule(name)
            assert isinstance(module, nn.Linear)
            changes[name] = self._attach(name, module, source, context)
        train_only(model, context, lambda name, p: name.endswith((_A, _B, _S)) or p in head)
        return Hooks(plain_weights=partial(_merged, changes))

    def _attach(self, name: str, module: nn.Linear, source: NoiseSource, context: Context) -> Callable[[], Tensor]:
        """Returns what gives the change of the weight."""
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

        @torch.no_grad()
        def of_weight() -> Tensor:
            return change(a, b, s, entries, scale)

        @torch.no_grad()
        def merge() -> None:
            module.weight += of_weight()
            for key in (_A, _B, _S):
                del module._parameters[key]

        replace_forward(module, forward, context)
        context.cleanup.callback(merge)
        return of_weight

    def _places(self, name: str, weight: Tensor, source: NoiseSource) -> Int[Tensor, " entries"]:
        """Where the entries of S are, in its flat form."""
        if self.entries == "random":
            sizes = source.uniform(torch.empty_like(weight), f"{name} places")
        elif self.entries == "magnitude":
            sizes = weight.abs()
        else:
            rounds = self.rounds or 1 + math.ceil((self.rank - 1) / _ADDED)
            start = source.normal(torch.empty_like(full(weight[0])), f"{name} start")
            sizes = sparse_part(full(weight), start, rounds).abs()
        largest, places = sizes.flatten().topk(self.sparse)
        if not bool(largest[-1] > 0):
            raise UserError(
                f"dsee.sparse={self.sparse}: beside a low-rank matrix {name} has {int((sizes > 0).sum())} entries "
                "only; use fewer rounds or a smaller rank, or dsee.entries=magnitude"
            )
        return places


def _merged(changes: Mapping[str, Callable[[], Tensor]], weights: Weights) -> Weights:
    """Without the parameters of its own, by which the weights are changed."""
    plain = {name: value for name, value in weights.items() if not name.endswith((_A, _B, _S))}
    return plain | {f"{name}.weight": plain[f"{name}.weight"] + of_weight() for name, of_weight in changes.items()}
