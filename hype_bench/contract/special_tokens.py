"""Tokens that are no words, for techniques that hide words or spare what is none."""

from __future__ import annotations

from functools import reduce

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from hype_bench.contract.context import Context
from hype_bench.options import UserError


def mask_token(technique: str, context: Context) -> int:
    """The id of the token that stands for a hidden word, which the run then keeps in the table of embeddings.

    Raises:
        UserError: the tokenizer has none.
    """
    token = context.needs(technique, "tokenizer").mask_token_id
    if token is None:
        raise UserError(f"{technique}.replace=mask needs a tokenizer with a mask token, which this one does not have")
    context.whole_vocabulary = True
    return int(token)


def special_tokens(technique: str, context: Context) -> list[int]:
    """The ids of [CLS], [SEP] and the like, which batches then have as the tokenizer has them."""
    context.whole_vocabulary = True
    return [int(token) for token in context.needs(technique, "tokenizer").all_special_ids]


def is_one_of(ids: Int[Tensor, "*positions"], tokens: list[int]) -> Bool[Tensor, "*positions"]:
    """Without a copy of ``tokens`` to the device of ``ids``."""
    return reduce(torch.logical_or, (ids == token for token in tokens), torch.zeros_like(ids, dtype=torch.bool))
