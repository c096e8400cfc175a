"""SVFit (Sun et al., 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, Weights, choice, full, number, register
from hype_bench.contract.freeze import train_only
from hype_bench.contract.linear_maps import replace_forward
from hype_bench.contract.lora_targets import target_maps
from hype_bench.contract.no_decay import spare_from_decay
from hype_bench.models.layers import head_parameters

_NAME = "singular_values"


def leading(
    weight: Float[Tensor, "outputs inputs"], rank: int
) -> tuple[Float[Tensor, "outputs rank"], Float[Tensor, " rank"], Float[Tensor, "rank inputs"]]:
    """The first ``rank`` singular vectors and values of a weight."""
    left, values, right = torch.linalg.svd(full(weight), full_matrices=False)
    return left[:, :rank], values[:rank], right[:rank]


def change(
    left: Float[Tensor, "outputs rank"], difference: Float[Tensor, " rank"], right: Float[Tensor, "rank inputs"]
) -> Float[Tensor, "outputs inputs"]:
    """``U diag(difference) V``: by how much the weight changes with its singular values."""
    return (left * difference) @ right


@register("svfit")
@dataclass(frozen=True)
class SVFit(Method):
    r"""SVFit: trains the largest singular values of the linear maps and nothing else of them.

    Singular vectors, the other singular values and all other weights of the encoder are frozen. At the end the changed
    values are written into the weights, which leaves a plain model.

    Args:
        rank: how many singular values of each map are trained.
        target: `query_value`, or `all` linear maps of the layers.

    Equation:
        W(s) = \sum_{k \le r} s_k u_k v_k^\top + \sum_{k > r} \sigma_k u_k v_k^\top

    Reference:
        Sun, Wei, Wu and others 2024, *SVFit: Parameter-Efficient Fine-Tuning of Large Pre-Trained Models Using Singular
        Values*, https://arxiv.org/abs/2409.05926; no code was found

    Differences:
        Rank, maps and learning rate of the paper were not found: rank 8 and the maps of LoRA are a choice of this
        project. The values are of order 1 to 30, so that they need a learning rate of 1e-3 or more: set
        `training.learning_rate`. They have no weight decay, which would pull pre-trained values to 0. XLNet has its
        attention matrices outside of linear modules: `target=all` covers its feed-forward blocks.

    Cost:
        One pass per update, a singular value decomposition of each map at the start; a number for each trained value.

    When it helps:
        The paper reports gains over LoRA with a sixteenth of its parameters.
    """

    wraps_weights = True
    tiny_options: ClassVar[Mapping[str, Any]] = {"target": "all"}
    rank: int = number(8, least=1)
    target: str = choice("query_value", "query_value", "all")

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS, Exclusive.LINEAR_MAPS, Exclusive.TRAINED_ENTRIES})
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.LINEAR_MAPS, Part.PARAMETER_GROUPS})

    def check(self, model: PreTrainedModel) -> None:
        target_maps("svfit", model, self.target)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        head, changes = head_parameters(model), {}
        for name in target_maps("svfit", model, self.target):
            module = model.get_submodule(name)
            assert isinstance(module, nn.Linear)
            changes[name] = self._train_values(module, context)
        train_only(model, context, lambda name, p: name.endswith(_NAME) or p in head)
        return Hooks(
            parameter_groups=lambda groups: spare_from_decay(groups, model, _NAME),
            plain_weights=partial(_merged, changes),
        )

    def _train_values(self, module: nn.Linear, context: Context) -> Callable[[], Tensor]:
        """Returns what gives the change of the weight."""
        left, start, right = leading(module.weight.detach(), self.rank)
        values = nn.Parameter(start.clone())
        module.register_parameter(_NAME, values)

        def forward(x: Tensor) -> Tensor:
            added = F.linear(F.linear(x, right.to(x.dtype)) * (values - start).to(x.dtype), left.to(x.dtype))
            return F.linear(x, module.weight, module.bias) + added

        @torch.no_grad()
        def of_weight() -> Tensor:
            return change(left, values - start, right).to(module.weight.dtype)

        @torch.no_grad()
        def merge() -> None:
            del module._parameters[_NAME]
            module.weight += of_weight()

        replace_forward(module, forward, context)
        context.cleanup.callback(merge)
        return of_weight


def _merged(changes: Mapping[str, Callable[[], Tensor]], weights: Weights) -> Weights:
    """Without the values, by which the weights are changed."""
    plain = {name: value for name, value in weights.items() if not name.endswith(_NAME)}
    return plain | {f"{name}.weight": plain[f"{name}.weight"] + of_weight() for name, of_weight in changes.items()}
