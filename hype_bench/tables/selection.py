"""Which configuration of a search a cell reports: the rules that turn many runs into one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hype_bench.output import counted
from hype_bench.tables.cells import Cell


@dataclass
class Candidate:
    """All seeds of one configuration. ``reported``: their dev scores; ``heldout``: scores on training examples
    set aside; ``further``: split -> scores on one that is scored beside the first (MNLI-mm); ``planned``: how many runs
    there shall be; ``is_default``: whether no search was needed to find it."""

    configuration: dict[str, str]
    reported: Cell
    heldout: Cell
    further: dict[str, Cell] = field(default_factory=dict)
    planned: int = 0
    is_default: bool = False

    def on(self, split: str) -> Cell:
        """Its scores on a further split, or on the first one, which has no name here."""
        return self.further.get(split, Cell(self.reported.metric)) if split else self.reported

    @property
    def ended(self) -> int:
        """How many of the runs have ended, well or not."""
        return self.reported.n + self.reported.unfinished.get("diverged", 0)


@dataclass
class Chosen:
    """What a rule made of a cell's candidates: ``cell.missing`` says why there is no number, if there is none.

    ``further``: as in :class:`Candidate`.
    """

    cell: Cell
    configuration: dict[str, str] = field(default_factory=dict)
    further: dict[str, Cell] = field(default_factory=dict)


Rule = Callable[[Sequence[Candidate]], Chosen]


def by_dev_score(candidates: Sequence[Candidate]) -> Chosen:
    """The configuration with the best mean dev score, reported on the same dev set: what the HyPe paper does."""
    return _best(candidates, lambda candidate: candidate.reported)


def by_heldout_score(candidates: Sequence[Candidate]) -> Chosen:
    """The configuration with the best mean score on training examples that were set aside, reported on dev."""
    if any(candidate.reported.n > candidate.heldout.n for candidate in candidates):
        return _none(candidates, "no held-out scores")
    return _best(candidates, lambda candidate: candidate.heldout)


def without_search(candidates: Sequence[Candidate]) -> Chosen:
    """The configuration that recipe and technique have by default."""
    default = [candidate for candidate in candidates if candidate.is_default]
    return _best(default, lambda candidate: candidate.reported) if default else _none(candidates, "no default")


RULES: Mapping[str, tuple[Rule, str]] = {
    "paper": (by_dev_score, "best of the search by mean dev score, reported on the same dev set"),
    "heldout": (by_heldout_score, "best of the search by mean score on training examples set aside, reported on dev"),
    "default": (without_search, "no search: the default configuration"),
}


def _best(candidates: Sequence[Candidate], scores: Callable[[Candidate], Cell]) -> Chosen:
    """The highest ``Cell.rank``. A cell that lacks runs gets no number: the missing ones might have been chosen."""
    ended = sum(candidate.ended for candidate in candidates)
    planned = sum(candidate.planned for candidate in candidates)
    if ended < planned:
        return _none(candidates, f"{ended} of {counted(planned, 'run')}")
    best = max(candidates, key=lambda candidate: scores(candidate).rank)
    return Chosen(best.reported, best.configuration, best.further)


def _none(candidates: Sequence[Candidate], why: str) -> Chosen:
    cell = Cell(candidates[0].reported.metric, missing=why)
    for candidate in candidates:
        for state, count in candidate.reported.unfinished.items():
            cell.unfinished[state] = cell.unfinished.get(state, 0) + count
    return Chosen(cell)
