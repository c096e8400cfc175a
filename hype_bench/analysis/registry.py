"""Finds analyses by file, ours and those of plug-ins. Nothing is imported before one is called.

An analysis is a function with the name of its file, and a verb of ``hype-bench``: its arguments are those of the
command line. Its docstring begins with a line on what it does and has the paragraphs ``Claim: ...`` (what it can
show), ``Source: ...`` (who proposed it) and ``Cost: ...``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hype_bench.options import UserError
from hype_bench.plugins import Plugin, installed

PARAGRAPHS = ("Claim", "Source", "Cost")
_PACKAGE = "hype_bench.analysis"


@dataclass(frozen=True)
class Verb:
    """A function in a file of its own, not imported yet.

    Attributes:
        module: which holds a function of the name of its file.
        path: of the file.
        plugin: which brings it, if any does.
    """

    module: str
    path: Path
    plugin: Plugin | None = None

    @property
    def name(self) -> str:
        return self.path.stem.replace("_", "-")

    def docstring(self) -> str:
        """What the function says of itself, read without importing it; empty if the file has no such function."""
        try:
            tree = ast.parse(self.path.read_bytes())
        except SyntaxError:
            return ""
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == self.path.stem]
        return (ast.get_docstring(functions[0]) or "") if functions else ""

    def load(self) -> Callable[..., Any]:
        """Imports the function.

        Raises:
            UserError: a plug-in's cannot be imported.
        """
        try:
            function: Callable[..., Any] = getattr(importlib.import_module(self.module), self.path.stem)
        except Exception as error:
            if self.plugin is None:
                raise
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise UserError(f"{self.name} of {self.plugin.title} cannot be used: {reason}") from error
        return function


def analyses() -> dict[str, Verb]:
    """Name -> analysis; one of a plug-in cannot take the name of one of ours."""
    verbs = _in_folder(Path(__file__).parent, _PACKAGE, None)
    for plugin in installed():
        verbs = in_plugin(plugin) | verbs
    return dict(sorted(verbs.items()))


def in_plugin(plugin: Plugin) -> dict[str, Verb]:
    if plugin.folder is None:
        return {}
    return _in_folder(plugin.folder / "analysis", f"{plugin.module}.analysis", plugin)


def _in_folder(folder: Path, package: str, plugin: Plugin | None) -> dict[str, Verb]:
    paths = [path for path in folder.glob("*.py") if not path.stem.startswith("_") and path != Path(__file__)]
    verbs = [Verb(f"{package}.{path.stem}", path, plugin) for path in sorted(paths)]
    return {verb.name: verb for verb in verbs}


def missing_paragraphs(docstring: str) -> list[str]:
    """What the docstring of an analysis lacks."""
    starts = {paragraph.partition(":")[0] for paragraph in inspect.cleandoc(docstring).split("\n\n")}
    return [name for name in PARAGRAPHS if name not in starts]
