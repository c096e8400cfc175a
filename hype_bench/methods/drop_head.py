"""DropHead (Zhou et al., Findings of EMNLP 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, Part, UserError, choice, number, register
from hype_bench.contract.activations import change_input, current_segments
from hype_bench.models.layers import attention_output, encoder_layers


def drop_heads(
    attended: Float[Tensor, "*positions width"],
    keep: Bool[Tensor, "examples heads"],
    owners: Int[Tensor, "*positions"],
) -> Float[Tensor, "*positions width"]:
    """Zeros where a head is dropped for the example; the others are multiplied by heads / kept heads of the example.

    Args:
        attended: the outputs of all heads, one behind the other.
        owners: the example of each position.

    Reference: Zhou et al. 2020, "Scheduled DropHead: A Regularization Method for Transformer Models",
    arXiv:2004.13342
    """
    heads = keep.shape[1]
    kept = keep.sum(1, keepdim=True)
    factors = keep.to(attended.dtype) * heads / kept
    dropped: Tensor = attended.unflatten(-1, (heads, -1)) * factors[owners].unsqueeze(-1)
    return dropped.flatten(-2)


def rate(p: float, done: int, updates: int, warmup: int) -> float:
    """In the form of a V: from ``p`` to 0 during warm-up, and back to ``p`` at the end of the run."""
    return p * (1 - done / warmup if done < warmup else (done - warmup) / max(1, updates - warmup))


@register("drop_head")
@dataclass(frozen=True)
class DropHead(Method):
    r"""DropHead: in training, whole attention heads are dropped, for each example others.

    Args:
        p: the probability that a head is dropped; 0.1 in the code followed, 0.2 in the paper.
        schedule: `constant`; `v`, from p to 0 during warm-up, and back to p at the end.

    Equation:
        o_h \leftarrow \frac{H}{\sum_{h'} m_{h'}} \, m_h \, o_h, \quad m_h \sim \mathrm{Bernoulli}(1 - p)

    Reference:
        Zhou, Ge, Wei, Zhou and Xu 2020, *Scheduled DropHead: A Regularization Method for Transformer Models*, Findings
        of EMNLP 2020, https://arxiv.org/abs/2004.13342; no official code; code followed: Kirill-Kravtsov/
        drophead-pytorch, commit 70dcd74, by a third party

    Differences:
        The paper changes p in the form of a V over the run, which the code followed does not; its constants were not
        found, so that `schedule=v` begins and ends with the same p, and a constant p is the default. Where all heads of
        an example would be dropped, the code followed divides by 0; here all of them stay. XLNet has no linear map
        behind its heads and is refused.

    Cost:
        One pass per update.

    When it helps:
        The paper reports gains for translation and for fine-tuning BERT on text classification.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"p": 0.0}
    p: float = number(0.1, least=0, below=1)
    schedule: str = choice("constant", "constant", "v", added_later=True)

    needs_every_token = True
    acts_on = frozenset({Part.LAYER_OUTPUTS, Part.LINEAR_MAPS})

    def check(self, model: PreTrainedModel) -> None:
        for layer in encoder_layers(model):
            _output_map(layer, model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.p == 0:
            return Hooks()
        source, segments = context.noise("drop_head", model), current_segments(model, context)
        heads, present = int(model.config.num_attention_heads), _Rate(self, context)

        def dropped(attended: Tensor, site: str) -> Tensor:
            current = segments(attended)
            draw = source.uniform(attended.new_empty(current.examples, heads), site)
            keep = draw >= present.p
            return drop_heads(attended, keep | ~keep.any(1, keepdim=True), current.ids)

        for index, layer in enumerate(encoder_layers(model)):
            site = f"layer {index}"
            context.until_finish(change_input(_output_map(layer, model), partial(dropped, site=site)))
        return Hooks() if self.schedule == "constant" else Hooks.of(present)


class _Rate:
    """The probability at this update."""

    def __init__(self, method: DropHead, context: Context) -> None:
        self.method, self.warmup, self.done, self.p = method, context.warmup, 0, method.p
        self.updates = context.needs("drop_head", "updates") if method.schedule == "v" else 0

    def after_step(self, optimizer: Optimizer) -> None:
        self.done += 1
        self.p = rate(self.method.p, self.done, self.updates, self.warmup)


def _output_map(layer: nn.Module, model: PreTrainedModel) -> nn.Module:
    if (joining := attention_output(layer)) is None:
        raise UserError(f"drop_head is not available for {model.config.model_type}: no linear map joins its heads")
    return joining
