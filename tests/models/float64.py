"""Whole models in the precisions of a run, packed and padded, held to float64: on a CPU, and in tests/gpu on a GPU."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from hype_bench.contract.objective import task_loss
from hype_bench.models.packing import attach_packing, first_position
from hype_bench.testing.tiny import still, without_dropout
from hype_bench.training.batches import Collator
from hype_bench.training.device import autocast_for, set_up
from hype_bench.training.tokens import Tokens

LENGTHS = [1, 128, 5, 64, 63, 65, 2, 97, 17, 1, 33]
ERROR = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 1e-2}  # of logits and of all gradients together, relative, of norms
_OF_ONE_TENSOR = 3  # times as much: some gradients are small differences of large numbers
_NO_GRADIENT = 1e-9  # of that of all: attention does not depend on the biases of keys
_SIZES = {
    "vocab_size": 64,
    "hidden_size": 64,
    "embedding_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 132,
    "initializer_range": 0.04,
    "num_labels": 3,
    "local_attention": 32,
    "global_attn_every_n_layers": 2,
    **dict.fromkeys(("bos_token_id", "cls_token_id"), 2),
    **dict.fromkeys(("eos_token_id", "sep_token_id"), 3),
}


def check_against_float64(kind: str, precision: str, device: str) -> None:
    """Asserts that logits and gradients of a batch of 1 to 128 tokens, packed and padded, are those of float64.

    Args:
        kind: a ``model_type`` of transformers that can be packed.
    """
    set_up(torch.device(device), precision)
    exact = _exact(kind)
    scale = _norm([gradient for name, gradient in exact.items() if name != "logits"])
    for is_packed in (True, False):
        values = _logits_and_gradients(deepcopy(_classifier(kind)), is_packed, precision, device)
        assert values.keys() == exact.keys()
        far = {name: values[name] - exact[name] for name in exact}
        size = {name: float(tensor.norm()) for name, tensor in exact.items()}
        size |= {name: scale for name, norm in size.items() if norm < _NO_GRADIENT * scale}
        relative = {name: float(far[name].norm() / size[name]) for name in exact}
        assert relative.pop("logits") < ERROR[precision]
        assert _norm([far[name] for name in relative]) / scale < ERROR[precision]
        largest = max(relative, key=relative.__getitem__)
        assert relative[largest] < _OF_ONE_TENSOR * ERROR[precision], (largest, relative[largest])


@cache
def _exact(kind: str) -> dict[str, Tensor]:
    return _logits_and_gradients(still(deepcopy(_classifier(kind))), False, "fp32", "cpu")


@cache
def _classifier(kind: str) -> Any:
    config = AutoConfig.for_model(kind, **_SIZES, pad_token_id=int("roberta" in kind or kind == "camembert"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = without_dropout(AutoModelForSequenceClassification.from_config(config)).train()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # or they begin at 0
                nn.init.normal_(parameter, std=0.04)
    return model


def _logits_and_gradients(model: Any, is_packed: bool, precision: str, device: str) -> dict[str, Tensor]:
    """In float64, on the CPU."""
    model.to(device)
    if is_packed:
        attach_packing(model)
    ids = np.random.default_rng(1).integers(4, 64, sum(LENGTHS)).astype(np.int32)
    tokens = Tokens(ids, None, np.cumsum([0, *LENGTHS]), np.arange(len(LENGTHS)) % 3)
    first = first_position(model) if is_packed else 0
    collate = Collator(is_packed, torch.device(device), first, model.config.pad_token_id)
    batch = collate(tokens, np.arange(len(tokens)))
    labels, _ = batch.pop("labels"), batch.pop("example_ids")
    with autocast_for(torch.device(device), precision):
        logits = model(**batch).logits
        loss = task_loss(logits, labels)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: tensor.detach().double().cpu() for name, tensor in ({"logits": logits} | gradients).items()}


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.stack([tensor.norm() for tensor in tensors]).norm())
