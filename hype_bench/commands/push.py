"""``hype-bench push``: a trained model to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.output import say


def push(
    run: Annotated[str, typer.Argument(help="The name of its folder, or how that begins.", metavar="RUN")],
    repo: Annotated[str, typer.Argument(help="Where to, such as user/name.", metavar="REPO")],
    results_dir: ResultsDir = Path("results"),
    public: Annotated[bool, typer.Option("--public", help="A new repository is public.")] = False,
) -> None:
    """Send the model of a run to the Hugging Face hub, with a card.

    Needs a run with training.save=last, and a token: hf auth login, or HF_TOKEN.
    """
    from hype_bench.render.hub import push as send

    say(send(existing(results_dir), run, repo, public))
