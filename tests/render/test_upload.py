"""What ``hype-bench publish`` leaves behind, read back from the files of real offline runs of W&B."""

from __future__ import annotations

import csv
import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import typer

from hype_bench.commands.publish import publish
from hype_bench.options import UserError
from hype_bench.render import upload
from hype_bench.render.report import read_experiment, report
from hype_bench.runs.folder import RunFolder
from hype_bench.sweeps.planned import Plan, PlannedRun, read_plan, write_plan
from hype_bench.tracking import workspace as workspaces

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")  # of wandb-workspaces

SECRET = "thisTokenIsMadeUpForATest"
METRIC = {"rte": "accuracy", "mrpc": "f1"}
SCORES = {"vanilla": (0.68, 0.72, 0.76), "hype_n": (0.71, 0.75, 0.78)}
LINES = ["results/publish/table1: table.html, table.csv, bert_large.png"]


def planned(method: str, task: str, seed: int, rate: str) -> PlannedRun:
    configuration = {"learning_rate": rate} | ({"scale": "0.0001"} if method == "hype_n" else {})
    name = f"{method.replace('_', '')}{task}{seed}{rate[0]}"
    about = ("bert_large", "bert_large", task, METRIC[task], method, "", {})
    return PlannedRun(name, *about, configuration, rate == "2e-5", seed, [name])


def write_record(
    results_dir: Path, run: PlannedRun, score: float, experiment: str = "table1", curve: list[Any] | None = None
) -> None:
    label = {"model": run.model, "task": run.task, "method": run.method, "seed": run.seed, "metric": run.metric}
    rate = float(run.configuration["learning_rate"])
    options = {"scale": 0.0001, "layers": "all"} if run.method == "hype_n" else {}
    training = {"learning_rate": rate, "batch_size": 16, "epochs": 3.0, "max_steps": None, "save": "none"}
    config = {
        "model": {"name": run.model, "checkpoint": "bert-large-cased", "family": "bert"},
        "task": {"name": run.task},
        "methods": {run.method: options},
        "recipe": "paper",
        "training": training,
        "data": {"root": f"/home/{SECRET}/data", "max_length": 128},
        "seed": run.seed,
        "experiment": experiment,
    }
    folder = RunFolder.of(results_dir, run.identity)
    folder.path.mkdir(parents=True)
    curve = curve or [{"update": at, "loss": loss, "learning_rate": rate} for at, loss in ((10, 0.7), (20, 0.6))]
    parts = {"format": 2, "methods": [[run.method, options]], "training": training, "seed": run.seed}
    record = {"status": "done", "label": {**label, "experiment": experiment}, "parts": parts, "config": config}
    folder.write_json("result.json", {**record, "scores": {run.metric: score}, "curve": curve, "warnings": []})


def write_experiment(results_dir: Path) -> None:
    """Table 1 for one model and two tasks, of which one run crashed, one did not begin, and one was done elsewhere."""
    rates = {"vanilla": ("1e-5", "2e-5"), "hype_n": ("2e-5",)}
    grid = [(method, task, seed) for method in SCORES for task in METRIC for seed in (1, 2, 3)]
    runs = [planned(*point, rate) for point in grid for rate in rates[point[0]]]
    command = f"python run.py -m experiment=table1 data.root=/home/{SECRET}/data"
    write_plan(results_dir, Plan("table1", "HyPe", "paper", 1, ["training.learning_rate"], command, runs))
    for run in runs:
        score = SCORES[run.method][run.seed - 1] - (0.1 if run.configuration["learning_rate"] == "1e-5" else 0.0)
        if (run.method, run.task, run.seed) == ("hype_n", "mrpc", 2):
            (results_dir / "runs" / run.identity).mkdir(parents=True)
            (results_dir / "runs" / run.identity / "failure.txt").write_text("RuntimeError: out of memory\n")
        elif (run.method, run.task, run.seed) != ("hype_n", "mrpc", 3):
            write_record(results_dir, run, score, "table2" if run.identity == "vanillarte12" else "table1")


