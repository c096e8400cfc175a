"""Packages that add techniques and choices: found, checked, and named where they are at fault."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from hydra import compose, initialize_config_dir
from typer.testing import CliRunner

from hype_bench import choices, plugins
from hype_bench.analysis.registry import analyses
from hype_bench.cli import app
from hype_bench.commands.methods import methods
from hype_bench.commands.plugins import plugins as list_plugins
from hype_bench.config import CONF
from hype_bench.contract import registry
from hype_bench.contract.registry import build, discover
from hype_bench.launch.main import main
from hype_bench.options import UserError
from hype_bench.runs.secrets import _words_of_conf

TECHNIQUE = '''
from dataclasses import dataclass
from hype_bench.contract import Method, number, register

@register("{name}")
@dataclass(frozen=True)
class Nothing(Method):
    """Nothing: it does nothing.

    Args:
        strength: of what it does not do.

    Equation:
        x = x

    Reference:
        This test.

    Differences:
        None.

    Cost:
        None.

    When it helps:
        Never.
    """

    strength: float = number(0.5, least=0)
'''
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with an entry point where Python finds it, for the time of a test."""
    before, known = discover(), set(sys.modules)
    caches = (plugins.installed, registry.import_plugins, registry.cards, _words_of_conf)

    def put(module: str, **files: str) -> Path:
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / module / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        about = tmp_path / f"{module}-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}-dist\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text(f"[hype_bench]\n{module} = {module}\n")
        for cached in caches:
            cached.cache_clear()
        return tmp_path / module

    monkeypatch.syspath_prepend(tmp_path)
    yield put
    registry._REGISTERED.clear()
    registry._REGISTERED.update(before)
    for name in set(sys.modules) - known:
        if name.startswith(("good", "bad")):
            del sys.modules[name]
    for cached in caches:
        cached.cache_clear()


def test_a_technique_and_choices_of_a_package_are_found(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    folder = install(
        "good",
        **{
            "methods/nothing.py": TECHNIQUE.format(name="nothing"),
            "conf/method/nothing.yaml": "# @package method.nothing\nstrength: 0.5\n",
            "conf/task/named.yaml": "name: named\ntrain_file: ${package:good}/data/train.csv\n",
        },
    )
    (technique,) = build({"nothing": {"strength": 2}}).values()
    assert vars(technique) == {"strength": 2.0}
    assert registry.cards()["nothing"].summary == "it does nothing"
    assert {"nothing", "hype_n"} <= set(choices.choices("method"))
    assert choices.read_choice("task", "named")["name"] == "named"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", ["task=named", "method=[hype_n,nothing]"])
    assert composed.task.train_file == f"{folder}/data/train.csv"
    assert composed.method.nothing == {"strength": 0.5}
    list_plugins()
    assert capsys.readouterr() == (
        "good-dist 1.2 (good)\n  techniques  nothing\n  analyses    none\n  choices     method=nothing, task=named\n",
        "",
    )
    assert "named" in _words_of_conf()  # and is no secret, whatever variable holds it
    methods("nothing")
    assert capsys.readouterr().out.startswith("Nothing: it does nothing.\n\nArgs:\n")


WRONG = {
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "def (": "SyntaxError: invalid syntax (methods.py, line 1)",
    TECHNIQUE.format(name="hype_n"): "bad.methods registers 'hype_n', a name that hype_bench.methods.hype has taken",
    TECHNIQUE.format(name="nothing").replace("Cost:", "Price:"): "the docstring of Nothing needs a section 'Cost'",
}


@pytest.mark.parametrize("code", WRONG)
def test_a_package_at_fault_is_named_and_left_out(
    code: str, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    own = list(discover())
    install("good", **{"methods.py": TECHNIQUE.format(name="other")})
    install("bad", **{"methods.py": code})
    assert list(discover()) == sorted([*own, "other"])
    assert type(build({"hype_n": {}})["hype_n"]).__module__ == "hype_bench.methods.hype"
    sentence = f"the techniques of bad-dist 1.2 are left out: {WRONG[code]}"
    methods()
    shown = capsys.readouterr()
    assert shown.err == f"warning: {sentence}\n"
    assert ["other", "it", "does", "nothing"] in [line.split() for line in shown.out.splitlines()]
    with pytest.raises(UserError) as complaint:
        build({"nothing": {}})
    assert str(complaint.value).endswith(f"; {sentence}")
    with pytest.raises(typer.Exit):
        list_plugins()
    assert capsys.readouterr().err == f"error: {sentence}\n"


def test_a_misspelt_technique_of_a_package_is_named(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = {"conf/method/embedding_nothing.yaml": "# @package method.embedding_nothing\nstrength: 0.5\n"}
    install("good", **{"methods.py": TECHNIQUE.format(name="embedding_nothing"), **choice})
    monkeypatch.setattr("sys.argv", ["run.py", "method=embedding_nothin"])
    with pytest.raises(SystemExit):
        main()
    assert "there is no method 'embedding_nothin'; did you mean embedding_nothing?" in capsys.readouterr().err


def test_a_technique_imported_by_hand_takes_no_name_either(install: Install) -> None:
    install("bad", **{"methods.py": TECHNIQUE.format(name="sam")})
    with pytest.raises(UserError, match=r"'sam', a name that hype_bench\.methods\.sam has taken"):
        __import__("bad.methods")


def test_a_choice_that_ours_hides_is_named(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("bad", **{"conf/task/rte.yaml": "name: other\n"})
    assert choices.read_choice("task", "rte")["name"] == "rte"
    with pytest.raises(typer.Exit):
        list_plugins()
    assert "error: task=rte of bad-dist 1.2 is not used" in capsys.readouterr().err


ANALYSIS = '''
def seeds(results_dir: str = "results") -> None:
    """Count seeds.

    Claim: none.

    Source: this test.

    Cost: none.
    """
    print("counted in", results_dir)
'''


def test_an_analysis_is_a_verb(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("good", **{"analysis/seeds.py": ANALYSIS})
    run = CliRunner()
    listed = run.invoke(app, ["--help"]).output.partition("Analyses of finished runs:\n")[2]
    assert re.search(r"^  seeds +Count seeds\.$", listed, re.MULTILINE)
    assert "good.analysis.seeds" not in sys.modules
    assert run.invoke(app, ["seeds", "--results-dir", "here"]).output == "counted in here\n"
    list_plugins()
    assert "  analyses    seeds\n" in capsys.readouterr().out


def test_an_analysis_at_fault_is_named(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    broken = "import no_such_module\n" + ANALYSIS.replace("Cost", "Price")
    install("bad", **{"analysis/seeds.py": broken, "analysis/soup.py": ANALYSIS, "analysis/status.py": ANALYSIS})
    ended = CliRunner().invoke(app, ["seeds"])
    assert str(ended.exception).startswith("seeds of bad-dist 1.2 cannot be used: ModuleNotFoundError: ")
    assert analyses()["soup"].plugin is None
    with pytest.raises(typer.Exit):
        list_plugins()
    assert capsys.readouterr().err.splitlines() == [
        "error: the analysis seeds of bad-dist 1.2 needs a docstring with Cost",
        "error: the analysis soup of bad-dist 1.2 is not used: the name is taken",
        "error: the analysis status of bad-dist 1.2 is not used: the name is taken",
    ]


def test_a_package_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^there is no package 'nowhere'$"):
        plugins.data_folder("nowhere")
