"""Runs as a DataFrame: what its rows are, its columns as documented, and the same with and without a cache."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hype_bench
from hype_bench.options import UserError
from hype_bench.runs import cache, frame
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.frame import COLUMNS
from hype_bench.runs.status import read_runs
from tests.runs.records import record_of, request_of

DOCS = Path(__file__).parents[2] / "docs" / "results_frame.md"


def write(results: Path, name: str, **files: Any) -> None:
    folder = RunFolder.of(results, name)
    folder.path.mkdir(parents=True)
    for file, content in files.items():
        (folder.path / f"{file}.json").write_text(json.dumps(content))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three runs of two techniques, one of them scored on two splits, and one of every other kind."""
    machine = {"device": "cpu", "threads": 2}
    for seed in (1, 2):
        about = record_of(0.5 + seed / 8, seed) | {"machine": machine, "versions": {"torch": "2.13"}}
        about["parts"]["methods"] = [["v", {"scale": 1e-5, "layers": "all"}]]
        write(tmp_path, f"plain-{seed}", result=about)
    other = record_of("nan", 1, method="w", metric="matthews") | {"peak_memory_bytes": 7}
    other["scores"] = {"matthews": "nan", "accuracy": 0.25, "mismatched/matthews": 0.75, "selection/matthews": 0.5}
    other["scored_rows"] = {"matched": 277, "mismatched": 30}
    other["config"]["task"]["evaluation_splits"] = ["matched", "mismatched"]
    other["parts"]["methods"] = [["w", {"layers": [0, 1]}]]
    other["parts"]["training"]["epochs"] = None
    write(tmp_path, "splits", result=other)
    diverged = record_of(seed=5) | {"status": "diverged", "reason": "no number", "scores": {}}
    diverged["parts"]["methods"] = [["v", {"scale": 1e-3, "layers": [0, 1]}]]
    write(tmp_path, "diverged", result=diverged)
    write(tmp_path, "interrupted", run=request_of(6))
    write(tmp_path, "broken", result={"status": "done"})
    return tmp_path


def test_a_row_is_a_run_a_split_and_a_metric(results: Path) -> None:
    frame = hype_bench.load_results(results)
    scores = frame[frame.identity == "splits"].set_index(["split", "metric"])
    assert scores.score.drop(("matched", "matthews")).to_dict() == {
        ("matched", "accuracy"): 0.25,
        ("mismatched", "matthews"): 0.75,
        ("selection", "matthews"): 0.5,
    }
    assert pd.isna(scores.score["matched", "matthews"])
    assert scores.index[scores.headline].tolist() == [("matched", "matthews")]
    assert scores.n.dropna().to_dict() == {
        ("matched", "matthews"): 277,
        ("matched", "accuracy"): 277,
        ("mismatched", "matthews"): 30,
    }
    assert scores.peak_memory_bytes.tolist() == [7] * 4
    plain = frame[frame.identity.str.startswith("plain")]
    assert plain[["seed", "score", "seconds", "device", "threads"]].to_numpy().tolist() == [
        [1, 0.625, 1.5, "cpu", 2],
        [2, 0.75, 1.5, "cpu", 2],
    ]


def test_every_run_has_one_headline_row_whatever_became_of_it(results: Path) -> None:
    frame = hype_bench.load_results(results)
    headlines = frame[frame.headline].set_index("identity")
    assert headlines.status.to_dict() == {
        "broken": "broken",
        "diverged": "diverged",
        "interrupted": "interrupted",
        "plain-1": "done",
        "plain-2": "done",
        "splits": "done",
    }
    assert headlines.score.isna()[["broken", "diverged", "interrupted"]].all()
    assert headlines.reason["diverged"] == "no number"
    assert headlines.seed.to_dict()["interrupted"] == 6
    assert pd.isna(headlines.seed["broken"])


def test_options_that_differ_have_a_column_of_their_own_type(results: Path) -> None:
    frame = hype_bench.load_results(results).query("headline").set_index("identity")
    assert frame["training.epochs"].dropna().unique().tolist() == [3]
    assert pd.isna(frame["training.epochs"]["splits"])
    assert frame["method.v.scale"].dropna().to_dict() == {"diverged": 1e-3, "plain-1": 1e-5, "plain-2": 1e-5}
    assert frame["method.v.layers"]["diverged"] == "[0, 1]"
    assert "method.w.layers" not in frame  # whoever has it has the same
    assert frame["version.torch"].dropna().tolist() == ["2.13", "2.13"]
    assert frame.variant["plain-1"] == frame.variant["plain-2"] != frame.variant["splits"]


def test_columns_are_the_documented_ones(results: Path) -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert documented == COLUMNS
    frame = hype_bench.load_results(results)
    assert {name: str(frame[name].dtype) for name in list(frame)[: len(COLUMNS)]} == documented
    empty = hype_bench.load_results([])
    assert {name: str(empty[name].dtype) for name in empty} == documented


def test_a_cache_makes_no_difference(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = hype_bench.load_results(results)
    monkeypatch.setattr(cache, "WORTHWHILE", 1)
    monkeypatch.setattr(cache, "_SETTLED", 0)
    first, second = hype_bench.load_results(results), hype_bench.load_results(results)
    assert (results / cache.FILE).exists()
    pd.testing.assert_frame_equal(first, without)
    pd.testing.assert_frame_equal(second, without)


def test_a_frame_of_ended_runs_is_stored_until_one_of_them_changes(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "WORTHWHILE", 1)
    monkeypatch.setattr(cache, "_SETTLED", 0)
    hype_bench.load_results(results)
    assert not (results / frame.FILE).exists()  # not all have ended
    shutil.rmtree(results / "runs" / "interrupted")
    shutil.rmtree(results / "runs" / "broken")
    first = hype_bench.load_results(results)
    monkeypatch.setattr(frame, "read_runs", lambda _: pytest.fail("the stored frame was not taken"))
    pd.testing.assert_frame_equal(hype_bench.load_results(results), first)
    monkeypatch.setattr(frame, "read_runs", read_runs)
    path = results / "runs" / "plain-1" / "result.json"
    path.write_text(path.read_text().replace("0.625", "0.875"))
    changed = hype_bench.load_results(results)
    assert changed.score[changed.identity == "plain-1"].tolist() == [0.875]
    (results / frame.FILE).write_bytes(b"no table")
    pd.testing.assert_frame_equal(hype_bench.load_results(results), changed)


def test_several_folders_are_one_frame(results: Path, tmp_path: Path) -> None:
    both = hype_bench.load_results([results, str(results)])
    assert len(both) == 2 * len(hype_bench.load_results(results))
    with pytest.raises(UserError, match="nowhere: no such folder"):
        hype_bench.load_results(tmp_path / "nowhere")
