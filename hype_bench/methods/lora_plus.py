"""LoRA+ (Hayou et al., ICML 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn
from transformers import PreTrainedModel

from hype_bench.contract import Context, Groups, Hooks, Part, number, register
from hype_bench.contract.low_rank import LowRank


def with_faster(groups: Groups, faster: set[nn.Parameter], ratio: float) -> Groups:
    """The groups with the parameters that are ``faster`` in groups whose learning rate is ``ratio`` times as high.

    Reference: Hayou, Ghosh and Yu 2024, "LoRA+: Efficient Low Rank Adaptation of Large Models", arXiv:2402.12354
    """
    others = [{**group, "params": [p for p in group["params"] if p not in faster]} for group in groups]
    own = [
        {**group, "params": chosen, "lr": ratio * group["lr"]}
        for group in groups
        if (chosen := [p for p in group["params"] if p in faster])
    ]
    return [*others, *own]


@register("lora_plus")
@dataclass(frozen=True)
class LoRAPlus(LowRank):
    r"""LoRA+: LoRA whose factor B has a higher learning rate than A.

    Args:
        rank: rank r of the addition; 8 in the released command for RoBERTa.
        alpha: numerator of the scale; 8 in the released command.
        dropout: dropout on the input of A.
        target: `query_value`, or `all` linear maps of the layers; the released command has query and key.
        ratio: learning rate of B over that of A; 20 in the released command, which gives A 1e-4.

    Equation:
        A \leftarrow A - \eta \, g_A, \quad B \leftarrow B - \lambda \eta \, g_B

    Reference:
        Hayou, Ghosh and Yu 2024, *LoRA+: Efficient Low Rank Adaptation of Large Models*, ICML 2024,
        https://arxiv.org/abs/2402.12354; code: nikhil-ghosh-berkeley/loraplus, commit 58fec99,
        glue/scripts/run_roberta_lora.sh; A and B are computed by the peft library

    Differences:
        The released code, and peft's optimizer, give the higher rate to every vector too, the head's bias among them;
        here it is B's alone, as in the paper. Warm-up and decay act on both rates. With `ratio=1` it is LoRA. Learning
        rates of A are around 1e-4: set `training.learning_rate`. XLNet has its attention matrices outside of linear
        modules: use `target=all`.

    Cost:
        As LoRA.

    When it helps:
        The paper reports 1 to 2 points over LoRA and up to twice its speed, most on hard tasks.

    Control:
        lora: what one learning rate for both gives.
    """

    name = "lora_plus"
    tiny_options: ClassVar[Mapping[str, Any]] = {"target": "all", "ratio": 4.0}
    ratio: float = number(20.0, above=0)

    @property
    def acts_on(self) -> frozenset[Part]:
        return super().acts_on | {Part.PARAMETER_GROUPS}

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        hooks = super().prepare(model, context)
        faster = {p for name, p in model.named_parameters() if ".lora_B." in name}
        return replace(hooks, parameter_groups=lambda groups: with_faster(groups, faster, self.ratio))
