"""TuCo: the share of fine-tuning in the hidden state that the head reads."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.contract.activations import first_of
from hype_bench.models.layers import encoder_layers
from hype_bench.tasks.data import Split


@dataclass(frozen=True)
class Tuco(Analysis):
    """The tuning contribution (TuCo): how much of what the layers add to a hidden state is due to fine-tuning.

    Each layer of the trained encoder adds `F(x) - x` to the hidden states x. What the pre-trained layer adds to the
    same states is the part of pre-training, the rest that of fine-tuning. Both are summed over the layers, at the token
    that the head reads; TuCo is the share of fine-tuning in their L1 norms, between 0 and 1. The first score is its
    mean over the split that is reported. `right` and `wrong` have the mean over the examples that the run predicts
    rightly and wrongly, `layer_1` and so on the share within a layer; `arrays.npz` has every example's value.

    Claim: where fine-tuning acts less, it is circumvented: of language models, prompts that break their safety training
    have a lower TuCo.

    Source: Nuti, Franzmeyer and Henriques 2025, "TuCo: Measuring the Contribution of Fine-Tuning to Individual
    Responses of LLMs", ICML, https://arxiv.org/abs/2506.23423, Definition 4.3. Their code
    (FelipeNuti/tuning-contribution) could not be compared. It is for decoders whose layers add to a residual stream, at
    the last token. In an encoder with LayerNorm behind the residual sum, what a layer adds is taken as its output less
    its input, and the token is the one that the head reads; what layers share (DeBERTa's relative positions) and the
    embeddings are those of the trained model.

    Cost: the run, if its weights were not kept; one pass with every layer computed twice.
    """

    metric = "tuco"
    needs_every_token = True

    def measure(self, trained: Trained) -> Measured:
        start = trained.start()
        measured = Measured()
        for split in trained.data.evaluation:
            _measure_split(trained, start, split, measured)
        return measured


def share_of(pretrained: Tensor, tuned: Tensor) -> Tensor:
    """``|tuned|_1 / (|pretrained|_1 + |tuned|_1)`` over the last dimension; NaN where both are 0."""
    of_tuned = tuned.abs().sum(-1)
    return of_tuned / (pretrained.abs().sum(-1) + of_tuned)


def contributions(start: PreTrainedModel, model: PreTrainedModel, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """What the layers add to the states that the head reads, in the model's forward pass on a batch.

    Args:
        start: the same architecture with the pre-trained weights.
        batch: keyword arguments of the forward call, padded or packed; every token is computed in the top layer.

    Returns:
        The parts of pre-training and of fine-tuning, each (layers, examples, width).
    """
    parts: list[tuple[Tensor, Tensor]] = []
    read = partial(_read_by_head, batch=batch, length_first=model.config.model_type == "xlnet")

    def compare(layer: nn.Module, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        state, before, after = map(read, (args[0], first_of(layer(*args, **kwargs)), first_of(output)))
        parts.append((before - state, after - before))

    with ExitStack() as handles:
        for layer, module in zip(encoder_layers(start), encoder_layers(model), strict=True):
            hook = module.register_forward_hook(partial(compare, layer), with_kwargs=True)
            handles.callback(hook.remove)
        model(**batch)
    pretrained, tuned = zip(*parts, strict=True)
    return torch.stack(pretrained), torch.stack(tuned)


def _read_by_head(hidden: Tensor, batch: Mapping[str, Any], length_first: bool) -> Tensor:
    """(examples, width), of the first token; XLNet's head reads the last, and its states are (length, batch, width)."""
    if (packing := batch.get("packing")) is not None:
        return hidden[0].index_select(0, packing.starts)
    return hidden[-1] if length_first else hidden[:, 0]


def _measure_split(trained: Trained, start: PreTrainedModel, split: Split, measured: Measured) -> None:
    tokens, layers = trained.tokens(split), len(encoder_layers(trained.model))
    values, of_layers = np.empty(len(split)), np.empty((layers, len(split)))
    with torch.inference_mode(), trained.autocast:
        for indices, batch in trained.batches(tokens):
            del batch["labels"]
            parts = contributions(start, trained.model, batch)
            values[indices] = share_of(*(part.sum(0) for part in parts)).float().cpu().numpy()
            of_layers[:, indices] = share_of(*parts).float().cpu().numpy()
    prefix = "" if not measured.scores else f"{split.name}_"
    measured.scores[split.name] = {"tuco": float(values.mean())}
    measured.rows[split.name] = len(split)
    if trained.data.labels:
        is_right = trained.predict(split).argmax(axis=1) == split.labels
        for name, chosen in (("right", is_right), ("wrong", ~is_right)):
            measured.rows[prefix + name] = int(chosen.sum())
            measured.scores[prefix + name] = {"tuco": float(values[chosen].mean()) if chosen.any() else float("nan")}
    for layer, shares in enumerate(of_layers, 1):
        measured.scores[f"{prefix}layer_{layer}"] = {"tuco": float(shares.mean())}
        measured.rows[f"{prefix}layer_{layer}"] = len(split)
    measured.arrays[split.name] = values
