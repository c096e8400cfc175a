"""What a user types and what comes of it."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hype_bench.launch.main import main
from hype_bench.launch.plan import plan_of
from hype_bench.runs.status import read_runs

SHORT: tuple[str, ...] = ("model=tiny_bert", "tracker=none", "training.max_steps=2", "data.max_train_examples=64")
SHORT = (*SHORT, "data.max_eval_examples=32")
DEMO = (*SHORT, "task=demo_rte")


def records(results: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(results.glob("runs/*/result.json"))]


def table_of(output: str) -> str:
    """What a sweep prints between its jobs and the line that counts its runs."""
    return output[output.index("\n\n") : re.search(r"^\d+ runs?:", output, re.MULTILINE).start()].strip()


def test_the_users_own_command(command: Any, warm: Any, tmp_path: Path) -> None:
    """``method=hype_n task=... -m seed=1,2,3``, in a fresh process; then status and table."""
    ended = command(*SHORT, "method=hype_n", "task=demo_rte", "-m", "seed=1,2,3")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""  # no bar, no warning: this is no terminal
    assert re.search(r"^hype_n +\d+\.\d\d ± \d+\.\d\d \(3(, \d collapsed)?\)$", ended.stdout, re.MULTILINE)
    assert "generated" in table_of(ended.stdout)
    assert ended.stdout.endswith("3 runs: 3 done now, 0 done before, 0 failed\n")
    written = records(tmp_path / "results")
    assert sorted(record["label"]["seed"] for record in written) == [1, 2, 3]
    assert {record["label"]["method"] for record in written} == {"hype_n"}
    for record in written:
        assert record["status"] == "done"
        assert record["updates"] == 2
        assert 0 <= record["scores"]["accuracy"] <= 1
        assert record["versions"]["torch"]
        assert record["config"]["seed"] == record["label"]["seed"]
        assert record["seconds"].keys() >= {"tokens", "model", "train", "evaluate"}
        assert record["tokens_per_second"] > 0
        assert record["peak_memory_bytes"] > 0
        assert record["machine"]["threads"] == 1
    verbs = [warm(verb, program="hype_bench.cli") for verb in ("status", "table")]
    assert verbs[0].stdout.startswith("results: 3 runs, 3 done")
    assert verbs[1].stdout.strip() == table_of(ended.stdout)


def test_help_is_a_page(command: Any, tmp_path: Path) -> None:
    ended = command("--help")
    assert ended.returncode == 0
    for group in ("model: ", "task: ", "method: ", "recipe: ", "tracker: "):
        assert f"\n{group}" in ended.stdout
    for option in ("seed=", "noise_scale=", "training.learning_rate=", "data.root=", "results_dir=", "device="):
        assert f"\n  {option}" in ended.stdout
    assert ended.stdout.count("python run.py ") >= 6  # the usage and five examples
    assert "minilm" in ended.stdout
    assert not list(tmp_path.iterdir())  # asking leaves nothing behind


def test_where_the_flag_stands(warm: Any) -> None:
    """First, last, in the middle, in its long form: the same two runs."""
    ways = [
        (*DEMO, "-m", "seed=1,2"),
        ("-m", *DEMO, "seed=1,2"),
        (*DEMO, "seed=1,2", "-m"),
        (*DEMO, "--multirun", "seed=1,2"),
    ]
    outputs = [warm(*way) for way in ways]
    assert [ended.returncode for ended in outputs] == [0, 0, 0, 0]
    assert "2 runs: 2 done now, 0 done before" in outputs[0].stdout
    for ended in outputs[1:]:
        assert "2 runs: 0 done now, 2 done before, 0 failed" in ended.stdout
        assert table_of(ended.stdout) == table_of(outputs[0].stdout)


def test_methods_as_a_name_a_list_and_a_sweep(warm: Any, tmp_path: Path) -> None:
    assert warm(*DEMO, "method=vanilla").stdout.startswith("done: ")
    assert warm(*DEMO, "method=[vanilla]").stdout.startswith("done before: ")
    ended = warm(*DEMO, "-m", "method=[hype_n],[vanilla],no_dropout")
    assert "3 runs: 2 done now, 1 done before" in ended.stdout
    rows = [line.split()[0] for line in ended.stdout.splitlines() if re.search(r"\(1(, 1 collapsed)?\)", line)]
    assert rows == ["vanilla", "no_dropout", "hype_n"]  # the controls first
    assert warm(*DEMO, "method=[hype_n,r_drop]").returncode == 0
    assert {record["label"]["method"] for record in records(tmp_path / "results")} >= {"hype_n+r_drop"}


def test_a_glob_is_a_sweep(warm: Any) -> None:
    ended = warm(*SHORT, "-m", "task=glob([demo_c*,demo_rte])")
    assert ended.returncode == 0, ended.stderr
    assert "[1/2] done: tiny_bert demo_cola" in ended.stdout
    assert "[2/2] done: tiny_bert demo_rte" in ended.stdout


def test_done_is_not_done_again(warm: Any, tmp_path: Path) -> None:
    line = re.fullmatch(r"done: (tiny_bert demo_rte vanilla seed 1: accuracy \d+\.\d\d in \d+ s)\n", warm(*DEMO).stdout)
    assert line
    (result,) = tmp_path.glob("results/runs/*/result.json")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in result.parent.iterdir()}
    again = warm(*DEMO)
    assert (again.returncode, again.stdout) == (0, f"done before: {line[1]}\n")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in result.parent.iterdir()} == before
    without_weights = warm(*DEMO, "training.save=last").stdout
    assert "weights were not kept" in without_weights
    assert str(result.parent.relative_to(tmp_path)) in without_weights


def test_identity_ignores_what_changes_no_number(warm: Any, tmp_path: Path) -> None:
    ended = warm(*DEMO, "-m", "training.evaluate_every=0,1", "experiment.name=a,b", "training.save=none,last")
    assert "8 runs: 1 done now, 7 done before, 0 failed" in ended.stdout
    assert warm(*DEMO, "results_dir=elsewhere", "training.evaluate_every=1").returncode == 0
    here, there = (list((tmp_path / name).glob("runs/*")) for name in ("results", "elsewhere"))
    assert [path.name for path in here] == [path.name for path in there]
    assert (here[0] / "predictions.csv").read_bytes() == (there[0] / "predictions.csv").read_bytes()
    curves = [records(tmp_path / name)[0]["curve"] for name in ("results", "elsewhere")]
    assert [sum("accuracy" in row for row in curve) for curve in curves] == [0, 2]


@pytest.mark.parametrize(
    "changes",
    [
        ("method=hype_n", "training.learning_rate=1e-5,2e-5", "method.hype_n.position=between,both"),
        ("data.max_train_examples=32,48", "data.subset_seed=0,1"),
        ("data.max_eval_examples=16,32", "training.weight_decay=0,0.1"),
        ("training.optimizer=adamw,adamw_hf", "training.precision=fp32,bf16"),
        ("data.max_length=16,128", "model=tiny_bert,tiny_electra"),
    ],
)
def test_identity_reacts_to_what_changes_numbers(changes: tuple[str, ...]) -> None:
    plan, _ = plan_of([*DEMO, *changes])
    assert len({run.identity for run in plan.runs} - {""}) == len(plan.runs) == 4


def test_the_same_command_gives_the_same_numbers_bit_for_bit(warm: Any, tmp_path: Path) -> None:
    """In two folders, two processes, and for one of them after another run in the same process."""
    arguments = (*DEMO, "training.max_steps=4", "training.learning_rate=1e-2", "method=hype_n")
    assert warm(*arguments, "seed=2", "results_dir=a").returncode == 0
    assert warm(*arguments, "-m", "seed=1,2", "results_dir=b").returncode == 0
    (alone,) = records(tmp_path / "a")
    after = {record["label"]["seed"]: record for record in records(tmp_path / "b")}
    for key in ("scores", "curve", "tokens", "updates", "parts"):
        assert after[2][key] == alone[key], key
    assert after[1]["curve"] != alone["curve"]  # the seed does change them
    (first,) = (tmp_path / "a").glob("runs/*/predictions.csv")
    second = tmp_path / "b" / "runs" / first.parent.name / "predictions.csv"
    assert first.read_bytes() == second.read_bytes()
    rows = list(csv.DictReader(io.StringIO(first.read_text())))
    assert [int(row["index"]) for row in rows] == list(range(32))
    hits = sum(row["label"] == row["prediction"] for row in rows)
    assert hits / 32 == pytest.approx(alone["scores"]["accuracy"])


def test_one_run_fails_and_the_others_go_on(warm: Any, tmp_path: Path) -> None:
    ended = warm(*DEMO, "training.packing=on", "-m", "model=tiny_xlnet,tiny_bert", "seed=1,2")
    assert ended.returncode == 1
    assert "4 runs: 2 done now, 0 done before, 2 failed" in ended.stdout
    assert ended.stdout.count("training.packing=on is not available for xlnet") == 3  # as each ends, and once below
    assert re.search(r"vanilla +\d+\.\d\d ± \d+\.\d\d \(2(, \d collapsed)?\)", ended.stdout)
    status = warm("status", program="hype_bench.cli").stdout
    assert "2 runs, 2 done" in status  # what was refused left nothing behind
    assert len(list(tmp_path.glob("results/runs/*/result.json"))) == 2


def sweep_in_this_process(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["run.py", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def _breaking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second seed meets a fault that nobody thought of."""
    import hype_bench.training.loop as loop

    fine_tune = loop.fine_tune

    def breaks(run: Any, *others: Any) -> None:
        if run.seed == 2:
            raise RuntimeError("a cosmic ray\nand more")
        fine_tune(run, *others)

    monkeypatch.setattr(loop, "fine_tune", breaks)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_breaking")
