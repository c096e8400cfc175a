"""What a technique says of itself; ``docs/methods`` and ``hype-bench methods`` are made from it."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Card:
    """A technique in a few sentences of Markdown; how lines are broken does not count.

    Attributes:
        title: as the field calls it.
        summary: one line, without a full stop.
        equation: LaTeX.
        citation: authors, year, title, venue, address; and the released code with its commit, if there is any.
        differences: where the released code and the paper differ, what follows from it, which option is which; what
            neither gives and is therefore chosen here.
        cost: passes an update and memory, in words; measured figures stand beside it.
        helps: when it helps, by whose account.
    """

    title: str
    summary: str
    equation: str
    citation: str
    differences: str
    cost: str
    helps: str

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, " ".join(getattr(self, field.name).split()))
