"""Soups against means written out, and the greedy recipe against a table of scores."""

from __future__ import annotations

import pytest
import torch

from hype_bench.methods.soup import State, greedy_soup, uniform_soup


def states(count: int) -> list[State]:
    generator = torch.Generator().manual_seed(0)
    return [
        {"w": torch.randn(3, 2, generator=generator, dtype=torch.float64), "ids": torch.tensor([index, 7])}
        for index in range(count)
    ]


def test_uniform_is_the_mean_and_leaves_integers() -> None:
    members = states(5)
    soup = uniform_soup(iter(members))
    for row in range(3):
        for column in range(2):
            mean = sum(float(member["w"][row, column]) for member in members) / 5
            assert float(soup["w"][row, column]) == pytest.approx(mean, abs=1e-14)
    assert soup["ids"].tolist() == [0, 7]
    with pytest.raises(ValueError, match="nothing"):
        uniform_soup([])


def greedily(alone: dict[str, float], together: dict[frozenset[str], float]) -> tuple[list[str], float, float]:
    """Members are the numbers 1, 2, 4 …, so that a mean times its size tells who is in it."""
    values = {name: float(2**place) for place, name in enumerate(alone)}

    def score(state: State) -> float:
        mean = float(state["w"])
        for members, value in [*((frozenset([n]), s) for n, s in alone.items()), *together.items()]:
            if abs(mean - sum(values[n] for n in members) / len(members)) < 1e-9:
                return value
        return -1.0

    load = lambda name: {"w": torch.tensor(values[name], dtype=torch.float64)}  # noqa: E731
    soup, members, best = greedy_soup(list(alone), load, score)
    return members, best, float(soup["w"])


def test_greedy_takes_who_raises_the_score() -> None:
    alone = {"a": 0.6, "b": 0.9, "c": 0.7}
    members, best, mean = greedily(alone, {frozenset("bc"): 0.95, frozenset("abc"): 0.94, frozenset("ab"): 0.99})
    assert (members, best, mean) == (["b", "c"], 0.95, 3.0)  # a is tried last, with b and c already in


def test_greedy_wants_a_strict_rise() -> None:
    assert greedily({"a": 0.8, "b": 0.7}, {frozenset("ab"): 0.8})[0] == ["a"]


def test_of_equals_the_later_comes_first() -> None:
    assert greedily({"a": 0.8, "b": 0.8, "c": 0.8}, {frozenset("bc"): 0.9})[0] == ["c", "b"]
