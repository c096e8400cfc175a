"""LNSR: layers may not amplify noise that enters one of them (Hua et al., NAACL 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract.context import Batch, Context
from hype_bench.contract.method import Forward, Hooks, Loss, Method, full
from hype_bench.contract.passes import Divergence
from hype_bench.contract.registry import register
from hype_bench.methods.hype import perturb
from hype_bench.models.layers import encoder_layers
from hype_bench.models.segments import Segments, check_every_token
from hype_bench.options import UserError, number


def instability(clean: Sequence[Tensor], noised: Sequence[Tensor], real: Tensor) -> Tensor:
    """The sum over layers of the squared length of the difference, averaged over real tokens.

    Args:
        clean, noised: the outputs of the same layers in two passes, each (.., .., width).
        real: where there is no padding, the first two dimensions of those.

    Reference: Hua et al. 2021, "Noise Stability Regularization for Improving BERT Fine-tuning", arXiv:2107.04835
    """
    differences = [((full(a) - full(b)).square().sum(-1) * real).sum() for a, b in zip(clean, noised, strict=True)]
    return torch.stack(differences).sum() / real.sum()


@register("lnsr")
@dataclass(frozen=True)
class LNSR(Method):
    r"""LNSR: penalises how much the layers above amplify noise at the input of one layer.

    The task loss plus the squared distance between the hidden states of a clean and a noised pass, summed over the
    noised layer and all above it. Both passes share their dropout masks and the noise of other techniques, so that the
    penalty is 0 without noise.

    Args:
        scale: standard deviation of the normal noise; `noise_scale` does not set it.
        layer: layer whose input is perturbed; 0 is the lowest.
        weight: lambda, the weight of the penalty, the same for all layers.

    Equation:
        \ell + \lambda \sum_{r \ge b} \left\| h_r(x) - h_r(x + \varepsilon_b) \right\|^2, \quad \varepsilon_b \sim N(0,
        \sigma^2)

    Reference:
        Hua, Li, Dou, Xu and Luo 2021, *Noise Stability Regularization for Improving BERT Fine-tuning*, NAACL 2021,
        https://arxiv.org/abs/2107.04835; no official code found

    Differences:
        Implemented from the formula: there is no public code to compare with, and HyPe copies its LNSR row from another
        paper. The published sigma, layer and lambda are not known here; 1e-2, the lowest layer and 1 are choices of
        this project. The squared distance is averaged over all tokens except padding, and every layer has the same
        weight. With separate dropout masks the penalty would measure dropout, whose effect is a thousand times that of
        noise of 1e-2. The second form of the paper, whose noise is made of differences between inputs, is not
        implemented.

    Cost:
        Two passes per update, and the hidden states of both; the top layer is computed for every token, where a packed
        row of vanilla computes it for the first token of each sequence only.

    When it helps:
        The paper reports higher means and less spread on small GLUE tasks with BERT.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"weight": 0.0}
    scale: float = number(1e-2, least=0)
    layer: int = number(0, least=0)
    weight: float = number(1.0, least=0)

    def check(self, model: PreTrainedModel) -> None:
        check_every_token(model)
        highest = len(encoder_layers(model)) - 1
        if self.layer > highest:
            raise UserError(f"lnsr.layer must be at most {highest}, the highest of this encoder, not {self.layer}")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        layers = encoder_layers(model)
        if self.weight == 0:
            return Hooks()
        source, length_first = context.noise("lnsr", model), model.config.model_type == "xlnet"
        divergence = Divergence("lnsr", context)

        def enter(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not (module.training and context.present.get("lnsr_noise")):
                return None
            return (perturb(args[0], source.normal(args[0], "hidden"), self.scale, "normal"), *args[1:])

        def leave(index: int, module: nn.Module, args: Any, output: Any) -> None:
            if (states := context.present.get("lnsr_states")) is not None:  # the first pass is what counts
                states.setdefault(index, output[0] if isinstance(output, tuple) else output)

        context.until_finish(layers[self.layer].register_forward_pre_hook(enter))
        for index, module in enumerate(layers[self.layer :]):
            context.until_finish(module.register_forward_hook(partial(leave, index)))

        def loss(batch: Batch, forward: Forward, inner: Loss) -> Tensor:
            clean, noised = dict[int, Tensor](), dict[int, Tensor]()
            again = context.bookmark(model)
            with context.during(lnsr_states=clean):
                task = inner(batch, forward)
            with again(), context.during(lnsr_states=noised, lnsr_noise=True):
                forward(batch)
            real = Segments.from_inputs(batch, length_first).for_hidden(next(iter(clean.values()))).mask
            added = instability(list(clean.values()), list(noised.values()), real)
            return task + self.weight * divergence.watch(added)

        return Hooks(loss=loss)
