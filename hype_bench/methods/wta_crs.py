"""WTA-CRS: winner-take-all column-row sampling (Liu et al., NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import (
    Batch,
    Context,
    Exclusive,
    Forward,
    Hooks,
    Loss,
    Method,
    Part,
    UserError,
    choice,
    full,
    number,
    register,
)
from hype_bench.contract.activations import current_segments
from hype_bench.contract.linear_maps import replace_forward
from hype_bench.models.layers import attention_block, attention_output, encoder_layers
from hype_bench.models.packing import can_pack, check_every_token
from hype_bench.models.segments import Segments
from hype_bench.options import Affects

_LEAST = 1e-8  # added to what probabilities are made of
_TAIL = 1e-3  # as released: what is left of probability, below which nothing is drawn
_TICKS = 2.0**40  # of a probability: sums of whole numbers do not depend on their order


def probabilities(
    sizes: Float[Tensor, " rows"], remembered: Float[Tensor, " rows"], real: Bool[Tensor, " rows"] | None = None
) -> Float[Tensor, " rows"]:
    """In proportion to the norms of a row and of its gradient.

    Args:
        sizes: norms of the rows.
        remembered: norms of their gradients when they were met last; all 0 if they never were.
        real: False at padding, which has no gradient.
    """
    sizes = torch.where(remembered.any(), sizes * remembered, sizes)
    real = torch.ones_like(sizes, dtype=torch.bool) if real is None else real
    sizes = sizes * real
    return (sizes + _LEAST * real) / (sizes.sum() + _LEAST)


def sampled(
    p: Float[Tensor, " rows"], k: int, draw: Float[Tensor, " draws"], never_met: Bool[Tensor, ""] | None = None
) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"]]:
    """Rows and their weights, of which ``sum(weight * row)`` estimates the sum of all rows without bias: the likeliest
    as they are, the winners, and others drawn with replacement. There are as many winners as make the variance least.

    Args:
        draw: U[0, 1), one for each of the ``k`` places; winners leave theirs unused.
        never_met: as the released code samples, where rows that were never met are not weighted by their probability,
            and without a winner rows are drawn without replacement and weight: ``draw`` is then one for each row.

    Reference: Liu et al. 2023, "Winner-Take-All Column Row Sampling for Memory Efficient Adaptation of Language Model",
    arXiv:2305.15265
    """
    places = torch.arange(k, device=p.device)
    likeliest, order = p.topk(k)
    before = F.pad(_ticks(likeliest), (1, -1)) / _TICKS
    winners = ((1 - before) / (k - places)).argmin()
    is_winner = places < winners
    mass = torch.where(is_winner, likeliest, 0).sum()
    ticks = _ticks(p.scatter(0, order, torch.where(is_winner, 0, likeliest)))
    drawn = torch.searchsorted(ticks, (draw[:k].double() * ticks[-1]).long(), right=True).clamp(max=len(p) - 1)
    weights = torch.where(p[drawn] > 0, (1 - mass) / (p[drawn] * (k - winners)), 0)
    if never_met is not None:
        weights = torch.where(never_met, 1 - mass, weights) * (mass <= 1 - _TAIL)
        distinct = (draw.log() / p).topk(k).indices
        drawn, weights = torch.where(winners == 0, distinct, drawn), torch.where(winners == 0, 1.0, weights)
    return torch.where(is_winner, order, drawn), torch.where(is_winner, 1.0, weights)


class _SampledLinear(torch.autograd.Function):
    """A linear map that keeps the rows of its input from which the gradient of its weight is estimated."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor, weights: Tensor, remember: Any
    ) -> Tensor:
        y = F.linear(x, weight, bias)
        kept = x.flatten(0, -2).index_select(0, rows) * weights[:, None].to(x.dtype)
        ctx.save_for_backward(kept.to(y.dtype), rows, weight)
        ctx.remember = remember
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        kept, rows, weight = ctx.saved_tensors
        flat = upstream.flatten(0, -2)
        ctx.remember(flat.detach())
        of_input = upstream @ weight.to(upstream.dtype) if ctx.needs_input_grad[0] else None
        of_weight = flat.index_select(0, rows).mT @ kept if ctx.needs_input_grad[1] else None
        of_bias = flat.sum(0) if ctx.needs_input_grad[2] else None
        return of_input, of_weight, of_bias, None, None, None


