"""Command-line arguments that verbs and analyses share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.options import UserError, in_words, within

ResultsDir = Annotated[Path, typer.Option(help="The folder that the runs were written to.", metavar="DIR")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Adversarial = Annotated[bool, typer.Option("--adversarial", help="Also score on the task's sets of AdvGLUE.")]
Save = Annotated[bool, typer.Option("--save", help="Keep the weights of each new model too.")]


def existing(results_dir: Path) -> Path:
    """Raises UserError if there is no such folder."""
    if not results_dir.is_dir():
        raise UserError(f"{results_dir}: no such folder; name another one with --results-dir")
    return results_dir


def numbers(name: str, text: str, **limits: float) -> list[float]:
    """``0,0.5,1`` -> its numbers.

    Args:
        name: of the option, for complaints.
        limits: as :func:`hype_bench.options.number` takes them.

    Raises:
        UserError: one of them is no number, or out of range.
    """
    values = []
    for word in text.split(","):
        try:
            value = float(word)
        except ValueError:
            raise UserError(f"--{name} takes numbers with commas between them, as in 0,0.5,1, not {text!r}") from None
        if not within(value, limits):
            raise UserError(f"--{name} must be {in_words(limits)}, not {word.strip()}")
        values.append(value)
    return list(dict.fromkeys(values))
