"""BitFit (Ben Zaken et al., ACL 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, register
from hype_bench.contract.freeze import train_only
from hype_bench.models.layers import head_parameters, pooler
from hype_bench.options import UserError

# As the released code has them: `output` also matches attention.output, `output_layernorm` the attention's too.
SUBSETS = {
    "intermediate": "intermediate.dense.bias",
    "key": "attention.self.key.bias",
    "query": "attention.self.query.bias",
    "value": "attention.self.value.bias",
    "output": "output.dense.bias",
    "output_layernorm": "output.LayerNorm.bias",
    "attention_layernorm": "attention.output.LayerNorm.bias",
}


@register("bitfit")
@dataclass(frozen=True)
class BitFit(Method):
    r"""BitFit: only the biases and the head are trained.

    All biases are trained, including those of LayerNorm and of the pooler.

    Args:
        biases: `all`, or a selection of intermediate, key, query, value, output, output_layernorm and
            attention_layernorm; the pooler's bias is always trained.

    Equation:
        \theta_{\text{weights}} \text{ fixed}, \quad \theta_{\text{biases}} \text{ trained}

    Reference:
        Ben Zaken, Goldberg and Ravfogel 2022, *BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based
        Masked Language-models*, ACL 2022, https://aclanthology.org/2022.acl-short.1; code: benzakenelad/BitFit, commit
        7ead19a

    Differences:
        As in the released code, `output` includes the output bias of the attention block, and `output_layernorm` the
        LayerNorm of the attention block. BitFit is trained for 16 epochs with learning rates around 1e-3, where full
        fine-tuning takes 1e-5. The recipe does not change with the method: set `training.learning_rate` and
        `training.epochs`.

    Cost:
        One pass per update; about 0.1 % of the parameters have gradients and optimizer state.

    When it helps:
        The paper reports scores close to those of full fine-tuning on small and medium-sized GLUE tasks.
    """

    biases: str | list[str] = "all"

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS})
    acts_on = frozenset({Part.TRAINED_WEIGHTS})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        endings, kind = self._endings(), model.config.model_type
        names = [name for name, _ in model.base_model.named_parameters()]
        if not any(map(_is_bias, names)):
            raise UserError(f"bitfit cannot work for {kind}: its encoder has no biases")
        if endings is not None and not any(name.endswith(endings) for name in names):
            raise UserError(f"bitfit.biases={self.biases}: {kind} has no bias of that name; use all")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        endings, head, above = self._endings(), head_parameters(model), pooler(model)
        own = set(above.parameters()) if above is not None else set()
        train_only(
            model,
            context,
            lambda name, p: p in head or (_is_bias(name) and (endings is None or p in own or name.endswith(endings))),
        )
        return Hooks()

    def _endings(self) -> tuple[str, ...] | None:
        if self.biases == "all":
            return None
        chosen = [self.biases] if isinstance(self.biases, str) else self.biases
        if not chosen or not set(chosen) <= SUBSETS.keys():
            raise UserError(f"bitfit.biases must be all or some of {', '.join(SUBSETS)}, not {self.biases}")
        return tuple(SUBSETS[key] for key in chosen)


def _is_bias(name: str) -> bool:
    """By the parameter's own name: MPNet's table ``relative_attention_bias.weight`` is none."""
    return "bias" in name.rpartition(".")[2]
