"""``hype-bench methods``: every technique in a line each, or one of them in full."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from hype_bench.options import UserError
from hype_bench.output import say, show
from hype_bench.plugins import installed, package_folder
from hype_bench.saving import no_plain_model


class Documented(NamedTuple):
    """The docstring of a technique, and what of it no plain model can hold, see ``Method.unmerged``."""

    docstring: str
    unmerged: str = ""


def methods(name: Annotated[str | None, typer.Argument(help="Show the documentation of this one.")] = None) -> None:
    """Every technique, with one line on what it does."""
    documented, problems = _documented()
    if name is None:
        width = max(map(len, documented)) + 2
        for known, (docstring, unmerged) in documented.items():
            say(f"{known:<{width}}{_summary(docstring)}{' (cannot be saved)' if unmerged else ''}")
    elif name in documented:
        docstring, unmerged = documented[name]
        left = f"\n\nThe run {no_plain_model(unmerged)}: training.save=last is refused." if unmerged else ""
        show(docstring + left)
    else:
        raise UserError(f"there is no method {name!r}; there are {', '.join(documented)}")
    for problem in problems:
        say(f"warning: {problem}", to=sys.stderr)


def _documented() -> tuple[dict[str, Documented], list[str]]:
    """Every technique by name, and which plug-ins cannot be used.

    Our own are read from their files: importing them takes seconds, since torch comes with them.
    """
    if not installed():
        return documented_by_us(), []
    from hype_bench.contract.registry import described, import_plugins

    documented = {
        name: Documented(inspect.getdoc(technique) or "", getattr(technique, "unmerged", ""))
        for name, technique in described().items()
    }
    return documented, list(import_plugins().values())


def documented_by_us() -> dict[str, Documented]:
    """Every technique of this package, and every soup, by name."""
    folder = package_folder("hype_bench.methods") or Path()
    trees = [ast.parse(path.read_bytes()) for path in folder.glob("*.py")]
    return dict(sorted(entry for tree in trees for entry in _entries(tree)))


def _entries(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    """What a file registers with ``@register(name)`` or lists in ``SOUPS``."""
    described = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    documented = {node.name: Documented(ast.get_docstring(node) or "", _unmerged(node)) for node in described}
    for node in described:
        for call in (each for each in node.decorator_list if isinstance(each, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id == "register":
                yield ast.literal_eval(call.args[0]), documented[node.name]
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "SOUPS":
            assert isinstance(statement.value, ast.Dict)
            for key, function in zip(statement.value.keys, statement.value.values, strict=True):
                assert key is not None
                yield ast.literal_eval(key), documented[ast.unparse(function)]


def _unmerged(described: ast.ClassDef | ast.FunctionDef) -> str:
    """What a class says in a line ``unmerged = "..."``."""
    for line in described.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "unmerged":
            return str(ast.literal_eval(line.value))
    return ""


def _summary(docstring: str) -> str:
    """Of a docstring that begins with ``Title: summary.``"""
    first = " ".join(docstring.partition("\n\n")[0].split())
    return first.partition(": ")[2].removesuffix(".")