@register("wta_crs")
@dataclass(frozen=True)
class WTACRS(Method):
    r"""WTA-CRS: estimates the gradients of linear maps from some of the tokens, and keeps no more of their inputs.

    What a map puts out and the gradient of its input stay exact. Of its input only those tokens are kept for the
    backward pass that are likely to matter: the winners, by the norms of input and gradient, and a random choice of the
    others. Norms of gradients are those of the epoch before, by example and position.

    Args:
        ratio: of the tokens of a batch that are kept; 0.3 in the released commands, 0.1 also; 1 keeps all.
        least_rows: of a batch that are kept.
        estimator: `unbiased`, as the paper says; `official`, as released.

    Equation:
        \nabla W \approx \sum_{t \in C} g_t x_t^\top + \frac{1 - P_C}{k - |C|} \sum_{t \sim p, \; t \notin C}
        \frac{g_t x_t^\top}{p_t}, \quad p_t \propto \|x_t\| \, \|g_t\|

    Reference:
        Liu, Wang, Zhong and others 2023, *Winner-Take-All Column Row Sampling for Memory Efficient Adaptation of
        Language Model*, NeurIPS 2023, https://arxiv.org/abs/2305.15265; code: zirui-ray-liu/WTACRS, commit e114d35

    Differences:
        In the first epoch, when no norms of gradients are known, the released code leaves out the factor of the drawn
        tokens, and it draws without replacement and factor where there is no winner: its gradients are too small then.
        It samples the product of attention scores too, which is left out here, and pads all inputs to one length; here
        padding is neither counted nor drawn. Queries, keys and values are exact, as released. So is the top layer of
        encoders whose batches can be packed, where most tokens need no gradient. The released runs have a learning rate
        of 2e-5, batches of 128 and 10 to 60 epochs.

    Cost:
        One pass per update; less memory for activations, and a number for each token of the training data and each map.

    When it helps:
        The paper reports up to 2.7 times less memory at the scores of full fine-tuning. It saves memory and is no
        regulariser.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"ratio": 1.0}
    ratio: float = number(0.3, above=0, most=1, affects=Affects.NUMBERS | Affects.PACE)
    least_rows: int = number(10, least=1)
    estimator: str = choice("unbiased", "unbiased", "official")

    exclusive = frozenset({Exclusive.LINEAR_MAPS})
    acts_on = frozenset({Part.LINEAR_MAPS, Part.LOSS})

    def check(self, model: PreTrainedModel) -> None:
        check_every_token(model)
        if not _maps(model):
            raise UserError(f"wta_crs is not available for {model.config.model_type}: its layers have no linear maps")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks() if self.ratio == 1 else Hooks.of(_Sampling(self, model, context))


class _Rows(NamedTuple):
    """The rows of a pass: whose tokens they are, and which. Column 0 is that of padding."""

    examples: Int[Tensor, " rows"]
    columns: Int[Tensor, " rows"]
    real: Bool[Tensor, " rows"] | None
    tokens: int  # rows that are real
    longest: int


class _Sampling:
    """The norms of gradients, by map, example and position, and the forward methods that go by them."""

    def __init__(self, method: WTACRS, model: PreTrainedModel, context: Context) -> None:
        self.method, self.context, self.examples = method, context, context.examples
        self.source, self.segments = context.noise("wta_crs", model), current_segments(model, context)
        self.ids = context.flag(torch.zeros(0, dtype=torch.long))  # of the examples of the pass
        self.norms: dict[str, Tensor] = {}
        self.present: tuple[Segments, _Rows] | None = None  # of this pass
        self.seen: list[tuple[str, _Rows, Tensor]] = []  # in this update
        for name, module in _maps(model).items():
            replace_forward(module, partial(self._forward, name, module, module.forward), context)

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        with self.ids.set(self.context.example_ids("wta_crs", batch)):
            return inner(batch, forward)

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        """What has been seen is what the next epoch goes by; of several passes the last."""
        for name, rows, norms in self.seen:
            self._known(name, rows, norms)[rows.examples, rows.columns] = norms
        self.seen = []

    def _forward(self, name: str, module: nn.Linear, plain: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        is_sampled = module.training and torch.is_grad_enabled() and module.weight.requires_grad
        if not (is_sampled and len(self.ids.value)):
            return plain(x)
        rows = self._rows(x)
        k = min(max(int(rows.tokens * self.method.ratio), self.method.least_rows), rows.tokens)
        if k == rows.tokens:
            return plain(x)
        with torch.no_grad():
            sizes = full(x).flatten(0, -2).norm(dim=-1)
            remembered = self._known(name, rows, sizes)[rows.examples, rows.columns]
            is_official = self.method.estimator == "official"
            draw = self.source.uniform(sizes if is_official else sizes[:k], name)
            p = probabilities(sizes, remembered, rows.real)
            chosen, weights = sampled(p, k, draw, ~remembered.any() if is_official else None)
        remember = partial(self._remember, name, rows)
        y: Tensor = _SampledLinear.apply(x, module.weight, module.bias, chosen, weights, remember)  # type: ignore[no-untyped-call]
        return y

    def _remember(self, name: str, rows: _Rows, gradients: Tensor) -> None:
        self.seen.append((name, rows, self.context.unscaled(full(gradients).norm(dim=-1))))

    def _known(self, name: str, rows: _Rows, like: Tensor) -> Tensor:
        """The norms of a map, (examples, positions), with room for the longest text so far."""
        known = self.norms.get(name)
        if known is None:
            known = like.new_zeros(self.examples or 0, 0)
        if known.shape[1] <= rows.longest:
            known = F.pad(known, (0, rows.longest + 1 - known.shape[1]))
        self.norms[name] = known
        return known

    def _rows(self, x: Tensor) -> _Rows:
        segments, ids = self.segments(x), self.ids.value
        if self.present is not None and self.present[0] is segments:
            return self.present[1]
        if len(ids) != segments.examples:
            raise UserError("wta_crs follows one text an example: it is not available for multiple choice")
        owners, columns, real = segments.ids.flatten(), segments.ranks.flatten() + 1, segments.real
        tokens = len(owners)
        if real is not None:
            real, tokens = real.flatten(), int(real.sum())
            columns = columns * real
        rows = _Rows(ids[owners], columns, real, tokens, segments.padded_length)
        self.present = segments, rows
        return rows


def _maps(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The linear maps of the layers but those of queries, keys and values, by name."""
    layers = encoder_layers(model)
    chosen = set[nn.Module | None]()
    for layer in layers[:-1] if can_pack(model) else layers:
        attention = attention_block(layer)
        chosen |= {*layer.modules()} - {*attention.modules()} | {attention_output(layer)}
    return {name: m for name, m in model.named_modules() if m in chosen and isinstance(m, nn.Linear)}


def _ticks(p: Float[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """Cumulative sums."""
    return (p * _TICKS).long().cumsum(0)
