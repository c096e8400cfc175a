"""An analysis of a run: it trains what is missing, reads what is there, and never touches a record."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from hype_bench.analysis import footprint
from hype_bench.config import CONF
from hype_bench.launch.execute import execute, identify, identify_read, resolve_run
from hype_bench.options import UserError
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record
from hype_bench.runs.status import DIVERGED, DONE, FAILED, read_runs
from hype_bench.sweeps.display import Display
from hype_bench.sweeps.outcomes import JobResult
from hype_bench.tables.all_runs import plan_of_runs
from hype_bench.tables.table import build_tables

SETTINGS = ["model=tiny_bert", "task=sst2", "tracker=none", "training.max_steps=2", "training.warmup_steps=1"]
WORDS = ("good", "bad", "long", "warm", "cold", "slow")


def sentences(rows: int, of: int) -> pd.DataFrame:
    texts = [f"a {WORDS[n % 6]} and {WORDS[n * of % 6]} film" for n in range(rows)]
    return pd.DataFrame({"sentence": texts, "label": [n % 2 for n in range(rows)]})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name, rows in (("sst2/train", 32), ("sst2/validation", 10), ("adv_glue/adv_sst2/validation", 6)):
        path = root / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        sentences(rows, len(name)).to_parquet(path)
    return root


@pytest.fixture(scope="module")
def analysed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a run and its analysis."""
    results = tmp_path_factory.mktemp("results")
    assert analyse(results, data).state == DONE
    return results


@pytest.fixture
def results(analysed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(analysed, tmp_path / "results"))


def analyse(results: Path, data: Path, *words: str, analysis: str = "robustness") -> JobResult:
    return execute(composed(results, data, *words, analysis=analysis), Display())


def composed(results: Path, data: Path, *words: str, analysis: str = "robustness") -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        places = [f"results_dir={results}", f"data.root={data}"]
        return compose("config", [*SETTINGS, f"analysis={analysis}", *places, *words])


def folders(results: Path) -> tuple[RunFolder, RunFolder]:
    """The run and its analysis."""
    by_task = {run.about.label.task: RunFolder(run.path) for run in read_runs(results) if run.about is not None}
    return by_task["sst2"], by_task["sst2.robustness"]


def record(folder: RunFolder) -> Record:
    result = folder.result()
    assert result is not None
    return result


def forget(folder: RunFolder) -> None:
    (folder.path / "result.json").unlink()


def test_it_trains_the_run_and_keeps_its_weights(results: Path) -> None:
    run, analysis = map(record, folders(results))
    assert run.parts.items() <= analysis.parts.items()
    assert analysis.facts["run"] == folders(results)[0].path.name
    assert analysis.facts["weights"] == run.facts["weights"]
    assert run.config["analysis"] == {}
    assert run.training["save"] == "last"


def test_a_plan_knows_the_run_that_it_reads(results: Path, data: Path) -> None:
    run, analysis = folders(results)
    settings, methods = resolve_run(composed(results, data))
    assert (identify(settings, methods), identify_read(settings, methods)) == (analysis.path.name, run.path.name)
    assert identify_read(replace(settings, analysis={}), methods) == ""
    of_all = {planned.identity: planned.analysis for planned in plan_of_runs(read_runs(results)).runs}
    assert of_all == {run.path.name: "", analysis.path.name: "robustness"}


def test_it_scores_both_sets_and_their_difference(results: Path) -> None:
    run, analysis = map(record, folders(results))
    clean, adversarial = (analysis.scores.get("accuracy", split) for split in ("clean", ""))
    assert clean == run.headline
    assert adversarial is not None
    assert run.headline is not None
    assert adversarial * 6 == pytest.approx(round(adversarial * 6))
    assert analysis.scores.get("accuracy", "drop") == pytest.approx(adversarial - run.headline)
    lines = (folders(results)[1].path / "predictions.csv").read_text().splitlines()
    assert [sum(line.startswith(split) for line in lines) for split in ("adversarial,", "clean,")] == [6, 10]


def test_it_is_a_column_of_its_own(results: Path) -> None:
    (table,) = build_tables(read_runs(results))
    assert table.columns == ["sst2", "sst2.robustness", "sst2.robustness/clean", "sst2.robustness/drop"]
    assert len(table.rows) == 1
    assert any("of the 148 rows of validation of adv_sst2" in note.text for note in table.notes)


def test_a_split_without_rows_is_refused(data: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data, tmp_path / "data"))
    sentences(0, 1).to_parquet(root / "adv_glue/adv_sst2/validation.parquet")
    with pytest.raises(UserError, match="task adv_sst2, split validation: no labelled row among 0"):
        analyse(tmp_path / "results", root)


def test_it_is_done_once(results: Path, data: Path) -> None:
    again = analyse(results, data)
    assert (again.state, again.skipped) == (DONE, True)


