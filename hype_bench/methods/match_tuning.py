"""Match-Tuning (Tong et al., IJCAI 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, Part, register
from hype_bench.contract.activations import change_input
from hype_bench.models.layers import output_projection
from hype_bench.options import UserError, number


def match(features: Float[Tensor, "batch width"], temperature: float) -> Float[Tensor, "batch width"]:
    """``M r`` with ``M = softmax(r r^T / temperature)`` over rows, r the features; an example matches itself too.

    Reference: Tong et al. 2022, "Robust Fine-tuning via Perturbation and Interpolation from In-batch Instances",
    arXiv:2205.00633
    """
    return (features @ features.transpose(-1, -2) / temperature).softmax(-1) @ features


@register("match_tuning")
@dataclass(frozen=True)
class MatchTuning(Method):
    r"""Match-Tuning: in training, the features of a batch are mixed by similarity before the output projection.

    In evaluation nothing is mixed (M is the identity), because a prediction must not depend on the rest of its batch.

    Args:
        temperature: T of the softmax; the value of the paper is not known here.

    Equation:
        r' = M r, \quad M = \mathrm{softmax}(r r^\top / T)

    Reference:
        Tong, Dong, Dai, Song, Liu, Chang and Sui 2022, *Robust Fine-tuning via Perturbation and Interpolation from
        In-batch Instances*, IJCAI 2022, https://arxiv.org/abs/2205.00633; code: tongshoujie/MATCH-TUNING, commit
        e844163

    Differences:
        The released code has 20 lines and gives neither a temperature, nor a schedule, nor what happens at inference.
        Temperature 1 and the identity at inference are choices of this project. The features r are the input of the
        output projection, after dropout. With gradient accumulation, mixing is within one micro-batch.

    Cost:
        One pass per update and one matrix of size batch x batch.

    When it helps:
        The paper reports gains on GLUE and robustness to label noise and adversarial text.
    """

    reads_features = True
    temperature: float = number(1.0, above=0)

    acts_on = frozenset({Part.HEAD_INPUTS})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        output_projection(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        def mixed(features: Tensor) -> Tensor:
            if features.dim() != 2:
                raise UserError(f"match_tuning cannot work for {model.config.model_type}: its head reads all tokens")
            return match(features, self.temperature)

        context.until_finish(change_input(output_projection(model), mixed))
        return Hooks()
