"""The house rules that a machine can check: which way imports go, how long files and functions are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "hype_bench"
# What may be imported by what: a line by itself and by the lines below it (docs/architecture.md says why).
ORDER = (
    ("options", "output", "arguments", "combinations", "plugins", "schema", "config", "choices", "controls", "saving"),
    ("stats",),
    ("tasks",),
    ("paper",),
    ("models",),
    ("contract",),
    ("methods",),
    ("training", "trainer"),
    ("runs",),
    ("sweeps",),
    ("tracking",),
    ("analysis",),
    ("tables",),
    ("render",),
    ("launch",),
    ("commands",),
    ("cli", "__main__", "testing", "__init__"),  # __init__ imports nothing of ours before it is asked
)
FILES = sorted(PACKAGE.rglob("*.py"))


def test_imports_go_one_way() -> None:
    level = {name: number for number, names in enumerate(ORDER) for name in names}
    for path in FILES:
        place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for match in re.finditer(r"(?:from|import) hype_bench(?:\.(\w+)| import (\w+))", path.read_text()):
            imported = match[1] or match[2]
            wrong = f"{path.relative_to(PACKAGE)} must not know of {imported}"
            assert level[place] >= level.get(imported, 0), wrong  # what is no module stands in __init__


def test_statistics_know_nothing_of_the_project() -> None:
    for path in (PACKAGE / "stats").glob("*.py"):
        imported = re.findall(r"(?:from|import) hype_bench\.(\w+)", path.read_text())
        assert set(imported) <= {"stats"}, path.name


def test_no_technique_imports_another() -> None:
    """What several need stands in contract/."""
    for path in (PACKAGE / "methods").glob("*.py"):
        assert not re.search(r"^ *(?:from|import) hype_bench\.methods\b", path.read_text(), re.MULTILINE), path.name


def test_files_and_functions_stay_short() -> None:
    for path in FILES:
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path.name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name != "fine_tune":  # the script that reads top to bottom
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                assert lines <= 40, f"{path.name}: {node.name} has {lines} lines"


def test_what_is_printed_goes_through_output() -> None:
    """There names lose what a terminal would obey."""
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        prints = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
        assert not prints or path.name in ("output.py", "__main__.py"), path.name
