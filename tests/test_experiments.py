"""Experiments through the command line: planned, run, resumed, tabulated, compared, retried, cleaned, submitted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hype_bench.options import UserError
from hype_bench.render.submission import FILES, read_test_logits, submission_file
from hype_bench.runs.check import checksum_of
from hype_bench.runs.identity import FORMAT
from hype_bench.sweeps.planned import read_plan

TINY = ("-m", "experiment=table1", "scope=smoke", "model=tiny_bert", "task=demo_rte,demo_cola", "seed=1")
FEW = ("data.max_train_examples=16", "data.max_eval_examples=16")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, warm_in: Any) -> tuple[Path, Any]:
    place = tmp_path_factory.mktemp("swept")
    return place, warm_in(place)(*TINY, *FEW)


def counts(place: Path) -> int:
    return len(list((place / "results" / "runs").glob("*/result.json")))


def test_the_union_is_run_once_and_becomes_the_table(swept: tuple[Path, Any]) -> None:
    place, ended = swept
    assert ended.returncode == 0, ended.stderr
    assert "table1@smoke: 12 runs, 14 in rows of its table; 0 done before, 12 to do" in ended.stdout
    assert "[12/12] done" in ended.stdout
    assert counts(place) == 12
    text = " ".join(ended.stdout.split())
    assert (
        "table1; scope smoke; rule paper: search over training.learning_rate, noise_scale: best of the search" in text
    )
    assert "configurations: vanilla 1; no_dropout 1; hype_n 2; hype_u 2; vanilla, wider search 1" in text
    assert {row["label"]["experiment"] for row in map(read_record, place.glob("results/runs/*"))} == {"table1"}


def read_record(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())


def test_a_plan_changes_no_table(swept: tuple[Path, Any], warm_in: Any) -> None:
    results = swept[0] / "results"
    before = read_plan(results, "table1")
    assert len(before.runs) == 14
    ended = warm_in(swept[0])("plan", *TINY[1:], *FEW, "method=vanilla", program="hype_bench.cli")
    assert " done, 0 to do" in ended.stdout
    assert read_plan(results, "table1") == before
    (results / "experiments" / "table1@smoke.json").unlink()
    warm_in(swept[0])("plan", *TINY[1:], *FEW, program="hype_bench.cli")  # records from elsewhere
    assert read_plan(results, "table1") == before


def test_what_is_done_is_not_launched(swept: tuple[Path, Any], warm_in: Any) -> None:
    place, _ = swept
    again = warm_in(place)(*TINY, *FEW)
    assert "12 done before, 0 to do" in again.stdout
    assert "12 runs: 0 done now, 12 done before, 0 failed" in again.stdout
    assert again.returncode == 0


def test_the_table_is_there_afterwards_in_every_format(swept: tuple[Path, Any], warm: Any) -> None:
    place, ended = swept
    table = warm("table", "table1", "--results-dir", str(place / "results"), program="hype_bench.cli")
    assert table.returncode == 0, table.stderr
    assert table.stdout.strip() in ended.stdout
    for format, sign in (
        ("markdown", "| vanilla"),
        ("latex", r"\begin{tabular}"),
        ("csv", "model,task"),
        ("html", "<table>"),
    ):
        compared = ("--compare", "vanilla", "--format", format)
        written = warm("table", "table1", *compared, "--results-dir", str(place / "results"), program="hype_bench.cli")
        assert sign in written.stdout
        row = "demo_rte,hype_n," if format == "csv" else "hype_n, demo_rte"
        assert row in written.stdout.replace(r"\_", "_")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["table", "table2"], "(there are: table1@smoke); hype-bench run -m experiment=table2 makes one"),
        (["table", "tabel1"], "(there are: table1@smoke); did you mean table1?"),
        (
            ["table", "table1", "--compare", "nothing"],
            "table1@smoke has no row 'nothing' to compare with; there are vanilla,",
        ),
        (["table", "--compare", "paper"], "all runs regenerate no table of the paper"),
        (["submit", "table1"], "no cell of table1 has all its runs with predictions of a test set"),
    ],
)
def test_a_mistake_is_one_line(swept: tuple[Path, Any], warm: Any, arguments: list[str], sentence: str) -> None:
    ended = warm(*arguments, "--results-dir", str(swept[0] / "results"), program="hype_bench.cli")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert sentence in ended.stderr


def test_records_of_two_formats_are_not_mixed(swept: tuple[Path, Any], warm: Any, tmp_path: Path) -> None:
    place, _ = swept
    (tmp_path / "results").symlink_to(place / "results")
    folder = sorted(place.glob("results/runs/*"))[0]
    kept = (folder / "result.json").read_text()
    changed = json.loads(kept)
    changed["parts"]["format"] = 1
    changed["checksum"] = checksum_of(changed)
    try:
        (folder / "result.json").write_text(json.dumps(changed))
        ended = warm("table", "table1", program="hype_bench.cli")
        assert ended.returncode == 2
        assert f"code formats 1 and {FORMAT}" in ended.stderr
    finally:
        (folder / "result.json").write_text(kept)


def test_a_comparison_without_one_of_its_files_says_so(swept: tuple[Path, Any], warm: Any) -> None:
    place, _ = swept
    about = {folder: read_record(folder)["label"] for folder in place.glob("results/runs/*")}
    one_cell = [run for run, label in about.items() if (label["method"], label["task"]) == ("hype_n", "demo_rte")]
    kept = {run / "predictions.csv": (run / "predictions.csv").read_text() for run in one_cell}
    try:
        for path, text in kept.items():
            path.write_text(text.splitlines()[0])
        words = ("table", "table1", "--compare", "vanilla", "--results-dir", str(place / "results"))
        ended = warm(*words, program="hype_bench.cli")
    finally:
        for path, text in kept.items():
            path.write_text(text)
    assert ended.returncode == 1
    assert "hype_u, demo_rte" in ended.stdout
    (line,) = ended.stderr.splitlines()
    assert any(line.startswith(f"error: {path} ") for path in kept)


def test_nothing_is_begun_where_one_run_cannot_be(warm: Any, tmp_path: Path) -> None:
    for wrong, sentence in (
        ("training.learning_rate=7", "must be above 0 and at most 1"),
        ("task=nonsense", "nonsense"),
    ):
        ended = warm(*TINY, wrong)
        assert ended.returncode == 2, ended.stdout
        assert sentence in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "results" / "runs").exists()


def test_an_unknown_experiment_names_the_nearest(warm: Any) -> None:
    ended = warm("-m", "experiment=tabel1")
    assert ended.returncode == 2
    assert "there is no experiment 'tabel1'; did you mean table1?" in ended.stderr


def test_fail_fast_begins_nothing_after_a_failure(warm: Any, tmp_path: Path) -> None:
    arguments = ("-m", "experiment=low_resource", "model=tiny_bert", "scope=smoke", "method=vanilla", "seed=1", *FEW)
    missing = (f"data.root={tmp_path}", "task=rte,demo_rte")
    ended = warm(*arguments, *missing, "--fail-fast")
    assert ended.returncode == 1
    assert "2 runs: 0 done now, 0 done before, 1 failed, 1 not started" in ended.stdout
    without = warm(*arguments, *missing)
    assert "2 runs: 1 done now, 0 done before, 1 failed" in without.stdout
    assert without.stdout.count("no such folder") == 3  # as it fails, under the table and in the list of failures


def test_plan_says_what_there_is_to_do_and_runs_nothing(warm: Any, tmp_path: Path) -> None:
    ended = warm("plan", *TINY[1:], *FEW, program="hype_bench.cli")
    assert ended.returncode == 0, ended.stderr
    assert "\n12 runs, 0 done, 12 to do; " in ended.stdout
    assert not (tmp_path / "results").exists()
    wrong = warm("plan", "experiment=table1", "task=nonsense", program="hype_bench.cli")
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1


def test_retry_runs_again_what_failed_and_clean_removes_it(warm: Any, tmp_path: Path) -> None:
    options = ("model=tiny_bert", "task=demo_rte", "tracker=none", "training.max_steps=2", "seed=1", *FEW)
    assert warm(*options).returncode == 0
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    result = folder / "result.json"
    before = json.loads(result.read_text())
    result.unlink()
    (folder / "failure.txt").write_text("Traceback\nRuntimeError: the lights went out\n")
    shown = warm("clean", program="hype_bench.cli")
    assert f"would remove {folder.relative_to(tmp_path)} (failed: tiny_bert demo_rte vanilla seed 1)" in shown.stdout
    assert folder.is_dir()
    again = warm("retry", program="hype_bench.cli")
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(result.read_text())["scores"] == before["scores"]
    assert "nothing failed" in warm("retry", program="hype_bench.cli").stdout
    result.unlink()
    removed = warm("clean", "--incomplete", program="hype_bench.cli")
    assert "removed" in removed.stdout
    assert not folder.exists()


def test_selection_examples_are_scored_and_not_shown(warm: Any, tmp_path: Path) -> None:
    options = ("model=tiny_bert", "task=demo_rte", "tracker=none", "training.max_steps=2", "seed=1")
    ended = warm("-m", *options, "data.selection_examples=32", "data.max_eval_examples=16")
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    assert set(read_record(folder)["scores"]) == {"accuracy", "selection/accuracy"}
    assert "selection/" not in ended.stdout
    splits = pd.read_csv(folder / "predictions.csv")["split"].value_counts().to_dict()
    assert splits == {"validation": 16, "selection": 32}


def test_predicting_a_test_set_changes_no_number(warm: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for split, size, label in (("train", 64, None), ("validation", 16, None), ("test", 24, -1)):
        folder = root / "rte"
        folder.mkdir(parents=True, exist_ok=True)
        texts = [f"{split} words {i} unknown{split}{i}" for i in range(size)]
        labels = [i % 2 if label is None else label for i in range(size)]
        pd.DataFrame({"sentence1": texts, "sentence2": texts, "label": labels}).to_parquet(folder / f"{split}.parquet")
    options = ("model=tiny_bert", "task=rte", f"data.root={root}", "tracker=none", "training.max_steps=3")
    assert warm(*options, "results_dir=without").returncode == 0
    arguments = ("-m", "experiment=table12", "scope=smoke", *options, "method=vanilla", "data.max_train_examples=null")
    ended = warm(*arguments, "data.max_eval_examples=null", "training.warmup_steps=null", "training.learning_rate=2e-5")
    assert ended.returncode == 0, ended.stderr
    (plain,), (predicted,) = (list((tmp_path / name / "runs").iterdir()) for name in ("without", "results"))
    assert plain.name == predicted.name
    assert (plain / "predictions.csv").read_bytes() == (predicted / "predictions.csv").read_bytes()
    assert len(pd.read_csv(predicted / "test.csv")) == 24
    output = warm(*options, "results_dir=without", "data.predict_test=true").stdout
    assert "its test sets were not predicted" in output


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        ("cola", ["unacceptable", "acceptable"], ["0", "1"]),
        ("rte", ["entailment", "not_entailment"], ["entailment", "not_entailment"]),
        ("stsb", [], ["5.000", "0.000"]),
    ],
)
def test_a_submission_in_glues_words(task: str, labels: list[str], expected: list[str]) -> None:
    logits = np.array([[5.5], [-0.2]]) if not labels else np.array([[2.0, -1.0], [-1.0, 2.0]])
    text = submission_file(task, labels, logits)
    assert text == f"index\tprediction\n0\t{expected[0]}\n1\t{expected[1]}\n"


def test_submit_writes_a_zip_for_every_row(warm: Any, tmp_path: Path, data_root: Path) -> None:
    options = ("-m", "experiment=table12", "scope=smoke", "model=tiny_bert", f"data.root={data_root}", "task=cola,stsb")
    assert warm(*options, "seed=1,2", "method=vanilla,hype_n").returncode == 0
    ended = warm("submit", "table12", program="hype_bench.cli")
    assert ended.returncode == 0, ended.stderr
    assert "GLUE also wants SST-2.tsv" in ended.stdout
    files = sorted((tmp_path / "submissions").iterdir())
    assert [file.name for file in files] == ["tiny_bert-hype_n.zip", "tiny_bert-vanilla.zip"]
    with zipfile.ZipFile(files[0]) as archive:
        assert set(archive.namelist()) == {"CoLA.tsv", "STS-B.tsv"} < set(FILES.values())
        rows = archive.read("CoLA.tsv").decode().splitlines()
        assert (rows[0], len(rows)) == ("index\tprediction", 1064)


def test_a_submission_of_mnli_has_the_diagnostics(warm: Any, tmp_path: Path) -> None:
    """GLUE's AX has no training data: what was trained on MNLI predicts it."""
    root, sizes = tmp_path / "data", {"mnli/train": 48, "mnli/validation_matched": 12}
    sizes |= {"mnli/test_matched": 7, "mnli/test_mismatched": 5, "ax/test": 3}
    for name, size in sizes.items():
        path = root / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = [f"{name} says {i}" for i in range(size)]
        labels = [-1 if "test" in name else i % 3 for i in range(size)]
        pd.DataFrame({"premise": texts, "hypothesis": texts, "label": labels}).to_parquet(path)
    options = ("experiment=table12", "scope=smoke", "model=tiny_bert", f"data.root={root}", "task=mnli", "seed=1")
    assert warm("-m", *options, "method=vanilla").returncode == 0
    assert warm("submit", "table12", program="hype_bench.cli").returncode == 0
    (file,) = (tmp_path / "submissions").iterdir()
    with zipfile.ZipFile(file) as archive:
        rows = {name: archive.read(name).decode().splitlines()[1:] for name in archive.namelist()}
    assert {name: len(lines) for name, lines in rows.items()} == {"MNLI-m.tsv": 7, "MNLI-mm.tsv": 5, "AX.tsv": 3}
    assert {line.split("\t")[1] for line in rows["AX.tsv"]} <= {"entailment", "neutral", "contradiction"}
    (predicted,) = (tmp_path / "results" / "runs").glob("*/test.csv")
    predicted.unlink()
    gone = warm("submit", "table12", program="hype_bench.cli")
    assert gone.returncode == 1
    assert "test.csv" in gone.stderr


