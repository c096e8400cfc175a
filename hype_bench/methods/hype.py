"""HyPe (Yuan et al., ACL 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, NoiseSource, Part, register
from hype_bench.contract.activations import change_input, change_output
from hype_bench.contract.perturbation import perturb, record_changed_fraction
from hype_bench.models.hidden_dropout import check_hidden_dropout, hidden_dropouts, set_dropout
from hype_bench.models.layers import attention_block, encoder_layers, is_layer_norm
from hype_bench.options import UserError, choice, number


def selected_layers(layers: str | list[int], depth: int) -> list[int]:
    """``all``, ``lowest:k``, ``highest:k`` or a list of indices (0 is the lowest) -> indices in ascending order.

    Raises:
        UserError: not of that form, or not within the encoder's ``depth``.
    """
    if layers == "all":
        return list(range(depth))
    if isinstance(layers, str):
        side, _, count = layers.partition(":")
        if side not in ("lowest", "highest") or not count.isdigit() or not 1 <= int(count) <= depth:
            raise UserError(
                f"HyPe's layers must be all, lowest:k, highest:k (k from 1 to {depth}) or a list, not {layers!r}"
            )
        return list(range(depth))[: int(count)] if side == "lowest" else list(range(depth))[-int(count) :]
    if not layers or not all(0 <= index < depth for index in layers):
        raise UserError(f"HyPe's layers must name some of 0 to {depth - 1}, not {layers}")
    return sorted(set(layers))


@register("hype_n", distribution="normal")
@register("hype_u", distribution="uniform")
@dataclass(frozen=True)
class HyPe(Method):
    r"""HyPe-N, HyPe-U: normal (hype_n) or uniform (hype_u) noise on the hidden states between layers, in training.

    The noise is added to the input of every transformer layer, drawn anew for each layer and pass, padding included,
    and never to the output of the last layer (Algorithm 1). Hidden dropout is off unless `dropout` says otherwise.

    Args:
        distribution: of the noise: `normal` in hype_n, `uniform` in hype_u.
        scale: sigma of the noise; the paper searches 1e-5 and 1e-4.
        support: of the uniform distribution: `symmetric`, U(-scale, scale); `official_code`, scale * U[0, 1).
        layers: layers whose input (or inside) is perturbed: `all`, `lowest:k`, `highest:k` or a list of indices, where
            0 is the lowest (Table 18).
        position: `between` layers, `within` them (on the output of the attention block after its LayerNorm, hence also
            on the residual around the feed-forward block), or `both` (Table 17).
        dropout: hidden dropout; 0 as in the paper (section 4.2), 0.1 for Table 9; null leaves it unchanged.

    Equation:
        h^{i+1} = g_i(h^i + \varepsilon), \; \varepsilon \sim N(0, \sigma^2) \text{ or } U(-\sigma, \sigma)

    Reference:
        Yuan, Yuan, Tan, Huang and Huang 2023, *HyPe: Better Pre-trained Language Model Fine-tuning with Hidden
        Representation Perturbation*, ACL 2023, https://aclanthology.org/2023.acl-long.182; code: Yuanhy1997/HyPe,
        commit 196efd5

    Differences:
        The paper's uniform noise is U(-sigma, sigma). The released code adds sigma * U[0, 1), which has mean sigma / 2
        and half the spread (`support=official_code`). In the released code dropout does not depend on the noise: it
        stays on without the flag `--dropout_rate 0.0` (`dropout=null`). Its choice of layers works for BERT only, and
        its noise within layers for BERT and RoBERTa only; here both work for every family. Noise of 1e-5 survives in
        float32 only: a run in bf16, fp16 or tf32 warns and gives the fraction of entries that still change.

    Cost:
        One pass per update and one noise tensor per layer.

    Control:
        no_dropout: the missing dropout.

    When it helps:
        The paper reports gains over vanilla on small GLUE tasks and with little training data. All of these numbers but
        one compare no dropout with a dropout of 0.1: run `no_dropout` as well.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"scale": 0.0, "dropout": None}
    distribution: str = choice("normal", "normal", "uniform")
    scale: float = number(1e-5, least=0)
    support: str = choice("symmetric", "symmetric", "official_code")
    layers: str | list[int] = "all"
    position: str = choice("between", "between", "within", "both")
    dropout: float | None = number(0.0, least=0, below=1)
    capturable = True

    @property
    def exclusive(self) -> frozenset[Exclusive]:
        noise = {Exclusive.HIDDEN_NOISE}
        return frozenset(noise if self.dropout is None else {*noise, Exclusive.HIDDEN_DROPOUT})

    @property
    def acts_on(self) -> frozenset[Part]:
        return frozenset({Part.LAYER_INPUTS} if self.dropout is None else {Part.LAYER_INPUTS, Part.DROPOUT})

    def check(self, model: PreTrainedModel) -> None:
        stack = encoder_layers(model)
        selected_layers(self.layers, len(stack))
        if self.position != "between" and not any(is_layer_norm(m) for m in attention_block(stack[0]).modules()):
            raise UserError(
                f"HyPe's position={self.position} is not known for {model.config.model_type}, whose attention block "
                "does not end in a LayerNorm; use between"
            )
        check_hidden_dropout(model, self.dropout or 0.0, "HyPe's dropout")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.dropout is not None:
            context.cleanup.callback(set_dropout(hidden_dropouts(model).values(), self.dropout))
        stack = encoder_layers(model)
        chosen = selected_layers(self.layers, len(stack))
        if self.scale == 0:
            return Hooks()
        noised = partial(self._noised, context.noise("hype", model), context)
        for index in chosen:
            if self.position in ("between", "both"):
                context.until_finish(change_input(stack[index], partial(noised, f"between/{index}")))
            if self.position in ("within", "both"):
                context.until_finish(change_output(attention_block(stack[index]), partial(noised, f"within/{index}")))
        return Hooks()

    def _noised(self, source: NoiseSource, context: Context, site: str, hidden: Tensor) -> Tensor | None:
        if not context.hidden_noise.value:
            return None
        draw = source.draw(hidden, site, self.distribution)
        noised = perturb(hidden, draw, self.scale, self.distribution, self.support)
        record_changed_fraction(site, hidden, noised, self.scale, context)
        return noised
