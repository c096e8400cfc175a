"""``hype-bench submit``: predictions of test sets for GLUE's server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.arguments import Rule, report_problems
from hype_bench.output import say


def submit(
    experiment: Annotated[str, typer.Argument(help="An experiment with data.predict_test=true, such as table12.")],
    results_dir: ResultsDir = Path("results"),
    rule: Annotated[Rule, typer.Option(help="Which configuration of a search counts.")] = Rule.paper,  # type: ignore[attr-defined]
    out: Annotated[Path, typer.Option(help="Where the zip files go.", metavar="DIR")] = Path("submissions"),
) -> None:
    """Write zip files for GLUE's test server, one per row."""
    from hype_bench.render.submission import submit as write_files

    written, refused = write_files(existing(results_dir), experiment, rule.value, out)
    for line in written:
        say(line)
    report_problems([], refused, every_run_has_a_cell=True)
