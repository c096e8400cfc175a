"""LoRA (Hu et al., ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, Weights, register
from hype_bench.contract.freeze import train_only
from hype_bench.contract.lora_targets import target_maps
from hype_bench.models.layers import head_parameters
from hype_bench.options import choice, number


@register("lora")
@dataclass(frozen=True)
class LoRA(Method):
    r"""LoRA: trains low-rank additions to frozen linear maps.

    The linear maps of the encoder layers become W x + B A x * alpha / rank. Only A, B and the head are trained. At the
    end the products are merged into the weights, which leaves a plain model.

    Args:
        rank: rank r of the addition; 8 in peft.
        alpha: numerator of the scale; 8 in peft.
        dropout: dropout on the input of A.
        target: `query_value`, the choice of the paper for most experiments, or `all` linear maps of the layers.
        rank_stabilized: whether the scale is alpha / sqrt(rank) (rsLoRA).

    Equation:
        h = W_0 x + \frac{\alpha}{r} B A x, \quad B_0 = 0

    Reference:
        Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen 2022, *LoRA: Low-Rank Adaptation of Large Language Models*,
        ICLR 2022, https://arxiv.org/abs/2106.09685; computed by the peft library; rsLoRA: Kalajdzievski 2023,
        https://arxiv.org/abs/2312.03732

    Differences:
        The layers and the defaults are those of peft. `target=all` means the linear maps of the layers; choosing them
        by the name `dense` would include the pooler. XLNet has its attention matrices outside of linear modules:
        `target=query_value` is refused for it, and `target=all` covers its feed-forward blocks. DeBERTa and ModernBERT
        compute query, key and value with one map, so that the key is adapted too. Learning rates are around 1e-4 to
        1e-3, where full fine-tuning takes 1e-5: set `training.learning_rate`.

    Cost:
        One pass per update; about 1 % of the parameters have gradients and optimizer state.

    When it helps:
        The paper reports the scores of full fine-tuning on GLUE with RoBERTa and DeBERTa.
    """

    wraps_weights = True
    rank: int = number(8, least=1)
    alpha: float = number(8.0, above=0)
    dropout: float = number(0.0, least=0, below=1)
    target: str = choice("query_value", "query_value", "all")
    rank_stabilized: bool = False

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS, Exclusive.LINEAR_MAPS, Exclusive.TRAINED_ENTRIES})
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.LINEAR_MAPS})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        target_maps("lora", model, self.target)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        from peft import LoraConfig  # seconds: only where it is used
        from peft.tuners.lora import LoraModel

        head = head_parameters(model)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            use_rslora=self.rank_stabilized,
            target_modules=target_maps("lora", model, self.target),
        )
        trained = [p for p in model.parameters() if p.requires_grad]
        with context.own_randomness("lora", model):
            tuner: Any = LoraModel(model, config, "default")
        for parameter in trained:  # the library freezes them; what this project's own rule freezes comes back
            parameter.requires_grad_(True)

        context.cleanup.callback(tuner.merge_and_unload)
        train_only(model, context, lambda name, p: ".lora_" in name or p in head)
        return Hooks(plain_weights=partial(_merged, tuner))


@torch.no_grad()
def _merged(tuner: Any, weights: Weights) -> Weights:
    """With the products added, under the names of the plain model."""
    from peft.tuners.lora import LoraLayer

    plain = {name.replace(".base_layer.", "."): value for name, value in weights.items() if ".lora_" not in name}
    modules: dict[str, Any] = dict(tuner.model.named_modules())
    for name in (name for name, module in modules.items() if isinstance(module, LoraLayer)):
        plain[f"{name}.weight"] = plain[f"{name}.weight"] + modules[name].get_delta_weight("default")
    return plain