def content(run: Path) -> list[Any]:
    """The records of a run's file: LevelDB's log format behind seven bytes, W&B's own messages in it."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, place, whole, records = run.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(whole))
            whole = b""
    return records


def values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


class OfflineRun:
    """A run of W&B, as it would be sent."""

    def __init__(self, folder: Path) -> None:
        (file,) = folder.glob("*.wandb")
        self.folder, records = folder, content(file)
        (self.about,) = [record.run for record in records if record.HasField("run")][:1]
        self.config = values(self.about.config.update)
        self.history = [values(record.history.item) for record in records if record.HasField("history")]
        self.summary = values([item for record in records for item in record.summary.update])

    def media(self, key: str) -> Path:
        (path,) = [row[f"{key}.path"] for row in self.history]
        return self.folder / "files" / path


PUBLISH_TWICE = """
from hype_bench.render.report import read_experiment
from hype_bench.render.upload import publish
for _ in range(2):
    print(*publish("results", read_experiment("results", "table1", "paper"), runs=True), sep="\\n")
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Published with its runs, and then again, in a process of its own: W&B leaves threads and a service behind."""
    folder = tmp_path_factory.mktemp("publish")
    write_experiment(folder / "results")
    fonts = {"MPLCONFIGDIR": matplotlib.get_cachedir()}  # searching for fonts takes seconds
    environment = {**os.environ, **fonts, "HOME": str(folder / "home"), "MY_TOKEN": SECRET}
    environment.pop("WANDB_MODE")  # no key: it shall find out by itself
    (folder / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH_TWICE],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "results", done


@pytest.fixture(scope="module")
def offline(published: tuple[Path, Any]) -> dict[str, list[OfflineRun]]:
    """id -> the runs of that id, in order of time."""
    runs: dict[str, list[OfflineRun]] = {}
    for folder in sorted((published[0] / "wandb").glob("offline-run-*")):
        run = OfflineRun(folder)
        runs.setdefault(run.about.run_id, []).append(run)
    return runs


def test_the_run_that_carries_the_table(published: tuple[Path, Any], offline: dict[str, list[OfflineRun]]) -> None:
    first, second = offline["table-table1-paper"]
    for run in (first, second):  # publishing again is the same run
        assert (run.about.run_group, run.about.job_type, run.about.project) == ("table1", "table", "hype_bench")
        assert run.about.display_name == "table1, rule paper"
        assert {key: run.config[key] for key in ("experiment", "rule", "scope")} == {
            "experiment": "table1", "rule": "paper", "scope": "paper",
        }  # fmt: skip
        assert (run.summary["cells"], run.summary["cells_with_a_score"]) == (4, 3)
    page = first.media("page").read_text()
    assert page == (published[0] / "publish/table1/table.html").read_text()
    assert page == report(read_experiment(published[0], "table1", "paper"), "html", "paper", intervals=True).text
    assert first.media("figure/bert_large").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_table_in_it_is_the_table(published: tuple[Path, Any], offline: dict[str, list[OfflineRun]]) -> None:
    table = json.loads(offline["table-table1-paper"][0].media("table").read_text())
    lines = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    cells = {(line["method"], line["task"]): line for line in lines}
    assert set(cells) == {(row, task) for row in SCORES for task in (*METRIC, "average")}
    best = cells["vanilla", "rte"]
    assert {key: best[key] for key in ("model", "metric", "n", "configuration", "missing", "paper_n")} == {
        "model": "bert_large", "metric": "accuracy", "n": 3, "configuration": "learning_rate=2e-5", "missing": "",
        "paper_n": 3,
    }  # fmt: skip
    names = ("mean", "std", "paper_mean", "paper_std_printed", "difference")
    assert [best[f"{name}_fraction"] for name in names] == pytest.approx([0.72, 0.04, 0.7224, 0.0218, -0.0024])
    lacking = cells["hype_n", "mrpc"]
    names = ("mean_fraction", "std_fraction", "n", "configuration", "difference_fraction")
    assert [lacking[name] for name in names] == [None, None, 0, "", None]
    assert lacking["missing"] == "1 of 3 runs, 1 failed"
    assert lacking["paper_mean_fraction"] == pytest.approx(0.9198)
    assert cells["hype_n", "average"]["missing"] == "1 of 2 tasks"
    written = (published[0] / "publish/table1/table.csv").read_text()
    rows = list(csv.DictReader(written.splitlines()))
    assert [{key: str("" if value is None else value) for key, value in line.items()} for line in lines] == rows
    assert written == report(read_experiment(published[0], "table1", "paper"), "csv", "paper").text + "\n"


def test_runs_without_a_tracker_are_sent_from_their_records(offline: dict[str, list[OfflineRun]]) -> None:
    assert len(offline) == 17  # 16 records and the table
    (run,) = offline["hypenrte32"]  # once, however often it is published
    assert (run.about.run_group, run.about.job_type) == ("table1", "fine-tune")
    assert run.about.display_name == "bert_large rte hype_n seed 3"
    assert run.config["cell"] == "bert_large/rte/hype_n/scale=0.0001,learning_rate=2e-05"
    assert (run.config["method"], run.config["seed"]) == ("hype_n", 3)
    assert {offline[f"hypenrte{seed}2"][0].config["cell"] for seed in (1, 2, 3)} == {run.config["cell"]}
    assert [(row["_step"], row["train/loss"]) for row in run.history] == [(10, 0.7), (20, 0.6)]
    assert (run.summary["eval/accuracy"], run.summary["status"]) == (0.78, "done")


def test_it_says_what_it_did_and_what_is_still_to_do(published: tuple[Path, Any]) -> None:
    results_dir, done = published
    first, second = (folder.name for folder in sorted((results_dir / "wandb").glob("offline-run-*-table-*")))
    later = "offline: send it with wandb sync results/wandb (the table alone: wandb sync results/wandb/{}), "
    later += "and then, for the workspace, hype-bench publish table1 again"
    assert done.stdout.splitlines() == [
        *LINES, "runs: 16 from their records", later.format(first), *LINES, "runs: 0 from their records",
        later.format(second),
    ]  # fmt: skip
    assert done.stderr == ""


def test_it_writes_under_the_results_alone_and_no_secret(published: tuple[Path, Any]) -> None:
    results_dir, done = published
    assert {path.name for path in results_dir.parent.iterdir()} == {"results", "home"}
    assert {path.name for path in (results_dir.parent / "home").iterdir()} <= {".cache", ".config"}
    assert {path.name for path in results_dir.iterdir()} == {"experiments", "publish", "runs", "wandb"}
    for path in [*(results_dir / "publish").rglob("*"), *(results_dir / "wandb").rglob("*")]:
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in done.stdout + done.stderr


def test_the_workspace_groups_by_cell(published: tuple[Path, Any]) -> None:
    spec = json.loads((published[0] / "publish/table1/workspace.json").read_text())
    assert (spec["project"], spec["displayName"]) == ("hype_bench", "hype_bench table1")
    (runs,) = spec["spec"]["section"]["runSets"]
    assert [(key["section"], key["name"]) for key in runs["grouping"]] == [("config", "cell.value")]
    filters = json.dumps(runs["filters"])
    assert '"group"' in filters
    assert '"table1"' in filters
    assert '["vanillarte12"]' in filters  # done for another experiment, and yet one of ours
    bank = spec["spec"]["section"]["panelBankConfig"]["sections"]
    sections = {section["name"]: section["panels"] for section in bank}
    kinds = {name: [panel["viewType"] for panel in panels] for name, panels in sections.items()}
    assert kinds == {
        "Table": ["Weave", "Media Browser"],
        "Scores: mean and spread over seeds": ["Bar Chart", "Bar Chart"],
        "Curves": ["Run History Line Plot"] * 3,
        "Search": ["Scatter Plot", "Scatter Plot", "Parallel Coordinates Plot"],
        "Runs side by side": ["Run Comparer"],
    }
    assert {panel["config"]["groupBy"] for panel in sections["Curves"]} == {"cell.value"}


class Session:
    """What ``wandb.init`` returns."""

    disabled = offline = False
    entity, url, sync_dir = "team", "https://wandb.ai/team/hype_bench/runs/table-table1-paper", "wandb/run"

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def log(self, row: dict[str, Any]) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    write_experiment(tmp_path)
    monkeypatch.setattr(upload, "open_session", lambda *args, **how: Session())
    monkeypatch.setattr(upload, "save", lambda workspace, note: f"https://wandb.ai/{workspace.entity}?nw=abc")
    return tmp_path


def test_online_it_gives_addresses(here: Path) -> None:
    lines = upload.publish(here, read_experiment(here, "table1", "paper"))
    assert lines[1:] == ["workspace: https://wandb.ai/team?nw=abc", f"table: {Session.url}"]


def test_without_the_package_the_rest_is_done(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    lines = upload.publish(here, read_experiment(here, "table1", "paper"))
    assert lines[1].startswith("no workspace: pip install")
    assert lines[2] == f"table: {Session.url}"
    assert not (here / "publish/table1/workspace.json").exists()


def test_what_wandb_refuses_is_one_line_without_the_key(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **how: Any) -> None:
        raise ConnectionError(f"401 for {SECRET}\nand more")

    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setattr(upload, "open_session", refuse)
    with pytest.raises(UserError, match=r"^W&B refuses it \(401 for <WANDB_API_KEY>\); what would be sent is in"):
        upload.publish(here, read_experiment(here, "table1", "paper"))
    assert (here / "publish/table1/table.html").is_file()
    with pytest.raises(UserError, match="experiment nothing has no plan"):
        read_experiment(here, "nothing", "paper")


def test_a_smaller_scope_is_another_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[dict[str, Any]] = []
    monkeypatch.setattr(upload, "open_session", lambda *args, **how: sessions.append(how) or Session())
    write_plan(here, replace(read_plan(here, "table1"), scope="smoke"))
    upload.publish(here, read_experiment(here, "table1@smoke", "default"), project="mine", entity="team")
    assert [sessions[0][key] for key in ("id", "project", "entity")] == ["table-table1-smoke-default", "mine", "team"]


def test_an_unreadable_record_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = here / "runs" / "vanillarte12" / "result.json"
    record.unlink()
    record.symlink_to(record)
    with pytest.raises(typer.Exit):
        publish("table1", here)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f"table: {Session.url}"
    assert printed.err.startswith(f"warning: {record} cannot be read")


def test_a_workspace_is_saved_over_the_one_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ws = pytest.importorskip("wandb_workspaces.workspaces")
    shown = workspaces.Content("table1", "mine", ["accuracy"], ["page"], 4)
    saved: list[Any] = []
    address = "https://wandb.ai/team/mine?nw=abc"
    monkeypatch.setattr(ws.Workspace, "save", lambda self: saved.append(self))
    monkeypatch.setattr(ws.Workspace, "url", address)
    note = tmp_path / "workspace.url"
    assert workspaces.save(workspaces.workspace_of(shown, "team"), note) == address
    assert note.read_text() == f"{address}\n"
    before = ws.Workspace(entity="team", project="mine", name="old")
    monkeypatch.setattr(ws.Workspace, "from_url", lambda url: before if url == address else None)
    workspaces.save(workspaces.workspace_of(shown, "team"), note)
    assert saved[1] is before
    assert (before.name, len(before.sections)) == ("hype_bench table1", 5)

    def gone(url: str) -> None:
        raise ValueError("Workspace `abc` not found")

    monkeypatch.setattr(ws.Workspace, "from_url", gone)
    workspaces.save(new := workspaces.workspace_of(shown, "team"), note)
    assert saved[2] is new
