"""The pages are made from the docstrings; the worked example of a technique works."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hype_bench.contract.registry import cards, discover

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = (ROOT / "docs" / "add_a_technique.md").read_text()


@pytest.fixture(scope="module")
def docs() -> Any:
    spec = importlib.util.spec_from_file_location("docs", ROOT / "scripts" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_up_to_date(docs: Any) -> None:
    there = {path.name: path.read_text() for path in (ROOT / "docs" / "methods").glob("*.md")}
    assert there == docs.pages(), "run make docs"


def test_pages_of_analyses_are_up_to_date(docs: Any) -> None:
    there = {path.name: path.read_text() for path in (ROOT / "docs" / "analyses").glob("*.md")}
    assert there == docs.analysis_pages(), "run make docs"


def test_every_technique_has_a_page_with_its_options(docs: Any) -> None:
    pages = docs.pages()
    for name in cards():
        page = pages[docs.page_of(name)]
        if name in discover():
            assert f"python run.py method={name}" in page
        for heading in ("Reference", "Differences", "Cost", "When it helps"):
            assert f"\n## {heading}\n\n" in page


def test_the_page_on_packages_shows_the_example() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text()
    shown = dict(re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert len(shown) == 5
    for path, text in shown.items():
        assert text == (ROOT / "examples" / "plugin" / path).read_text(), path


def block(path: str) -> str:
    """The code that stands under the name of a file."""
    match = re.search(rf"`{re.escape(path)}`:\n\n```\w+\n(.*?)```", EXAMPLE, re.DOTALL)
    assert match, path
    return match[1]


RUNS = """
import pytest
from hype_bench.launch.main import main

SHORT = "model=tiny_bert task=demo_rte tracker=none training.max_steps=3 data.max_train_examples=40".split()


@pytest.fixture
def typed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["run.py", *words, *SHORT])
        main()

    return run


def test_it_runs_alone_and_combined(typed, capsys):
    typed("-m", "method=embedding_dropout,[embedding_dropout,r_drop]", "method.embedding_dropout.p=0.1,0.2")
    shown = capsys.readouterr().out
    assert "4 runs: 4 done now, 0 done before, 0 failed" in shown
    assert "embedding_dropout+r_drop" in shown


def test_a_value_out_of_range_is_one_line(typed, capsys):
    with pytest.raises(SystemExit):
        typed("method=embedding_dropout", "method.embedding_dropout.p=1")
    line = "error: method.embedding_dropout.p must be at least 0 and below 1, not 1\\n"
    assert capsys.readouterr().err == line
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the two files of the worked example in it, and nothing else changed."""
    place = tmp_path_factory.mktemp("project")
    for part in ("hype_bench", "conf", "tests", "docs", "scripts", "results/bench"):
        shutil.copytree(ROOT / part, place / part)  # compiled files too: they are valid for copies of the same age
    for part in ("run.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / part, place / part)
    for path in ("hype_bench/methods/embedding_dropout.py", "conf/method/embedding_dropout.yaml"):
        assert not (place / path).exists()
        (place / path).write_text(block(path))
    return Path(place)


def test_the_worked_example_runs_and_holds_to_the_contract(project: Path) -> None:
    """In all families: tests/test_installed.py, with the same technique in a package."""
    (project / "tests" / "test_runs.py").write_text(RUNS)
    chosen = "test_runs or (embedding_dropout and bert and not roberta and not deberta)"
    script = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", chosen]
    tests = ["tests/methods/test_techniques.py", "tests/test_runs.py"]
    ended = subprocess.run([*script, *tests], cwd=project, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stdout
    assert "failed" not in ended.stdout
    counted = re.search(r"(\d+) passed", ended.stdout)
    assert counted
    assert int(counted[1]) > 6


def test_the_hooks_named_are_those_there_are() -> None:
    from hype_bench.contract.method import Hooks

    assert set(re.findall(r"^\| `(\w+)\(", EXAMPLE, re.MULTILINE)) == set(Hooks.__dataclass_fields__)
