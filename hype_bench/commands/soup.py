"""``hype-bench soup``: averages the weights of finished runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hype_bench.commands.arguments import ResultsDir, existing

SoupKind = StrEnum("SoupKind", ["uniform", "greedy"])


def soup(
    kind: Annotated[SoupKind, typer.Argument(help="Of all members, or of those that raise a held-out score.")],
    results_dir: ResultsDir = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Average the weights of finished runs.

    They are those with training.save=last that differ in seed or training settings alone.
    """
    from hype_bench.analysis.soup import make

    make(kind.value, existing(results_dir), device)
