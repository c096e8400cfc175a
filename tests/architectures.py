"""Tiny models of architectures beside the six families: random weights, no tokenizer. And what they cannot take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from hype_bench.models.hidden_dropout import set_in_config
from hype_bench.testing.copies import copies_of

_NUMBERS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "cls_token_id": 1,
    "sep_token_id": 2,
    "mask_token_id": 3,
} | _NUMBERS
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
_FEW_KEYS = _SIZES | {"num_key_value_heads": 1, "head_dim": 8}
DECODERS: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2} | _NUMBERS,
    **dict.fromkeys(("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"), _FEW_KEYS),
}
FOR_DECODERS = ("hype_n", "hype_u", "neftune", "noisefit", "r_drop")  # their papers, or their users, have decoders

_NO_STACK = {
    "child_tuning_d", "cutoff", "drop_head", "greentrainer", "hft", "hype_n", "hype_u", "layer_drop", "llrd", "lnsr",
    "lora", "mixup", "noisefit", "reinit", "rose", "sage", "sara", "smart", "ssf", "svfit", "top_k",
    "dora", "ia3", "lora_plus", "vera", "wta_crs",
    "adalora", "dsee", "levi", "parallel_adapter", "prefix_tuning",
}  # fmt: skip
_NO_WORDS = {
    "awp", "child_tuning_f", "cutoff", "fgm", "free_at", "freelb", "neftune", "pgd", "r3f", "r4f", "vat",
    "word_dropout",
}  # fmt: skip
_POOLED = {"drop_head", "layer_drop", "levi", "lnsr", "mixup", "noisefit", "wta_crs"}
REFUSED = {
    "albert": _NO_STACK | {"mixout"},  # its layers share their weights
    "canine": _NO_WORDS | _POOLED | {"prefix_tuning", "self_distillation"},  # it hashes characters and pools them
    "distilbert": {"mixout"},  # as to its default: where=every works
    "electra": {"self_distillation"},  # not pre-trained to fill in words
    "eurobert": {  # no dropout, no bias, a head on all tokens
        "bitfit",
        "dr_tune",
        "fourier_head",
        "levi",
        "match_tuning",
        "mixout",
        "nmtune",
        "no_dropout",
        "rose",
        "supervised_contrastive",
    },
    "longformer": {"cutoff", "prefix_tuning"},  # it pads to its window
    **{kind: {"prefix_tuning"} for kind in ("deberta", "deberta_v2", "mpnet")},  # attention with positions of its own
    "xlnet": {"drop_head", "ia3", "prefix_tuning", "ssf", "self_distillation"},  # its attention has no linear modules
    "funnel": _NO_STACK | {"mixout", "self_distillation"},  # its layers stand in blocks of their own length
    "modernbert": {"bitfit", "mixout"},  # no bias
}


def architecture(kind: str, outputs: int = 3, dropout: float = 0.1) -> Any:
    """A classifier whose hidden dropout is set as a run sets it."""
    return _copies(kind, outputs, dropout)()


@cache
def _copies(kind: str, outputs: int, dropout: float) -> Callable[[], Any]:
    config = AutoConfig.for_model(kind, **(ARCHITECTURES | DECODERS)[kind])
    config.num_labels = outputs
    set_in_config(config, dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return copies_of(AutoModelForSequenceClassification.from_config(config))
