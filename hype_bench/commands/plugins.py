"""``hype-bench plugins``: which installed packages add to this one, what they bring, what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import typer

from hype_bench.analysis.registry import analyses, in_plugin, missing_paragraphs
from hype_bench.commands import IN_HELP
from hype_bench.output import say
from hype_bench.plugins import GROUP, Plugin, installed, plugin_of


def plugins() -> None:
    """Which installed packages add to this one, and what they bring."""
    from hype_bench.contract.registry import discover, import_plugins  # seconds: torch comes with it

    problems = list(import_plugins().values())
    for plugin in installed():
        techniques = [name for name, (cls, _) in discover().items() if plugin_of(cls.__module__) == plugin]
        say(f"{plugin.title} ({plugin.module})")
        _list("techniques", techniques)
        _list("analyses", list(in_plugin(plugin)))
        _list("choices", [f"{group}={name}" for group, name in _choices(plugin)])
        problems += [*_faults_of_analyses(plugin), *_hidden_choices(plugin)]
    if not installed():
        say(f"no installed package has an entry point in the group {GROUP}; docs/plugins.md shows how to write one")
    for problem in problems:
        say(f"error: {problem}", to=sys.stderr)
    if problems:
        raise typer.Exit(1)


def _list(what: str, names: Sequence[str]) -> None:
    say(f"  {what:<10}  {', '.join(names) or 'none'}")


def _choices(plugin: Plugin) -> list[tuple[str, str]]:
    if plugin.folder is None:
        return []
    return sorted((path.parent.name, path.stem) for path in (plugin.folder / "conf").glob("*/*.yaml"))


def _hidden_choices(plugin: Plugin) -> Iterator[str]:
    from hype_bench.choices import choice_file

    for group, name in _choices(plugin):
        used = choice_file(group, name)
        if used and plugin.folder and not used.is_relative_to(plugin.folder):
            yield f"{group}={name} of {plugin.title} is not used: {used} comes first"


def _faults_of_analyses(plugin: Plugin) -> Iterator[str]:
    for name, verb in in_plugin(plugin).items():
        missing = missing_paragraphs(verb.docstring())
        if name in IN_HELP or analyses()[name] != verb:
            yield f"the analysis {name} of {plugin.title} is not used: the name is taken"
        elif missing:
            yield f"the analysis {name} of {plugin.title} needs a docstring with {', '.join(missing)}"
