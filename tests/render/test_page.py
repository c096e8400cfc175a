"""The report as files: what stands in it, and that no name and no text acts there. A browser opens it next door."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hype_bench.commands.report import report
from hype_bench.options import UserError
from hype_bench.render.page.build import write_report
from hype_bench.sweeps.planned import Plan, write_plan
from tests.render.nasty import SHOWN, TEXTS, write_nasty
from tests.render.test_upload import write_experiment
from tests.tables.swept import write_experiment as swept


class Page(HTMLParser):
    """Its tags, its words, and what its scripts hold, by their ``id``."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.data: dict[str, str] = {}
        self._script: str | None = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]
        self._script = dict(attrs).get("id", "") if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.words.append(data)
        else:
            self.data[self._script] = data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results_dir, data = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("data")
    write_nasty(results_dir, data)
    write_experiment(results_dir)
    write_report(results_dir, [], "paper")
    return results_dir / "report"


def test_names_and_texts_are_shown_and_do_nothing(folder: Path) -> None:
    pages = [Page(path) for path in (folder / "index.html", *sorted((folder / "runs").glob("run?.html")))]
    assert [page.tags.count("script") for page in pages] == [4, 4, 4, 1]  # those of the templates
    assert all(SHOWN in page.text for page in pages[:3])
    assert "<script>document.title='taken'</script>\\u202e" in pages[3].text  # its traceback keeps its lines
    rows = json.loads(pages[0].data["run-rows"])
    assert [row[1] for row in rows if row[4] == SHOWN] == ["done", "diverged", "failed", "not started"]
    assert "49" not in pages[0].text.split("{{7*7}}")[1][:10]
    for path in folder.rglob("*.html"):
        assert "\u202e" not in path.read_text(encoding="utf-8")


def test_a_page_asks_nothing_of_other_hosts(folder: Path) -> None:
    for path in folder.rglob("*.html"):
        for link in Page(path).links:
            assert not re.match(r"[a-z]+:|//", link), link
    assert (folder / "runs" / "uPlot.iife.min.js").is_file()


def test_cells_stand_beside_the_papers(folder: Path) -> None:
    text = Page(folder / "index.html").text
    assert "bert_large hype_n rte accuracy 74.67 ± 3.51 (3) 74.37 +0.30 [-6.90, +7.50]" in text
    assert "X (1 of 3 runs, 1 failed) 1 of 3 runs, 1 failed 91.98" in text
    assert "18 runs, 16 done, 2 to do" in text
    assert "4 hours of cpu" in text


def test_the_answer_comes_first(tmp_path: Path) -> None:
    swept(tmp_path, {"vanilla": 0.6, "no_dropout": 0.75, "hype_n": 0.75, "r_drop": 0.6}, seeds=(1, 2, 3), spread=0.001)
    written = write_report(tmp_path, ["mine"], "paper")
    assert written.complaints == []
    text = Page(written.page).text
    assert text.index("helps hype_n: +1") < text.index("equal to no_dropout within 0.") < text.index("Every cell")
    assert "r_drop: vanilla with 2 times the epochs was not run on rte, mrpc" in text
    (tmp_path / "runs" / "rte-hype_n-2-3" / "predictions.csv").unlink()
    assert "predictions.csv is missing" in write_report(tmp_path, ["mine"], "paper").complaints[0]
    shutil.rmtree(tmp_path / "runs" / "mrpc-hype_n-2-3")
    unfinished = Page(write_report(tmp_path, ["mine"], "paper").page).text
    assert "undecided hype_n: no pairs of runs on mrpc yet; undecided on rte" in unfinished  # with a seed less


def test_more_pictures_than_a_page_takes_are_left_to_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept(tmp_path, {"vanilla": 0.6, "hype_n": 0.75}, seeds=(1, 2), spread=0.001)
    for module in ("answer", "experiment"):
        monkeypatch.setattr(f"hype_bench.render.page.{module}.MOST", 1)
    page = Page(write_report(tmp_path, ["mine"], "paper").page)
    assert "mine, minilm: over all tasks" in page.text
    assert "mine, minilm: rte" not in page.text
    assert "Too many for a page: hype-bench plot seeds mine draws them." in page.text


def test_collapsed_runs_are_seen(tmp_path: Path) -> None:
    swept(tmp_path, {"vanilla": 0.6, "hype_n": 0.9}, seeds=(1,), tasks=("rte",), spread=0.001)
    path = tmp_path / "runs" / "rte-vanilla-1-3"
    (path / "predictions.csv").write_text("split,index,label,prediction\nvalidation,0,0,0\nvalidation,1,1,0")
    record = json.loads((path / "result.json").read_text())
    (path / "result.json").write_text(json.dumps({**record, "scores": {"accuracy": 0.5}}))
    rows = json.loads(Page(write_report(tmp_path, [], "paper").page).data["run-rows"])
    assert [row[1] for row in rows] == ["done", "done, collapsed"]


def test_a_run_has_its_curve_its_worst_predictions_and_its_command(folder: Path) -> None:
    page = Page(folder / "runs" / "run1.html")
    assert json.loads(page.data["curve"]) == {
        "updates": [10, 20],
        "columns": [["loss", [0.7, None]], [SHOWN, [0.5, None]]],
    }
    assert "validation: 2 of 3 are wrong" in page.text
    assert [text in page.text for text in ("the first <script>", *TEXTS[1:])] == [True, True, False]
    worst = [page.text.index(row) for row in ("no yes 0.881", "yes no 0.622")]
    assert worst == sorted(worst)
    assert f"hype-bench repeat run1 --results-dir {folder.parent}" in page.text
    assert "command hype-bench run 'method=<script>" in page.text
    assert "data.max_length=128" in page.text
    assert "commit c0ffee, with changes" in page.text
    failed = Page(folder / "runs" / "run3.html").text
    assert "Traceback" in failed
    assert "repeat" not in failed  # it has no record


def test_texts_of_other_data_are_not_shown(tmp_path: Path) -> None:
    write_nasty(tmp_path, tmp_path)
    path = tmp_path / "runs" / "run1" / "result.json"
    path.write_text(path.read_text().replace('"data": "', '"data": "0'))
    write_report(tmp_path, ["nasty"], "paper")
    page = Page(tmp_path / "report" / "runs" / "run1.html")
    assert "the data of this run is not on this machine" in page.text
    assert TEXTS[1] not in page.text


def test_what_cannot_be_reported_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="table7 has no plan"):
        report(["table7"], tmp_path)
    write_plan(tmp_path, Plan("empty", "", "paper", None, [], "", []))
    report(["empty"], tmp_path)
    assert capsys.readouterr().out == f"{tmp_path}/report/index.html: 0 runs\n"
    (tmp_path / "report" / "index.html").unlink()
    (tmp_path / "report" / "index.html").mkdir()
    with pytest.raises(UserError, match="the results folder cannot be written to"):
        report(["empty"], tmp_path)
