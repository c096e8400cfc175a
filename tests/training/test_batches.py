"""Order, padding and packing of batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hype_bench.training.batches import Collator, evaluation_order, split_evenly, training_order
from hype_bench.training.tokens import Tokens

CPU = torch.device("cpu")


def tokens(lengths: list[int], types: bool = True) -> Tokens:
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.arange(10, 10 + bounds[-1], dtype=np.int32)
    return Tokens(ids, (ids % 2).astype(np.int8) if types else None, bounds, np.arange(len(lengths)))


def test_every_epoch_visits_every_example_once_in_a_new_order() -> None:
    batches = list(training_order(10, 4, steps=6, seed=5))
    assert [len(b) for b in batches] == [4, 4, 2, 4, 4, 2]
    first, second = np.concatenate(batches[:3]), np.concatenate(batches[3:])
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()
    again = np.concatenate(list(training_order(10, 4, steps=6, seed=5)))
    assert again.tolist() == [*first, *second]
    assert np.concatenate(list(training_order(10, 4, steps=6, seed=6))).tolist() != again.tolist()


@pytest.mark.parametrize("steps", [1, 3, 4, 7])
def test_training_stops_after_the_steps_asked_for(steps: int) -> None:
    whole = list(training_order(10, 4, steps=9, seed=1))
    part = list(training_order(10, 4, steps=steps, seed=1))
    assert len(part) == steps
    assert all(np.array_equal(a, b) for a, b in zip(part, whole[:steps], strict=True))


def test_evaluation_goes_by_length_within_the_budget() -> None:
    split = tokens([5, 1, 9, 3, 3, 30, 2])
    batches = list(evaluation_order(split, most_tokens=20))
    assert sorted(np.concatenate(batches)) == list(range(7))
    sizes = [split.lengths[b].max() * len(b) for b in batches]
    assert sizes[0] == 30  # one example longer than the budget stands alone
    assert max(sizes[1:]) <= 20
    visited = split.lengths[np.concatenate(batches)]
    assert (np.diff(visited) <= 0).all()


def test_padding_on_either_side() -> None:
    split = tokens([2, 4, 1])
    right = Collator(False, CPU, pad_token=7)(split, np.array([0, 2]))
    assert right["input_ids"].tolist() == [[10, 11], [16, 7]]
    assert right["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert right["token_type_ids"].tolist() == [[0, 1], [0, 0]]
    assert right["labels"].tolist() == [0, 2]
    left = Collator(False, CPU, pad_token=7, pad_left=True)(split, np.array([2, 0]))
    assert left["input_ids"].tolist() == [[7, 16], [10, 11]]
    assert left["attention_mask"].tolist() == [[0, 1], [1, 1]]
    assert left["token_type_ids"].tolist() == [[3, 0], [0, 1]]


def test_a_packed_row() -> None:
    batch = Collator(True, CPU, first_position=2)(tokens([2, 4, 1], types=False), np.array([2, 0, 1]))
    assert batch["input_ids"].tolist() == [[16, 10, 11, 12, 13, 14, 15]]
    assert batch["position_ids"].tolist() == [[2, 2, 3, 2, 3, 4, 5]]
    assert batch["packing"].starts.tolist() == [0, 1, 3]
    assert "token_type_ids" not in batch
    assert "attention_mask" not in batch


@pytest.mark.parametrize(("count", "pieces", "sizes"), [(8, 2, [4, 4]), (7, 3, [2, 3, 2]), (2, 4, [1, 1]), (5, 1, [5])])
def test_pieces_of_an_update(count: int, pieces: int, sizes: list[int]) -> None:
    parts = split_evenly(np.arange(count), pieces)
    assert [len(part) for part in parts] == sizes
    assert np.concatenate(parts).tolist() == list(range(count))


def test_lengths_are_computed_once_for_the_whole_split() -> None:
    """They are asked for with every example; computing them anew made scoring quadratic."""
    split = tokens([5, 1, 9])
    assert split.lengths is split.lengths
    assert split.lengths.tolist() == [5, 1, 9]
