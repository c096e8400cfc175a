"""How alike the tokens of a text are within each layer (Appendix G.1 of the HyPe paper)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from hype_bench.analysis.measuring.by_layer import by_layer, layers_of
from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.models.hidden_states import States, read_layers
from hype_bench.options import UserError, flag
from hype_bench.training.tokens import Tokens


def mean_cosine(
    hidden: Float[Tensor, "tokens width"], examples: Int[Tensor, " tokens"], count: int
) -> Float[Tensor, " count"]:
    """The mean cosine over all pairs of tokens of each example, ``2 / (n (n - 1)) sum_{a < b} cos(h_a, h_b)``.

    With unit vectors u the sum over pairs is ``(|sum u|^2 - sum |u|^2) / 2``: no pair is visited.

    Args:
        hidden: the tokens of a batch in one row, without padding.
        examples: the index of each token's example.
        count: examples in the batch.

    Returns:
        Float64 (float32 on Metal); NaN for an example with fewer than two tokens. A zero vector has cosine 0 with all.

    Reference: Yuan et al. 2023, "HyPe", ACL 2023, Appendix G.1; Ethayarajh 2019, arXiv:1909.00512
    """
    precise = torch.float32 if hidden.device.type == "mps" else torch.float64
    units = F.normalize(hidden.to(precise), dim=-1)
    sums = units.new_zeros(count, units.shape[1]).index_add(0, examples, units)
    own = units.new_zeros(count).index_add(0, examples, units.square().sum(-1))
    n = torch.bincount(examples, minlength=count)
    cosine = (sums.square().sum(-1) - own) / (n * (n - 1))
    return cosine.where(n > 1, torch.nan)


@dataclass(frozen=True)
class Similarity(Analysis):
    """The mean cosine between the tokens of a text, layer by layer, on the development set.

    The first score is that of the top layer; beside it stand ``layer_0``, the embeddings, and the layers below the top.
    Each is the mean over texts of the mean over pairs of their tokens, without special tokens and padding, as in
    Appendix G.1; a text with one token has no pair and does not count. It is computed in float32, whatever the run's
    precision. ``arrays.npz`` beside the record has the cosine of every text: (layers, texts).

    Args:
        special: whether special tokens count as tokens of the text.

    Claim: training with HyPe leaves tokens less alike in the upper layers than vanilla training does (Figure 4).

    Source: Yuan et al. 2023, "HyPe", ACL, Appendix G.1 and Figure 4, https://aclanthology.org/2023.acl-long.182, no
    published code; Ethayarajh 2019, "How Contextual are Contextualized Word Representations?", EMNLP,
    https://arxiv.org/abs/1909.00512

    Cost: the run, if its weights were not kept; one forward pass over the development set.
    """

    metric = "cosine"
    needs_every_token = True
    special: bool = flag()

    def measure(self, trained: Trained) -> Measured:
        split = trained.data.evaluation[0]
        tokens = trained.tokens(split)
        words = np.ones(len(tokens.ids), dtype=bool) if self.special else words_of(tokens, trained.tokenizer)
        cosines = _cosines(trained, tokens, words)
        counted = int(np.isfinite(cosines[0]).sum())
        if not counted:
            raise UserError(
                f"analysis.similarity: no text of {split.name} has two tokens, so there is no pair to compare; "
                "analysis.similarity.special=true also counts special tokens"
            )
        scores = [{"cosine": float(np.nanmean(of_layer))} for of_layer in cosines]
        measured = by_layer(scores, counted)
        measured.arrays["cosine"] = cosines.astype(np.float32)
        if counted < len(split):
            measured.warnings.append(f"{len(split) - counted} of {len(split)} texts have no pair of tokens")
        return measured


def words_of(tokens: Tokens, tokenizer: Any) -> NDArray[np.bool_]:
    """Which tokens are no special ones, (tokens,); what stands for an unknown word counts as a word."""
    added = tokenizer("", "", add_special_tokens=True)["input_ids"]  # whatever they are called
    special = {*tokenizer.all_special_ids, *added} - {tokenizer.unk_token_id}
    return ~np.isin(tokens.ids, list(special))


@torch.inference_mode()
def _cosines(trained: Trained, tokens: Tokens, words: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(layers, texts) in data order."""
    cosines = np.full((layers_of(trained.model), len(tokens)), np.nan)
    for indices, batch in trained.batches(tokens):
        del batch["labels"]
        kept = torch.from_numpy(np.concatenate([words[tokens.bounds[i] : tokens.bounds[i + 1]] for i in indices]))

        def read(states: States, indices: NDArray[Any] = indices, kept: Bool[Tensor, " tokens"] = kept) -> None:
            of_words = kept.to(states.hidden.device)
            similar = mean_cosine(states.hidden[of_words], states.examples[of_words], states.count)
            cosines[states.layer, indices] = similar.cpu().numpy()

        read_layers(trained.model, batch, read)
    return cosines
