"""Mixout (Lee et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, register
from hype_bench.contract.linear_maps import NeuronMasks, mix, replace_forward
from hype_bench.models.hidden_dropout import all_dropouts, set_dropout
from hype_bench.models.layers import linear_maps
from hype_bench.options import UserError, choice, number


@register("mixout")
@dataclass(frozen=True)
class Mixout(Method):
    r"""Mixout: in training, each input neuron of a linear map uses its pre-trained weights with probability p.

    One mask over the input neurons per linear map and pass; biases are not mixed. All dropout is 0.

    Args:
        p: probability of the pre-trained weights; 0.9 in the released example.
        gradient: `true`, the derivative; `official`, without the factor 1 / (1 - p), as in the released code.
        where: `after_dropout`, the linear maps whose input would have dropout, as in the released example; `every`, all
            linear maps, as in the released Hugging Face example. The former leaves out the second map of each
            feed-forward block, which has no dropout before it.

    Equation:
        W_{\text{eff}} = \frac{(1 - M) \odot W_0 + M \odot W - p W_0}{1 - p}, \quad M \sim \mathrm{Bernoulli}(1 - p)

    Reference:
        Lee, Cho and Kang 2020, *Mixout: Effective Regularization to Finetune Large-scale Pretrained Language Models*,
        ICLR 2020, https://arxiv.org/abs/1909.11299; code: bloodwass/mixout, commit 18f377d

    Differences:
        The released backward pass omits the factor 1 / (1 - p): with p = 0.9 the gradients are ten times too small
        (`gradient=official`). Adam hides most of that, but clipping and weight decay do not. As in the released code,
        masks are per input neuron and not per weight. The released example mixes the linear maps that follow a dropout;
        its Hugging Face example mixes all of them, including the head (`where=every`). The example has p = 0.9,
        asappresearch/revisit-bert-finetuning has p = 0.1.

    Cost:
        One pass per update, a mixed copy of every weight, and a fixed copy of the pre-trained weights.

    Control:
        no_dropout: the missing dropout.

    When it helps:
        The paper reports fewer collapsed runs and better means on RTE, MRPC, CoLA and STS-B with BERT-large.
    """

    p: float = number(0.9, least=0, most=1)
    gradient: str = choice("true", "true", "official")
    where: str = choice("after_dropout", "after_dropout", "every")

    exclusive = frozenset({Exclusive.HIDDEN_DROPOUT, Exclusive.LINEAR_MAPS, Exclusive.OUTPUT_PROJECTION})
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.DROPOUT, Part.LINEAR_MAPS})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        linear_maps(model)
        if self.where == "after_dropout" and model.config.model_type != "xlnet" and not _without_dropout(model):
            raise UserError(
                f"mixout.where=after_dropout is not known for {model.config.model_type}; use mixout.where=every"
            )

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        context.cleanup.callback(set_dropout(all_dropouts(model).values(), 0.0))
        left_out = _without_dropout(model) if self.where == "after_dropout" else set()
        maps = {name: module for name, module in linear_maps(model).items() if module not in left_out}
        masks = NeuronMasks(context.noise("mixout", model), maps, 1 - self.p)
        for name, module in maps.items() if self.p > 0 else []:
            self._wrap(module, name, masks, context)
        return Hooks()

    def _wrap(self, module: nn.Linear, name: str, masks: NeuronMasks, context: Context) -> None:
        target, plain = module.weight.detach().clone(), module.forward

        def forward(x: Tensor) -> Tensor:
            if not module.training:
                return plain(x)
            neurons = masks(name) if self.p < 1 else torch.zeros_like(target[0])
            return F.linear(x, mix(module.weight, target, neurons, self.gradient), module.bias)

        replace_forward(module, forward, context)


def _without_dropout(model: PreTrainedModel) -> set[nn.Module]:
    """The second map of each feed-forward part reads an activation that no dropout touched (XLNet has one there)."""
    if model.config.model_type == "xlnet":
        return set()
    return {
        layer.get_submodule("output.dense")
        for layer in model.modules()
        if hasattr(layer, "intermediate") and hasattr(getattr(layer, "output", None), "dense")
    }
