"""``hype-bench``: the run and every other verb. ``status`` and ``table`` import no torch."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hype_bench import __version__
from hype_bench.commands.clean import clean
from hype_bench.commands.methods import methods
from hype_bench.commands.plan import plan
from hype_bench.commands.plugins import plugins
from hype_bench.commands.publish import publish
from hype_bench.commands.retry import retry
from hype_bench.commands.run import run
from hype_bench.commands.soup import soup
from hype_bench.commands.status import status
from hype_bench.commands.submit import submit
from hype_bench.commands.table import table
from hype_bench.options import UserError
from hype_bench.output import say, speak_any_encoding
from hype_bench.runs.secrets import scrub

# Plain help and plain complaints: rich's boxes cost time and break a line into several.
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
# Their words are Hydra's, flags among them:
app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run)
app.command(context_settings={"ignore_unknown_options": True})(plan)
for verb in (status, table, retry, clean, submit, publish, soup, methods, plugins):
    app.command()(verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"hype-bench {__version__}")
        raise typer.Exit


@app.callback()
def _every_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which one this is.")
    ] = False,
) -> None:
    """Fine-tunes encoders with regularisation techniques and compares them."""


def main() -> None:
    speak_any_encoding()
    try:
        app()
    except (UserError, OSError) as error:
        say(f"error: {scrub(str(error))}", to=sys.stderr)
        raise SystemExit(2 if isinstance(error, UserError) else 1) from error


if __name__ == "__main__":
    main()