GOOD = "split,index,logit_0,logit_1,row\ntest,0,0.5,1,0\ntest,1,2,-1,1\nax/test,0,1,2,0\n"


def predicted_by(folder: Path, text: str) -> Any:
    """What a submission takes from a run that predicted two examples of test and one of ax/test."""
    about = {"label": {"model": "m", "task": "t", "method": "v", "metric": "accuracy", "seed": 1}, "scores": {}}
    record = {**about, "status": "done", "parts": {"format": 1, "seed": 1, "methods": []}, "config": {}}
    (folder / "result.json").write_text(json.dumps({**record, "test_rows": {"test": 2, "ax/test": 1}}))
    (folder / "test.csv").write_text(text)
    return read_test_logits(folder, outputs=2)


def test_predictions_that_are_whole_are_sent(tmp_path: Path) -> None:
    predictions = predicted_by(tmp_path, GOOD)
    assert [*predictions] == ["test", "ax/test"]
    assert [logits.tolist() for logits in predictions.values()] == [[[0.5, 1], [2, -1]], [[1, 2]]]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("ax/test,0,1,2,0\n", "", "its splits are test, the run predicted test, ax/test"),
        ("ax/test", "other", "its splits are test, other, the run predicted test, ax/test"),
        ("test,1,2,-1,1\n", "", "test has 1 examples, the run predicted 2"),
        ("test,1,2,-1,1\n", "test,1,2,-1,1\ntest,2,2,-1,2\n", "test has 3 examples, the run predicted 2"),
        ("test,0,0.5,1,0\ntest,1,2,-1,1\n", "test,1,2,-1,1\ntest,0,0.5,1,0\n", "incomplete, repeated or out of order"),
        ("test,1,2,-1,1\n", "test,0,2,-1,1\n", "incomplete, repeated or out of order"),
        ("-1,1\n", "-1,4\n", "some rows of test were left out"),
        ("0.5", "nan", "a prediction of test is not a finite number"),
        ("0.5", "inf", "a prediction of test is not a finite number"),
        ("0.5", "much", "not submitted"),
        ("logit_1", "logit_2", "its columns are not split, index, logit_0, logit_1, row"),
        (GOOD, "", "not submitted"),
    ],
)
def test_predictions_that_are_not_whole_are_not_sent(tmp_path: Path, old: str, new: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as raised:
        predicted_by(tmp_path, GOOD.replace(old, new, 1))
    assert str(tmp_path / "test.csv") in str(raised.value)
