"""``hype-bench``: the run and every other verb. A verb's file is imported when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hype_bench import __version__
from hype_bench.analysis.registry import Verb, verbs
from hype_bench.commands import IN_HELP
from hype_bench.options import UserError
from hype_bench.output import say, speak_any_encoding

_HERE = Path(__file__).parent
_COMMANDS = {name: Verb(f"hype_bench.commands.{name}", _HERE / "commands" / f"{name}.py") for name in IN_HELP}
_IGNORE_UNKNOWN = {"ignore_unknown_options": True}
_SETTINGS: dict[str, dict[str, Any]] = {  # their words are Hydra's, flags among them
    "run": {"add_help_option": False, "context_settings": {"allow_extra_args": True, **_IGNORE_UNKNOWN}},
    "plan": {"context_settings": _IGNORE_UNKNOWN},
}


class Verbs(TyperGroup):
    """The commands, and the analyses behind them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*_COMMANDS, *(name for name in verbs() if name not in _COMMANDS)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        verb = _COMMANDS.get(cmd_name) or verbs().get(cmd_name)
        if verb is None:
            return None
        single = typer.Typer(rich_markup_mode=None, add_completion=False)
        single.command(cmd_name, **_SETTINGS.get(cmd_name, {}))(verb.load())
        return typer.main.get_command(single)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A line for each, read from its file."""
        others = {name: verb for name, verb in verbs().items() if name not in _COMMANDS}
        for title, listed in (("Commands", _COMMANDS), ("Analyses of finished runs", others)):
            with formatter.section(title):
                formatter.write_dl([(name, verb.docstring().partition("\n")[0]) for name, verb in listed.items()])


# Plain help and plain complaints: rich's boxes cost time and break a line into several.
app = typer.Typer(cls=Verbs, no_args_is_help=True, rich_markup_mode=None)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"hype-bench {__version__}")
        raise typer.Exit


@app.callback()
def _every_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fine-tunes encoders with regularisation techniques and compares them."""


def main() -> None:
    speak_any_encoding()
    try:
        app()
    except (UserError, OSError) as error:
        from hype_bench.runs.secrets import scrub

        say(f"error: {scrub(str(error))}", to=sys.stderr)
        raise SystemExit(2 if isinstance(error, UserError) else 1) from error


if __name__ == "__main__":
    main()
