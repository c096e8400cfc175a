"""(IA)^3 (Liu et al., NeurIPS 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from hype_bench.contract import Context, register
from hype_bench.contract.adapters import Adapter
from hype_bench.contract.lora_targets import key_value_maps, outputs_of_feed_forward


@register("ia3")
@dataclass(frozen=True)
class IA3(Adapter):
    r"""IA3: trains a factor for each feature of keys, values and the inner feed-forward activations, and nothing else.

    The encoder is frozen. At the end the factors are merged into the weights, which leaves a plain model.

    Equation:
        k \leftarrow l_k \odot k, \quad v \leftarrow l_v \odot v, \quad \mathrm{FFN}(x) = W_2 (l_f \odot \gamma(W_1 x)),
        \quad l_0 = 1

    Reference:
        Liu, Tam, Muqeeth, Mohta, Huang, Bansal and Raffel 2022, *Few-Shot Parameter-Efficient Fine-Tuning is Better and
        Cheaper than In-Context Learning*, NeurIPS 2022, https://arxiv.org/abs/2205.05638; computed by the peft library

    Differences:
        Published for T5. peft's list for BERT names the feed-forward output by `output.dense`, which the output of
        attention is called too, and so scales that as well; here it is the feed-forward part alone, as in the paper.
        DeBERTa and ModernBERT compute query, key and value with one map, so that the query is scaled too. Not available
        for XLNet, whose attention has no linear modules. Factors have no weight decay, which would pull them to 0. The
        published learning rate is 3e-3: set `training.learning_rate`.

    Cost:
        One pass per update; about 0.05 % of the parameters have gradients and optimizer state.

    When it helps:
        The paper reports more than full fine-tuning with few examples. SSF is a relative that shifts too.
    """

    name = "ia3"

    def maps(self, model: PreTrainedModel) -> list[str]:
        return [*key_value_maps(self.name, model), *outputs_of_feed_forward(model)]

    def config(self, model: PreTrainedModel, context: Context) -> Any:
        from peft import IA3Config

        return IA3Config(target_modules=self.maps(model), feedforward_modules=outputs_of_feed_forward(model))

    @property
    def undecayed(self) -> str:
        return ".ia3_l."
