"""The card of a technique is its docstring: every technique has every section, and a plug-in is told what it lacks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hype_bench.contract.card import card_of
from hype_bench.contract.registry import cards, discover
from hype_bench.controls import Control
from hype_bench.options import UserError, number

DOCSTRING = r"""Toy: it does
    nothing.

    Nor more.

    Args:
        p, q: two probabilities:
            of nothing.
        rate: how much.

    Equation:
        \theta

    Reference:
        Nobody 2020, *Nothing*

    Differences:
        None.

        Another paragraph, in which Args:
        is a word.

    Cost:
        One pass.

    When it helps:
        Never.
    """


@dataclass(frozen=True)
class Toy:
    p: float = number(0.5)
    q: float = number(0.5)
    rate: float = number(0.5)


def toy(docstring: str) -> type[Toy]:
    Toy.__doc__ = docstring
    return Toy


def test_sections_of_a_docstring() -> None:
    card = card_of(toy(DOCSTRING))
    assert (card.title, card.summary, card.text) == ("Toy", "it does nothing", "Nor more.")
    assert card.options == {"p": "two probabilities: of nothing.", "q": "two probabilities: of nothing.",
                            "rate": "how much."}  # fmt: skip
    assert card.controls == {}
    assert (card.equation, card.reference) == (r"\theta", "Nobody 2020, *Nothing*")
    assert card.differences == "None.\n\nAnother paragraph, in which Args: is a word."
    assert (card.cost, card.helps) == ("One pass.", "Never.")


def test_controls_and_what_they_share_with_the_technique() -> None:
    section = """Control:
        no_dropout: the missing
        dropout.

        vanilla with 2 times the epochs: the second pass.

    Cost:"""
    assert card_of(toy(DOCSTRING.replace("Cost:", section))).controls == {
        Control("no_dropout"): "the missing dropout",
        Control("vanilla", 2): "the second pass",
    }
    known = cards()
    named = {name: [control.title for control in known[name].controls] for name in ("hype_n", "mixout", "r_drop")}
    assert named == {
        "hype_n": ["no_dropout"],
        "mixout": ["no_dropout"],
        "r_drop": ["vanilla with 2 times the epochs"],
    }
    assert all(control.method in known for card in known.values() for control in card.controls)


@pytest.mark.parametrize(
    ("removed", "complaint"),
    [
        ("Toy: ", "a first line 'Title: summary.'"),
        ("Reference:", "a section 'Reference'"),
        ("        Never.\n", "a section 'When it helps'"),
        ("        rate: how much.\n", "rate under 'Args'"),
    ],
)
def test_what_is_missing_is_named(removed: str, complaint: str) -> None:
    with pytest.raises(UserError) as error:
        card_of(toy(DOCSTRING.replace(removed, "")))
    assert str(error.value) == f"the docstring of Toy needs {complaint}"


def test_every_technique_has_a_card() -> None:
    """And so have both soups; what is missing would be an error."""
    assert set(cards()) == {*discover(), "soup_uniform", "soup_greedy"}
