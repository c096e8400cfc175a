"""What a technique says of itself: its docstring, read by section. ``help()``, ``docs/methods`` and ``hype-bench
methods`` all show this one text."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hype_bench.controls import Control
from hype_bench.options import UserError

_HEADING = re.compile(r"^([A-Z][\w ]*):\n(?=    )", re.MULTILINE)
_OPTION = re.compile(r"^(\w+(?:, \w+)*): ", re.MULTILINE)


_CONTROL = re.compile(r"^(\w+)(?: with (\d+) times the epochs)?: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Card:
    """The parts of a technique's docstring, in Markdown; each paragraph is one line.

    Attributes:
        title: as the field calls it.
        summary: one line, without a full stop.
        text: what it does, where the summary is not enough; may be empty.
        options: each option and what it means.
        equation: LaTeX.
        reference: authors, year, title, venue, address; and the released code with its commit, if there is any.
        differences: where the released code and the paper differ, what follows from it, which option is which; what
            neither gives and is therefore chosen here.
        cost: passes per update and memory, in words; measured figures stand beside it.
        helps: when it helps, and who says so.
        controls: with what it is compared beside vanilla to see where a gain comes from, and what that shares with it.
    """

    title: str
    summary: str
    text: str
    options: dict[str, str]
    equation: str
    reference: str
    differences: str
    cost: str
    helps: str
    controls: dict[Control, str] = field(default_factory=dict)


def card_of(technique: Any) -> Card:
    """Reads the docstring of a technique's class (or of the function that makes a soup).

    It begins with a line ``Title: summary.`` and has the sections ``Args`` (if there are options), ``Equation``,
    ``Reference``, ``Differences``, ``Cost`` and ``When it helps``, each indented below its heading; and a section
    ``Control`` where vanilla alone does not isolate the technique: ``no_dropout: the missing dropout.`` or ``vanilla
    with 2 times the epochs: the second pass.``, which completes the sentence "the gain is ...".

    Raises:
        UserError: the first line, a section or an option is missing; it says which.
    """
    head, *rest = _HEADING.split(inspect.cleandoc(technique.__doc__ or ""))
    sections = {name: inspect.cleandoc(body) for name, body in zip(rest[::2], rest[1::2], strict=True)}
    first, _, text = head.strip().partition("\n\n")
    title, _, summary = first.partition(": ")
    _, *entries = _OPTION.split(sections.get("Args", ""))
    meanings = zip(entries[::2], map(_paragraphs, entries[1::2]), strict=True)
    options = {name: meaning for names, meaning in meanings for name in names.split(", ")}
    missing = [] if summary else ["a first line 'Title: summary.'"]
    missing += [f"a section {name!r}" for name in _SECTIONS if not sections.get(name)]
    if is_dataclass(technique):
        missing += [f"{field.name} under 'Args'" for field in fields(technique) if field.name not in options]
    if missing:
        raise UserError(f"the docstring of {technique.__name__} needs {', '.join(missing)}")
    parts = {part: _paragraphs(sections[name]) for name, part in _SECTIONS.items()}
    controls = {
        Control(method, int(epochs or 1)): phrase.removesuffix(".")
        for method, epochs, phrase in _CONTROL.findall(_paragraphs(sections.get("Control", "")))
    }
    return Card(title, _paragraphs(summary).removesuffix("."), _paragraphs(text), options, **parts, controls=controls)


_SECTIONS = {
    "Equation": "equation",
    "Reference": "reference",
    "Differences": "differences",
    "Cost": "cost",
    "When it helps": "helps",
}


def _paragraphs(text: str) -> str:
    """Each paragraph on one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
