"""The masked-language head of an encoder's architecture, which a sequence classifier does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.pretrained import loading_errors
from hype_bench.options import UserError

_OTHER_PRETRAINING = ("electra", "funnel")  # discriminators, whose class for masked words has other weights


class MaskedLMHead(nn.Module):
    """What ``AutoModelForMaskedLM`` has above its encoder; the output map stays tied to the embeddings of ``model``.

    Attributes:
        is_pretrained: whether its weights come from the checkpoint of ``model``; if not, the architecture draws them.
        own: its parameters, without the embeddings.
        words: of the vocabulary.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        check_masked_lm(model)
        whole, self.is_pretrained = _loaded(model)
        table: Any = model.get_input_embeddings()
        self.words = len(table.weight)
        self.states = _Given(model.base_model, table)
        self.whole = whole
        self.whole.to(device=table.weight.device, dtype=table.weight.dtype)
        setattr(self.whole, self.whole.base_model_prefix, self.states)
        self.whole.tie_weights()
        encoder = set(model.parameters())
        self.own = [p for p in self.whole.parameters() if p not in encoder]

    def forward(self, states: Float[Tensor, "rows width"]) -> Float[Tensor, "rows words"]:
        self.states.given = states[None]
        logits: Tensor = self.whole(inputs_embeds=states[None]).logits
        return logits.squeeze(0)


class _Given(nn.Module):
    """In the place of the encoder: returns hidden states that were computed elsewhere."""

    def __init__(self, encoder: nn.Module, table: nn.Module) -> None:
        super().__init__()
        self.given = torch.zeros(0)
        for name, child in encoder.named_children():
            if table in set(child.modules()):
                self.add_module(name, child)  # where the output map finds what it is tied to

    def forward(self, *args: Any, **kwargs: Any) -> _Output:
        return _Output([self.given])


class _Output(tuple[Tensor, ...]):
    """Hidden states alone: None for whatever else a model reads of its encoder's output."""

    @property
    def last_hidden_state(self) -> Tensor:
        return self[0]

    def __getattr__(self, name: str) -> None:
        return None


def check_masked_lm(model: PreTrainedModel) -> None:
    """Raises UserError for an architecture that was not pre-trained to fill in masked words."""
    kind = model.config.model_type
    if kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or kind in _OTHER_PRETRAINING:
        raise UserError(f"not available for {kind}, which was not pre-trained to fill in masked words")


def _loaded(model: PreTrainedModel) -> tuple[Any, bool]:
    """The architecture's model for masked words, and whether the head was in the checkpoint."""
    if not (path := model.name_or_path):
        return AutoModelForMaskedLM.from_config(model.config, trust_remote_code=False), False
    with loading_errors(Checkpoint(path, path, path, Path(path).is_dir())):
        whole, info = AutoModelForMaskedLM.from_pretrained(
            path, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
    prefix = f"{whole.base_model_prefix}."
    return whole, all(key.startswith(prefix) for key in info["missing_keys"])
