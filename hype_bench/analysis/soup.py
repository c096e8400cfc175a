"""``hype-bench soup``: averages the weights of finished runs, scores the mean, and leaves a record like a run's."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hype_bench import output
from hype_bench.analysis.editing.members import Members, groups
from hype_bench.analysis.editing.record import Edit, edit_weights
from hype_bench.arguments import Device, ResultsDir, existing
from hype_bench.options import UserError

if TYPE_CHECKING:  # torch comes with it
    from hype_bench.analysis.editing.members import State

SoupKind = StrEnum("SoupKind", ["uniform", "greedy"])


def soup(
    kind: Annotated[SoupKind, typer.Argument(help="uniform: all members; greedy: those that raise a held-out score.")],
    results_dir: ResultsDir = Path("results"),
    device: Device = "auto",
) -> None:
    """Average the weights of finished runs.

    They are those with training.save=last that differ in seed or training settings alone.

    Claim: the mean of their weights scores at or above the best single member, at the inference cost of one model.

    Source: Wortsman et al. 2022, "Model soups", ICML, https://arxiv.org/abs/2203.05482

    Cost: no training; one scoring of every split, and for a greedy soup one of the held-out examples per member.
    """
    make_soups(kind.value, existing(results_dir), device)


def soup_of(kind: str, members: Members) -> Edit:
    return Edit(members, f"soup_{kind}", {"members": members.names})


def make_soups(kind: str, results_dir: Path, device: str = "auto", say: Callable[[str], None] = output.say) -> int:
    """Makes the soups that do not exist yet; returns how many exist now.

    Raises:
        UserError: no runs can be averaged, their data or weights have changed, no examples were set aside, or another
            process is making the soup. It is raised after all other soups are made.
    """
    edits = (soup_of(kind, members) for members in groups(results_dir, device))
    return edit_weights(edits, _greedy if kind == "greedy" else _uniform, results_dir, save=True, say=say)


def _uniform(edit: Edit) -> tuple[State, dict[str, Any]]:
    from hype_bench.methods.soup import uniform_soup

    members = edit.members
    return uniform_soup(map(members.weights, members.names)), {"members": members.names}


def _greedy(edit: Edit) -> tuple[State, dict[str, Any]]:
    from hype_bench.methods.soup import greedy_soup

    members, held_out = edit.members, edit.members.data.selection
    if held_out is None:
        raise UserError("a greedy soup needs examples that no run has seen: train with data.selection_examples=...")
    score = lambda state: members.scorer.headline(state, held_out)  # noqa: E731
    mean, joined, best = greedy_soup(members.names, members.weights, score)
    return mean, {"selection_score": best, "members": joined}
