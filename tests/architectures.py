"""Tiny encoders of architectures beside the six families: random weights, no tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from hype_bench.models.hidden_dropout import set_in_config
from hype_bench.testing.copies import copies_of

_SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "cls_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 2,
    "mask_token_id": 3,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 32},
    "modernbert": _SIZES | {"global_attn_every_n_layers": 2, "local_attention": 8},
    "funnel": {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [1, 1]},
    "albert": _SIZES | {"embedding_size": 8, "hidden_dropout_prob": 0.1},
    "mpnet": _SIZES,
    "longformer": _SIZES | {"attention_window": 4},
    "camembert": _SIZES | {"type_vocab_size": 1},
    "xlm-roberta": _SIZES | {"type_vocab_size": 1},
    "canine": _SIZES | {"num_hash_buckets": 16, "num_hash_functions": 4, "local_transformer_stride": 8},
    "eurobert": _SIZES | {"num_key_value_heads": 2},
}


def architecture(kind: str, outputs: int = 3, dropout: float = 0.1) -> Any:
    """A classifier whose hidden dropout is set as a run sets it."""
    return _copies(kind, outputs, dropout)()


@cache
def _copies(kind: str, outputs: int, dropout: float) -> Callable[[], Any]:
    config = AutoConfig.for_model(kind, **ARCHITECTURES[kind])
    config.num_labels = outputs
    set_in_config(config, dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return copies_of(AutoModelForSequenceClassification.from_config(config))
