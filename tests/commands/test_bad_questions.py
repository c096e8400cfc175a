"""What cannot be answered, drawn, reported, compared or watched: exit code 2, and one line that says the way out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hype_bench.cli import main
from tests.tables.swept import write_experiment

QUESTIONS = {  # what is typed -> what the line must say
    "answer table5": "experiment table5 has no plan in results (there are: empty, mine); hype-bench ",
    "answer miné": "did you mean mine?",
    "answer": "there are empty, mine",
    "answer empty": "no run of empty is done in results: python run.py -m experiment=empty",
    "answer mine --against mixout": "mixout was not run on rte: python run.py -m experiment=mine method=",
    "answer mine --against=mixxout": "--against=mixxout: there is no such method; hype-bench methods lists them",
    "answer mine --margin=-0.5": "--margin=-0.5: a margin is a number of points from 0 on, such as 0.5",
    "answer mine --margin=nan": "--margin=nan: a margin is a number of points from 0 on",
    "answer mine --results-dir nowhere": "nowhere: no such folder; name another one with --results-dir",
    "plot answer empty": "nothing to draw as answer: none of its runs has ended",
    "plot answer mine --margin=-1": "--margin=-1: a margin is a number of points from 0 on",
    "plot ranks mine": "mine",
    "plot seeds table7": "experiment table7 has no plan",
    "report table7": "experiment table7 has no plan",
    "report mine --results-dir full": "the results folder cannot be written to: ",
    "table mine --compare mixout": "mine has no row 'mixout' to compare with; there are vanilla, hype_n",
    "compare vanilla hype_n": "in results/runs, or how it begins; for two methods add --experiment",
    "compare vanilla mixout --experiment mine": "mine has no row 'mixout'; there are vanilla, hype_n",
    "repeat nothing": "'nothing' names none of them; a run is named by its folder in ",
    "watch table7": "experiment table7 has no plan",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_experiment(folder / "results", {"vanilla": 0.6, "hype_n": 0.7}, seeds=(1, 2), tasks=["rte"])
    shutil.copytree(folder / "results", folder / "full")
    (folder / "full" / "report").write_text("a file in its place")
    write_experiment(folder / "empty", {"vanilla": 0.6, "hype_n": 0.7}, seeds=(1,), tasks=["rte"], name="empty")
    shutil.copy(folder / "empty" / "experiments" / "empty.json", folder / "results" / "experiments")
    plan = folder / "results" / "experiments" / "empty.json"
    plan.write_text(plan.read_text().replace("rte-", "other-"))
    return folder


@pytest.fixture
def complaint(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[object, str]]:
    def typed(line: str) -> tuple[object, str]:
        monkeypatch.chdir(place)
        monkeypatch.setattr("sys.argv", ["hype-bench", *line.split()])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert printed.out == ""
        return end.value.code, printed.err

    return typed


@pytest.mark.parametrize("line", QUESTIONS)
def test_it_is_one_line(line: str, complaint: Callable[[str], tuple[object, str]]) -> None:
    code, text = complaint(line)
    assert code == 2
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    assert QUESTIONS[line] in text


@pytest.mark.parametrize(
    ("line", "names"),
    [("plot pie mine", "'answer', 'seeds', 'curves'"), ("answer mine --correction none", "'holm', 'bh'")],
)
def test_an_unknown_choice_names_the_known_ones(
    line: str, names: str, complaint: Callable[[str], tuple[object, str]]
) -> None:
    code, text = complaint(line)
    assert code == 2
    assert names in " ".join(text.split())