def test_a_crash_leaves_its_traceback_and_is_tried_again(monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    sweep = (*DEMO, "-m", "seed=1,2,3")
    assert sweep_in_this_process(monkeypatch, *sweep) == 1
    printed = capsys.readouterr()
    assert "3 runs: 2 done now, 0 done before, 1 failed" in printed.out
    assert re.search(r"failed: tiny_bert demo_rte vanilla seed 2: a cosmic ray \(traceback: (\S+)\)", printed.out)
    assert re.search(r"vanilla +\S+ ± \S+ \(2, 1 failed(, \d collapsed)?\)", printed.out)
    assert printed.err == ""
    (failed,) = (run for run in read_runs(tmp_path / "results") if run.state == "failed")
    trace = (failed.path / "failure.txt").read_text()
    assert trace.startswith("Traceback")
    assert 'raise RuntimeError("a cosmic ray' in trace

    assert sweep_in_this_process(monkeypatch, *sweep[:-1], "seed=2") == 1  # alone it is an error like any other
    assert "2 done before" not in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert sweep_in_this_process(monkeypatch, *sweep) == 0
    assert "3 runs: 1 done now, 2 done before, 0 failed" in capsys.readouterr().out
    assert not (failed.path / "failure.txt").exists()
    assert [run.state for run in read_runs(tmp_path / "results")] == ["done"] * 3


@pytest.mark.usefixtures("_breaking")
def test_a_crash_of_a_single_run_is_one_line(monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    assert sweep_in_this_process(monkeypatch, *DEMO, "seed=2") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"error: tiny_bert demo_rte vanilla seed 2: a cosmic ray \(traceback: \S+\)\n", printed.err)


def test_a_table_that_cannot_be_made_is_an_error(monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    """Hydra turns what a callback raises into a warning; the exit code must not be 0."""

    def broken(runs: Any) -> None:
        raise KeyError("accuracy")

    monkeypatch.setattr("hype_bench.launch.callback.build_tables", broken)
    monkeypatch.chdir(tmp_path)
    assert sweep_in_this_process(monkeypatch, *DEMO, "-m", "seed=1") == 1
    assert capsys.readouterr().err == "error: the table of this sweep cannot be made: KeyError('accuracy')\n"


def test_saved_weights_load_and_predict_the_same(warm: Any, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from hype_bench.tasks.demo import generate

    arguments = ("model=tiny_bert", "task=demo_rte", "tracker=none", "data.max_train_examples=64", "method=hype_n")
    assert warm(*arguments, "training.max_steps=2", "training.save=last").returncode == 0
    (folder,) = tmp_path.glob("results/runs/*/model")
    assert (folder / "model.safetensors").is_file()
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = list(csv.DictReader(io.StringIO((folder.parent / "predictions.csv").read_text())))[:8]
    texts = generate("demo_rte", "validation")
    batch = tokenizer(texts["sentence1"][:8], texts["sentence2"][:8], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    recorded = torch.tensor([[float(row["logit_0"]), float(row["logit_1"])] for row in rows])
    torch.testing.assert_close(logits, recorded, rtol=0, atol=1e-5)