def test_weights_that_are_gone_are_trained_again_beside_the_record(results: Path, data: Path) -> None:
    run, analysis = folders(results)
    before = (run.path / "result.json").read_bytes()
    shutil.rmtree(run.path / "model")
    forget(analysis)
    assert analyse(results, data).state == DONE
    assert (run.path / "result.json").read_bytes() == before
    assert record(analysis).facts["weights"] == record(run).facts["weights"]
    assert record(analysis).warnings == [w for w in record(run).warnings if "again" in w] == []
    assert not (run.path / "model.partial").exists()


def test_other_scores_of_the_second_training_are_said(results: Path, data: Path) -> None:
    run, analysis = folders(results)
    other = record(run)
    scores = replace(other.scores, first={"accuracy": 0.123})
    run.write_record(replace(other, scores=scores, facts={**other.facts, "weights": "0" * 32}))
    shutil.rmtree(run.path / "model")
    forget(analysis)
    assert analyse(results, data).state == DONE
    (warning,) = (w for w in record(analysis).warnings if "trained again" in w)
    assert "and was 0.123" in warning
    forget(analysis)
    assert analyse(results, data).state == DONE  # those weights are known now


def test_weights_of_another_architecture_are_refused_in_one_line(results: Path, data: Path) -> None:
    run, analysis = folders(results)
    config = run.path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": 1}))
    forget(analysis)
    failed = analyse(results, data)
    assert failed.state == FAILED
    assert f"the weights in {run.path / 'model'} are not those of a tiny_bert with 2 outputs" in failed.reason
    assert "traceback" not in failed.reason


def test_changed_weights_are_refused(results: Path, data: Path) -> None:
    run, analysis = folders(results)
    with (run.path / "model" / "model.safetensors").open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(b"\1\2\3\4")
    forget(analysis)
    assert "does not hold the weights that it saved" in analyse(results, data).reason


def test_the_analysis_of_a_diverged_run_has_diverged(results: Path, data: Path) -> None:
    run, analysis = folders(results)
    run.write_record(replace(record(run), status=DIVERGED, reason="the loss is not finite"))
    forget(analysis)
    diverged = analyse(results, data)
    assert (diverged.state, diverged.reason) == (
        DIVERGED,
        "the run that it reads has diverged: the loss is not finite",
    )
    assert record(analysis).headline is None


def test_it_waits_for_another_process_that_trains_the_run(
    results: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, analysis = folders(results)
    forget(analysis)
    held, waited, lines = threading.Event(), threading.Event(), list[str]()

    def hold() -> None:
        with run.lock():
            held.set()
            waited.wait(10)

    def say(_: Display, line: str) -> None:
        lines.append(line)
        waited.set()

    monkeypatch.setattr(Display, "say", say)
    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    assert analyse(results, data).state == DONE
    other.join()
    assert lines[0] == "waiting for another process that holds tiny_bert sst2 vanilla seed 1"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["task=demo_cola"], "AdvGLUE has no set for task demo_cola; it has sst2, mnli, rte, qnli, qqp"),
        (["+analysis.robustness.size=3"], "analysis.robustness has no option 'size'"),
        (["+analysis.other={}"], "a run has one analysis, not robustness and other"),
        (["~analysis.robustness", "+analysis.other={}"], "there is no analysis 'other'; there are "),
        (["data.root=/nowhere"], "/nowhere/sst2: no such folder"),
    ],
)
def test_what_cannot_be_analysed_is_refused_before_anything_starts(
    words: list[str], complaint: str, tmp_path: Path, data: Path
) -> None:
    with pytest.raises(UserError) as refused:
        analyse(tmp_path, data, *words)
    assert complaint in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_what_reads_no_weights_trains_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = footprint.Cost([1.0], 10**9, {})
    monkeypatch.setattr(footprint, "costs", lambda setting, programs, updates: dict.fromkeys(programs, cost))
    assert analyse(tmp_path, data, analysis="footprint").state == DONE
    (only,) = [record(RunFolder(run.path)) for run in read_runs(tmp_path)]
    assert only.label.task == "sst2.footprint"
    assert only.scores.to_json() == {
        "value": 1.0, "memory/value": 1.0, "tokens_per_second/value": only.facts["vanilla_tokens_per_second"],
        "gigabytes/value": 1.0,
    }  # fmt: skip


def test_an_analysis_that_reads_another_task_names_it(results: Path, data: Path) -> None:
    options = ["analysis.probing.task=demo_mrpc", "analysis.probing.layers=[1,3]"]
    few = ["data.max_train_examples=20", "data.max_eval_examples=10"]
    assert analyse(results, data, *options, *few, analysis="probing").state == DONE
    (probed,) = [run.record for run in read_runs(results) if run.record and "probing" in run.record.label.task]
    assert (probed.label.task, probed.label.metric) == ("sst2.probing.demo_mrpc", "f1")
    assert set(probed.scored_rows) == {"layer_3", "layer_1"}
    missing = analyse(results, data, "analysis.probing.layers=[9]", options[0], *few, analysis="probing")
    assert missing.state == FAILED
    assert missing.reason == "analysis.probing.layers: there is no layer 9; the layers are 0, the embeddings, to 3"
