"""Training only the rows of the word embeddings that the data use is training all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hype_bench.config import ModelConfig
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_classifier
from hype_bench.models.vocabulary import Vocabulary, keep_used_rows
from tests.architectures import architecture

FAMILIES = ("bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2")
IDS = np.array([[9, 40, 12], [41, 9, 700]])


def tiny(family: str) -> Any:
    return load_classifier(locate(ModelConfig(name="t", checkpoint=f"tiny:{family}", family=family)), 2, 0.1, 0)


def train(model: Any, vocabulary: Vocabulary) -> list[float]:
    """Four updates with decay on everything, dropout on."""
    ids = torch.from_numpy(IDS if vocabulary.rows is None else vocabulary.rows[IDS])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    losses = []
    torch.manual_seed(3)
    for _ in range(4):
        loss = model.train()(input_ids=ids, labels=torch.tensor([0, 1])).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    vocabulary.restore()
    return losses


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_weights_are_those_of_the_whole_table(family: str) -> None:
    whole, small = tiny(family), tiny(family)
    vocabulary = keep_used_rows(small, IDS.ravel())
    padding = small.config.pad_token_id
    assert len(small.get_input_embeddings().weight) == padding + 1 + len(set(IDS.ravel())) + 1
    assert train(whole, Vocabulary()) == pytest.approx(train(small, vocabulary), abs=1e-6)
    for (name, one), other in zip(whole.named_parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


def test_rows_that_nothing_touches_come_back_bit_for_bit() -> None:
    model = tiny("bert")
    before = model.get_input_embeddings().weight.detach().clone()
    keep_used_rows(model, IDS.ravel()).restore()
    assert torch.equal(model.get_input_embeddings().weight, before)


def test_numbers_up_to_padding_and_their_order_stay() -> None:
    ranks = keep_used_rows(tiny("roberta"), IDS.ravel()).rows
    assert ranks is not None
    assert ranks[[0, 1]].tolist() == [0, 1]
    assert ranks[[9, 12, 40, 41, 700]].tolist() == [2, 3, 4, 5, 6]


def test_a_table_that_is_used_up_stays() -> None:
    model = tiny("bert")
    assert keep_used_rows(model, np.arange(len(model.get_input_embeddings().weight))).rows is None


def test_an_encoder_without_word_embeddings_stays_as_it_is() -> None:
    assert keep_used_rows(architecture("canine"), np.arange(9)).rows is None
