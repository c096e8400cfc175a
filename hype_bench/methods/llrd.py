"""LLRD (Howard and Ruder 2018; Zhang et al., ICLR 2021)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Groups, Hooks, Method, Part, register
from hype_bench.models.layers import depths, encoder_layers
from hype_bench.options import number


def layer_learning_rate(learning_rate: float, decay: float, depth: int, layers: int) -> float:
    """``learning_rate * decay^(layers + 1 - depth)``.

    Args:
        depth: 0 for embeddings, 1 for the lowest layer, ``layers`` for the highest, one more for pooler and head.

    Reference: Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning", section 6, arXiv:2006.05987
    """
    return learning_rate * decay ** (layers + 1 - depth)


@register("llrd")
@dataclass(frozen=True)
class LLRD(Method):
    r"""LLRD: learning rates decrease layer by layer from the head to the embeddings.

    Layer-wise learning rate decay: the learning rate of each layer is `decay` times that of the layer above. Pooler and
    head have the full rate and no weight decay; the embeddings count as the layer below the lowest one.

    Args:
        decay: ratio between the learning rates of neighbouring layers; 0.95 in the released code.

    Equation:
        \eta_l = \eta \cdot d^{\,L + 1 - l}

    Reference:
        Howard and Ruder 2018, *Universal Language Model Fine-tuning for Text Classification*, ACL 2018; in the form of
        Zhang, Wu, Katiyar, Weinberger and Artzi 2021, *Revisiting Few-sample BERT Fine-tuning*, ICLR 2021,
        https://arxiv.org/abs/2006.05987; code: asappresearch/revisit-bert-finetuning, commit 0aa4f4e

    Differences:
        The released code covers BERT, RoBERTa and ELECTRA; this one covers every family. Parameters that all layers
        share (the relative positions of DeBERTa) count as embeddings. As in the released code, pooler and head have no
        weight decay, so that `decay=1` is not quite vanilla.

    Cost:
        One pass per update; more parameter groups.

    When it helps:
        The paper reports slightly more stable training on small tasks.
    """

    decay: float = number(0.95, above=0, most=1)

    exclusive = frozenset({Exclusive.LEARNING_RATES})
    acts_on = frozenset({Part.PARAMETER_GROUPS})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks(parameter_groups=partial(self._split, model))

    def _split(self, model: PreTrainedModel, groups: Groups) -> Groups:
        layers, height = len(encoder_layers(model)), depths(model)
        split: dict[tuple[int, int], dict[str, Any]] = {}
        members: dict[tuple[int, int], list[Any]] = defaultdict(list)
        for index, group in enumerate(groups):
            for parameter in group["params"]:
                depth = height.get(parameter, layers + 1)  # a head of another technique's own
                rate = layer_learning_rate(group["lr"], self.decay, depth, layers)
                decay = 0.0 if depth == layers + 1 else group["weight_decay"]
                split[depth, index] = {**group, "lr": rate, "weight_decay": decay}
                members[depth, index].append(parameter)
        return [{**split[key], "params": members[key]} for key in sorted(split)]
