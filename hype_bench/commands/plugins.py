"""``hype-bench plugins``: which installed packages add to this one, what they bring, what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from hype_bench.output import say


def plugins() -> None:
    """Which installed packages add to this one, and what they bring."""
    from hype_bench import choices
    from hype_bench.contract.registry import discover, import_plugins
    from hype_bench.plugins import GROUP, Plugin, installed, plugin_of

    def choices_of(plugin: Plugin) -> list[Path]:
        folder = (plugin.folder or Path()) / "conf"
        return sorted(path.relative_to(folder) for path in folder.glob("*/*.yaml")) if plugin.folder else []

    problems = list(import_plugins().values())
    for plugin in installed():
        say(f"{plugin.title} ({plugin.module})")
        names = [name for name, (cls, _) in discover().items() if plugin_of(cls.__module__) == plugin]
        say(f"  techniques  {', '.join(names) or 'none'}")
        chosen = choices_of(plugin)
        say(f"  choices     {', '.join(f'{path.parent}={path.stem}' for path in chosen) or 'none'}")
        for path in chosen:
            used = choices.choice_file(str(path.parent), path.stem)
            if plugin.folder and used != plugin.folder / "conf" / path:
                problems.append(f"{path.parent}={path.stem} of {plugin.title} is not used: {used} comes first")
    if not installed():
        say(f"no installed package has an entry point in the group {GROUP}; docs/plugins.md shows how to write one")
    for problem in problems:
        say(f"error: {problem}", to=sys.stderr)
    if problems:
        raise typer.Exit(1)
