"""Analyses are found by file and say what they are."""

from __future__ import annotations

import inspect

import pytest

from hype_bench.analysis.registry import analyses, missing_paragraphs


@pytest.mark.parametrize("name", analyses())
def test_an_analysis_says_what_it_shows_who_proposed_it_and_what_it_costs(name: str) -> None:
    verb = analyses()[name]
    assert verb.docstring() == inspect.getdoc(verb.load())
    assert missing_paragraphs(verb.docstring()) == []


def test_what_a_docstring_lacks_is_named() -> None:
    assert missing_paragraphs("Do it.\n\nClaim: it is done.\n\nCost: none.") == ["Source"]
