"""The house rules that a machine can check: which way imports go, how long files and functions are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "hype_bench"
# A folder may import itself and what stands before it; the modules beside the folders tie them together.
ORDER = (
    "options",
    "output",
    "combinations",
    "config",
    "choices",
    "tasks",
    "models",
    "methods",
    "training",
    "runs",
    "sweeps",
    "paper",
    "tables",
    "analysis",
    "tracking",
)
FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    imported = {match[1] for match in re.finditer(r"(?:from|import) hype_bench\.(\w+)", path.read_text())}
    if place in ORDER:
        allowed = set(ORDER[: ORDER.index(place) + 1])
        assert imported <= allowed, f"{place} must not know of {imported - allowed}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name != "fine_tune":  # the script that reads top to bottom
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 40, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_printed_goes_through_output(path: Path) -> None:
    """There names lose what a terminal would obey."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    prints = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
    assert not prints or path.name in ("output.py", "__main__.py")
