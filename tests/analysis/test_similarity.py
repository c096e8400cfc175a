"""Similarity of tokens: the closed form against the sum over pairs, packed rows against padded batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hype_bench.analysis.similarity import Similarity, mean_cosine, words_of
from hype_bench.options import UserError
from hype_bench.training.tokens import Tokens
from tests.analysis.runs import finished, hidden_states


def test_the_closed_form_is_the_mean_over_all_pairs() -> None:
    lengths = [2, 7, 1, 5, 128]
    hidden = torch.randn(sum(lengths), 48, generator=torch.Generator().manual_seed(0)) + 0.3
    examples = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    cosines = mean_cosine(hidden, examples, len(lengths))
    for of_one, cosine in zip(hidden.double().split(lengths), cosines, strict=True):
        first, second = torch.combinations(torch.arange(len(of_one))).T
        expected = F.cosine_similarity(of_one[first], of_one[second]).mean()  # NaN without a pair
        torch.testing.assert_close(cosine, expected, atol=1e-12, rtol=0, equal_nan=True)


def test_vectors_worked_out_by_hand() -> None:
    """G.1: 2 / (n (n - 1)) times the sum over pairs a < b."""
    hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [5.0, 0.0], [-1.0, 0.0], [2.0, 2.0], [0.0, 0.0]])
    cosines = mean_cosine(hidden, torch.tensor([0, 0, 0, 1, 1, 2, 2]), 4)
    expected = torch.tensor([2**0.5 / 3, -1, 0, torch.nan], dtype=torch.float64)  # (0 + 1/sqrt 2 + 1/sqrt 2) / 3
    torch.testing.assert_close(cosines, expected, equal_nan=True)


@pytest.mark.parametrize("special", [False, True])
def test_layers_of_a_run_are_those_of_its_hidden_states(special: bool, tmp_path: Path) -> None:
    """Packed rows, against transformers' hidden states of one text after the other."""
    analysis = Similarity(special=special)
    trained = finished(tmp_path, analysis)
    measured = analysis.measure(trained)
    split = trained.data.evaluation[0]
    tokens = trained.tokens(split)
    words = words_of(tokens, trained.tokenizer) | special
    expected = np.empty((4, len(split)))
    for i, layers in enumerate(hidden_states(trained, split)):
        for layer, hidden in enumerate(layers):
            kept = hidden[torch.from_numpy(words[tokens.bounds[i] : tokens.bounds[i + 1]])]
            expected[layer, i] = mean_cosine(kept, torch.zeros(len(kept), dtype=torch.int64), 1)
    assert list(measured.scores) == ["layer_3", "layer_0", "layer_1", "layer_2"]
    np.testing.assert_allclose(measured.arrays["cosine"], expected, atol=1e-5)
    assert measured.scores["layer_2"]["cosine"] == pytest.approx(expected[2].mean(), abs=1e-6)
    assert measured.rows["layer_0"] == len(split)


def test_special_tokens_are_left_out_and_unknown_words_are_not(tmp_path: Path) -> None:
    trained = finished(tmp_path, Similarity())
    tokenizer = trained.tokenizer
    first, last = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
    ids = [first, tokenizer.unk_token_id, 77, last]
    tokens = Tokens(np.array(ids, dtype=np.int32), None, np.array([0, 4]), np.array([0]))
    assert words_of(tokens, tokenizer).tolist() == [False, True, True, False]


def test_texts_of_one_token_have_no_pair(tmp_path: Path) -> None:
    analysis = Similarity()
    trained = finished(tmp_path, analysis)
    split = trained.data.evaluation[0]
    few, none = (split.texts[0][:1] + ["a"] * 4, split.texts[1][:1] + [""] * 4), (["a"] * 5, [""] * 5)
    short = type(split)(split.name, few, split.labels[:5], split.rows[:5])
    trained.data.evaluation[0], before = short, split
    try:
        assert analysis.measure(trained).warnings == ["4 of 5 texts have no pair of tokens"]
        trained.data.evaluation[0] = type(split)(split.name, none, split.labels[:5], split.rows[:5])
        with pytest.raises(UserError, match=r"no text of validation has two tokens.*similarity\.special=true"):
            analysis.measure(trained)
    finally:
        trained.data.evaluation[0] = before
