"""VeRA (Kopiczko et al., ICLR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, choice, number, register
from hype_bench.contract.adapters import Adapter
from hype_bench.contract.noise import seed_of


def change(
    b: Float[Tensor, "outputs rank"],
    a: Float[Tensor, "rank inputs"],
    of_outputs: Float[Tensor, " outputs"],
    of_rank: Float[Tensor, " rank"],
) -> Float[Tensor, "outputs inputs"]:
    """``diag(b) B diag(d) A``: by how much a weight changes.

    Reference: Kopiczko, Blankevoort and Asano 2024, "VeRA: Vector-based Random Matrix Adaptation", arXiv:2310.11454
    """
    return (of_outputs[:, None] * b) @ (of_rank[:, None] * a)


@register("vera")
@dataclass(frozen=True)
class VeRA(Adapter):
    r"""VeRA: trains two vectors of scales around random low-rank matrices that all layers share.

    The random matrices A and B are frozen; each adapted map has its own scales d of the rank and b of the outputs. At
    the end the products are merged into the weights, which leaves a plain model.

    Args:
        rank: of the random matrices; 256 in peft, 1024 in the paper for RoBERTa-base.
        d_initial: where the scales of the rank start; those of the outputs start at 0.
        dropout: dropout on the input of A.
        target: `query_value`, as published, or `all` linear maps of the layers.

    Equation:
        h = W_0 x + \Lambda_b B \Lambda_d A x, \quad b_0 = 0

    Reference:
        Kopiczko, Blankevoort and Asano 2024, *VeRA: Vector-based Random Matrix Adaptation*, ICLR 2024,
        https://arxiv.org/abs/2310.11454; computed by the peft library

    Differences:
        Options and defaults are peft's. The random matrices follow from the run's seed; maps of other sizes take the
        first rows and columns of the same two. Published learning rates on GLUE are 1e-3 to 1e-2 and higher than the
        head's: set `training.learning_rate`, which is both here. XLNet has its attention matrices outside of linear
        modules: use `target=all`.

    Cost:
        One pass per update, and two products with the random matrices in each adapted map; about 0.02 % of the
        parameters have gradients and optimizer state.

    When it helps:
        The paper reports the scores of LoRA on GLUE with a tenth of its parameters.
    """

    name = "vera"
    tiny_options: ClassVar[Mapping[str, Any]] = {"target": "all"}
    rank: int = number(256, least=1)
    d_initial: float = number(0.1, above=0)
    dropout: float = number(0.0, least=0, below=1)
    target: str = choice("query_value", "query_value", "all")

    def config(self, model: PreTrainedModel, context: Context) -> Any:
        from peft import VeraConfig

        return VeraConfig(
            r=self.rank,
            target_modules=self.maps(model),
            projection_prng_key=seed_of(f"{context.seed}/{self.name}"),
            vera_dropout=self.dropout,
            d_initial=self.d_initial,
        )
