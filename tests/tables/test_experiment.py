"""An experiment's table: from a plan and what became of its runs to words, letter by letter; against the paper."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hype_bench.options import UserError
from hype_bench.render import writers
from hype_bench.render.comparisons import compare
from hype_bench.render.text import sheets, write
from hype_bench.runs.record import Record, Scores
from hype_bench.runs.status import DIVERGED, DONE, RUNNING, RunStatus
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.tables.beside_paper import AGREES, DIFFERS, UNDECIDED, UNKNOWN, against_paper
from hype_bench.tables.compare import against_method
from hype_bench.tables.experiment import collapsed, experiment_tables, results
from hype_bench.tables.notes import Note

TEXT = """\
model: bert_large
          rte               mrpc                                   average
method    accuracy          F1
--------  ----------------  -------------------------------------  --------------------
vanilla   72.00 ± 4.00 (3)  72.00 ± 4.00 (3)                       72.00
hype_n    74.67 ± 3.51 (3)      X        (1 of 3 runs, 1 running)      X (1 of 2 tasks)

X: no score
configurations: vanilla 2; hype_n 1"""
INTERVALS = """\
95 % intervals of the means (Student's t), model: bert_large
          rte             mrpc            average
method    accuracy        F1
--------  --------------  --------------  --------------
vanilla   [62.06, 81.94]  [62.06, 81.94]  [67.47, 76.53]
hype_n    [65.94, 83.39]  -               -

median, least and most over seeds, model: bert_large
          rte                     mrpc
method    accuracy                F1
--------  ----------------------  ----------------------
vanilla   72.00 (68.00 to 76.00)  72.00 (68.00 to 76.00)
hype_n    75.00 (71.00 to 78.00)      -"""
# 4.303 standard errors, 4 / sqrt 3 and 3.512 / sqrt 3; of two tasks 2.776 (4 degrees of freedom) of 4 / sqrt 6
METRIC = {"rte": "accuracy", "mrpc": "f1"}
VANILLA, HYPE = (0.68, 0.72, 0.76), (0.71, 0.75, 0.78)


def planned(
    method: str, task: str, seed: int, scale: str | None = None, rate: str = "1e-05", row: str = ""
) -> PlannedRun:
    configuration = {"learning_rate": rate} | ({"scale": scale} if scale else {})
    name = f"{method}-{task}-{seed}-{scale}-{rate}"
    return PlannedRun(
        name,
        "bert_large",
        "bert_large",
        task,
        METRIC.get(task, "matthews"),
        method,
        row,
        {},
        configuration,
        rate == "2e-05",
        seed,
        [name],
    )


def plan_of(runs: list[PlannedRun]) -> Plan:
    return Plan("mine", "", "paper", None, [], "", runs)


def done(run: PlannedRun, score: float, **scores: float) -> RunStatus:
    label = {"model": run.model, "task": run.task, "method": run.method, "seed": run.seed, "metric": run.metric}
    about = {"status": DONE, "label": label, "parts": {"format": 2}, "config": {}}
    return RunStatus(run.identity, DONE, Path(), Record.trusted({**about, "scores": {run.metric: score, **scores}}))


def changed(run: RunStatus, **values: Any) -> RunStatus:
    assert run.record is not None
    return replace(run, record=replace(run.record, **values))


@pytest.fixture
def plan() -> Plan:
    runs = [
        planned("vanilla", task, seed, rate=rate)
        for task in METRIC
        for rate in ("1e-05", "2e-05")
        for seed in (1, 2, 3)
    ]
    runs += [planned("hype_n", task, seed, "0.0001") for task in METRIC for seed in (1, 2, 3)]
    return Plan("table1", "HyPe", "paper", 1, ["training.learning_rate", "noise_scale"], "python run.py", runs)


@pytest.fixture
def statuses(plan: Plan) -> dict[str, RunStatus]:
    better = {"2e-05": 0.0, "1e-05": -0.1}
    by_identity = {}
    for run in plan.runs:
        score = (
            HYPE[run.seed - 1]
            if run.method == "hype_n"
            else VANILLA[run.seed - 1] + better[run.configuration["learning_rate"]]
        )
        by_identity[run.identity] = done(run, score)
    del by_identity["hype_n-mrpc-2-0.0001-1e-05"]
    by_identity["hype_n-mrpc-3-0.0001-1e-05"] = replace(
        by_identity["hype_n-mrpc-3-0.0001-1e-05"], state=RUNNING, record=None
    )
    return by_identity


def rendered(plan: Plan, statuses: dict[str, RunStatus], rule: str = "paper") -> str:
    return write(experiment_tables(plan, results(plan, statuses, rule)), caption="")


def test_letter_by_letter(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    assert rendered(plan, statuses) == TEXT


def test_intervals_of_means_come_behind_the_table(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    shown = writers.to_text(sheets(experiment_tables(plan, results(plan, statuses, "paper")), True), "")
    assert shown == f"{TEXT}\n\n{INTERVALS}"


def test_the_rule_decides_which_configuration_is_shown(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    cells = results(plan, statuses, "paper")
    assert {r.chosen.configuration["learning_rate"] for (_, row, _), r in cells.items() if row.method == "vanilla"} == {
        "2e-05"
    }
    assert "X (no held-out scores" in " ".join(rendered(plan, statuses, "heldout").split())
    assert "X (no default" in " ".join(rendered(plan, statuses, "default").split())


def test_held_out_scores_choose_and_are_not_shown(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    for run in plan.runs:
        if run.identity in statuses and (record := statuses[run.identity].record):
            held = {run.metric: 0.9 if run.configuration["learning_rate"] == "1e-05" else 0.1}
            statuses[run.identity] = changed(statuses[run.identity], scores=replace(record.scores, heldout=held))
    cells = results(plan, statuses, "heldout")
    vanilla = [result for (_, row, task), result in cells.items() if (row.method, task) == ("vanilla", "rte")]
    assert vanilla[0].chosen.configuration == {"learning_rate": "1e-05"}
    assert vanilla[0].chosen.cell.mean == pytest.approx(0.62)
    assert "selection" not in rendered(plan, statuses, "heldout")


def test_a_further_split_is_a_column_of_the_same_choice(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    for name, status in statuses.items():
        if status.record and "rte" in name:
            further = {"validation_mismatched": {"accuracy": 0.25}}
            statuses[name] = changed(status, scores=replace(status.record.scores, further=further))
    tables = experiment_tables(plan, results(plan, statuses, "paper"))
    assert tables[0].columns == ["rte", "rte/mismatched", "mrpc", "average"]
    assert {cells["rte/mismatched"].mean for cells in tables[0].rows.values()} == {0.25}


@pytest.mark.parametrize(("analyses", "average"), [(("tuco", "tuco"), ["average"]), (("tuco", "sharpness"), [])])
def test_different_analyses_have_no_average(
    analyses: tuple[str, str], average: list[str], plan: Plan, statuses: dict[str, RunStatus]
) -> None:
    of_task = dict(zip(METRIC, analyses, strict=True))
    plan = replace(plan, runs=[replace(run, analysis=of_task[run.task]) for run in plan.runs])
    (table,) = experiment_tables(plan, results(plan, statuses, "paper"))
    assert table.columns == [*METRIC, *average]


def test_cells_come_row_by_row_however_the_plan_mixes_them() -> None:
    runs = [planned(method, task, 1) for task in METRIC for method in ("vanilla", "hype_n")]
    places = results(plan_of(runs), {}, "paper")
    assert [(row.method, task) for _, row, task in places] == list(itertools.product(("vanilla", "hype_n"), METRIC))


def test_an_average_waits_for_every_task() -> None:
    runs = [planned("vanilla", task, 1) for task in ("rte", "mrpc", "cola")] + [planned("hype_n", "rte", 1)]
    statuses = {run.identity: done(run, score) for run, score in zip(runs, (0.4, 0.5, 0.9, 0.7), strict=True)}
    (table,) = experiment_tables(plan_of(runs), results(plan_of(runs), statuses, "paper"))
    vanilla, hype = (cells["average"] for cells in table.rows.values())
    assert vanilla.mean == pytest.approx(0.6)
    assert hype.missing == "1 of 3 tasks"


def test_notes_are_about_the_runs_of_their_block_each_once() -> None:
    """One run stands in two rows of the first block; of the second none has begun."""
    first = planned("vanilla", "rte", 1)
    runs = [first, replace(first, row="again"), replace(planned("hype_n", "rte", 1), block="second")]
    diverged = changed(done(first, 0.5), status=DIVERGED, scores=Scores(), subset={"train": [10, 2490]})
    statuses = {first.identity: replace(diverged, state=DIVERGED)}
    notes = [
        [note.text for note in table.notes]
        for table in experiment_tables(plan_of(runs), results(plan_of(runs), statuses, "paper"))
    ]
    assert notes[0][1:] == ["diverged: 1 run, counted and not averaged", "X: no score"]
    assert notes[1] == ["X: no score"]


def test_what_cannot_be_planned_is_said_of_its_block_and_tasks() -> None:
    """And a row whose settings are its own is the only one that has them."""
    runs = [replace(planned("vanilla", task, 1), identity="", problem="no such model") for task in METRIC]
    runs += [replace(planned("hype_n", "rte", 1), block="second", settings={"scale": scale}) for scale in ("1", "2")]
    first, second = experiment_tables(plan_of(runs), results(plan_of(runs), {}, "paper"))
    assert first.notes[-1] == Note("mrpc, rte: no such model", frozenset(METRIC))
    assert [note.text for note in second.notes] == ["X: no score"]
    assert [row.title for row in second.rows] == ["hype_n (scale=1)", "hype_n (scale=2)"]
    assert (first.columns, second.columns) == (["rte", "mrpc", "average"], ["rte"])


def test_without_a_search_the_default_is_shown(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    runs = [run for run in plan.runs if run.method == "vanilla"]
    for result in results(replace(plan, runs=runs), statuses, "default").values():
        assert result.chosen.configuration == {"learning_rate": "2e-05"}
        assert result.chosen.cell.scores == dict(enumerate(VANILLA, 1))


def test_diverged_runs_are_counted(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    name = "vanilla-rte-1-None-2e-05"
    diverged = changed(statuses[name], status=DIVERGED, scores=Scores())
    statuses[name] = replace(diverged, state=DIVERGED)
    assert collapsed(statuses) == 1
    assert "diverged: 1 run, counted and not averaged" in rendered(plan, statuses)


def test_csv_has_a_line_for_every_cell(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    lines = write(experiment_tables(plan, results(plan, statuses, "paper")), "csv").splitlines()
    assert len(lines) == 1 + 2 * 3
    assert next(line for line in lines if line.startswith("bert_large,rte,hype_n")).split(",")[6] == "3"


def test_against_the_paper_by_hand(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    """Welch on 72.24 ± 2.18 (3) of Table 1, whose sample's std is 2.67, against 72.00 ± 4.00 (3): the standard error is
    2.777, df 3.48, t 2.95."""
    (one,) = compare(plan, results(plan, statuses, "paper"), "paper").sheets
    lines = dict(zip([title for title, _ in one.rows], one.plain(), strict=True))
    assert lines["vanilla, rte"] == [
        "vanilla, rte",
        "72.00 ± 4.00 (3)",
        "72.24 ± 2.67 (3; printed 2.18)",
        "-0.24 [-8.42, +7.94]",
        "undecided",
    ]
    assert lines["vanilla, mrpc"][-1] == "differs"
    assert lines["hype_n, mrpc"][1:3] == ["X (1 of 3 runs)", "91.98 ± 1.36 (3; printed 1.11)"]
    assert "no whole number of 831 (vanilla, rte)" in one.notes[1]
    with pytest.raises(UserError, match="no table of the paper"):
        compare(replace(plan, table=None), {}, "paper")


def with_settings(run: PlannedRun, score: float, **settings: Any) -> RunStatus:
    """A record with the settings of Table 1, but for those given."""
    training = {"learning_rate": 1e-5, "batch_size": 16, "epochs": 3.0, "adam_betas": [0.9, 0.99], "packing": "off"}
    options = {"scale": 1e-4, "layers": "all", "position": "between", "dropout": 0.0} if run.method == "hype_n" else {}
    for part in (training, options):
        part |= {key: settings.pop(key) for key in settings.keys() & part.keys()}
    parts = {"format": 2, "methods": [[run.method, options]], "training": training}
    subset = settings.pop("subset", {})
    return changed(done(run, score), parts=parts, subset=subset, config={"data": {"max_length": 128, **settings}})


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"epochs": 1.0}, "epochs=1 instead of 3"),
        ({"learning_rate": 1e-3}, "learning_rate=0.001 instead of 1e-05 or 2e-05 or 3e-05 or 4e-05"),
        ({"scale": 1e-2}, "hype_n.scale=0.01 instead of 1e-05 or 0.0001"),
        ({"max_train_examples": 100}, "max_train_examples=100 instead of null"),
        ({"subset": {"train": [10, 2490]}}, "only a part of the data (10 of the 2490 rows of train)"),
    ],
)
def test_a_cell_of_another_setting_is_not_compared(other: dict[str, Any], reason: str) -> None:
    """Even where all rows have it, so that none of them names it."""
    runs = [planned("hype_n", "rte", seed, "0.0001") for seed in (1, 2, 3)]
    plan = Plan("table1", "", "paper", 1, [], "", runs)
    shown = {}
    for name, settings in (("as printed", {}), ("other", other)):
        statuses = {run.identity: with_settings(run, 0.7 + run.seed / 100, **settings) for run in runs}
        (shown[name],) = compare(plan, results(plan, statuses, "paper"), "paper").sheets
    assert shown["as printed"].plain()[0][-1] == "undecided"
    assert shown["other"].plain()[0][-2:] == ["", "other setting"]
    assert f"other setting: {reason}" in shown["other"].notes


def write_predictions(folder: Path, splits: dict[str, tuple[Any, Any]]) -> None:
    """``splits``: name -> labels and predictions."""
    folder.mkdir()
    rows = [
        f"{split},{i},{label},{prediction},0,0"
        for split, pairs in splits.items()
        for i, (label, prediction) in enumerate(zip(*pairs, strict=True))
    ]
    (folder / "predictions.csv").write_text("\n".join(["split,index,label,prediction,logit_0,logit_1", *rows]))


def test_against_a_method_pairs_seeds_and_examples(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(2, size=400)
    runs, statuses = [], {}
    for seed in (1, 2, 3):
        for method, right in (("vanilla", 240), ("hype_n", 320), ("hype_u", 240)):
            run = planned(method, "rte", seed)
            predictions = np.where(np.arange(400) < right + seed, labels, 1 - labels)
            write_predictions(tmp_path / run.identity, {"validation": (labels, predictions), "other": ([1], [1])})
            runs.append(run)
            statuses[run.identity] = replace(done(run, (right + seed) / 400), runs=tmp_path)
    plan = plan_of(runs)
    cells = results(plan, statuses, "paper")
    (one,) = compare(plan, cells, "vanilla").sheets
    lines = dict(zip([title for title, _ in one.rows], one.plain(), strict=True))
    assert lines["hype_n, rte"][1:] == [
        "+20.00 [+16.09, +23.91]",  # 2 standard errors of about sqrt(0.2 * 0.8 / 400)
        "< 0.001 ***",
        "0.17, 1.98",
        "[+20.00, +20.00]",
        "1.00 (3 of 3)",
        "helps",
        "5.58",  # 2.8 of them
    ]
    same = ["+0.00 [+0.00, +0.00]", "1.000", "0.00, 0.00", "[+0.00, +0.00]", "0.50 (1.5 of 3)", "no difference", "0.00"]
    assert lines["hype_u, rte"][1:] == same
    assert "p adjusted by Holm over the 2 comparisons on a task" in writers.to_text([one], "").replace("\n  ", " ")
    with pytest.raises(UserError, match="no row 'nothing' to compare with; there are vanilla, hype_n, hype_u"):
        compare(plan, cells, "nothing")


def test_a_further_split_is_compared_over_its_own_examples_and_scores(tmp_path: Path) -> None:
    """On the first split both methods say the same; on the second vanilla is wrong on every other example."""
    labels, runs, statuses = np.arange(400) % 2, [], {}
    for seed in (1, 2, 3):
        for method, rate, first, more in (
            ("vanilla", "1e-05", 1.0, 0.5),
            ("vanilla", "2e-05", 0.8, 0.3),
            ("hype_n", "1e-05", 1.0, 1.0),
        ):
            run = planned(method, "rte", seed, rate=rate)
            path = tmp_path / run.identity
            further = labels if method == "hype_n" else 0 * labels
            write_predictions(path, {"validation": (labels, labels), "validation_mismatched": (labels, further)})
            runs.append(run)
            scores = {"validation_mismatched/accuracy": more}
            statuses[run.identity] = replace(done(run, first, **scores), runs=tmp_path)
    plan = Plan("mine", "", "paper", None, ["training.learning_rate"], "", runs)
    by_place = results(plan, statuses, "paper")
    one, *_ = compare(plan, by_place, "vanilla").sheets
    p_values = {title: "".join(cells[1]) for title, cells in one.rows}
    assert p_values == {"hype_n, rte": "1.000", "hype_n, rte/mismatched": "< 0.001 ***"}
    same, _ = compare(plan, by_place, "budget").sheets
    assert [line[2] for line in same.plain()] == ["40.00 ± 10.00 (2)", "100.00 ± 0.00 (1)"]


@pytest.fixture
def scored(tmp_path: Path) -> tuple[Plan, dict[str, RunStatus]]:
    """Two techniques on two seeds, with their predictions; hype_n is right on 8 and vanilla on 6 of 10 examples."""
    labels, runs, statuses = np.arange(10) % 2, [], {}
    for method, right in (("vanilla", 6), ("hype_n", 8)):
        for seed in (1, 2):
            run = planned(method, "rte", seed)
            predictions = np.where(np.arange(10) < right, labels, 1 - labels)
            write_predictions(tmp_path / run.identity, {"validation": (labels, predictions)})
            status = replace(done(run, right / 10), runs=tmp_path)
            runs.append(run)
            machine = {"device": "cpu", "threads": 1}
            statuses[run.identity] = changed(status, machine=machine, versions={"torch": "2.13"})
    return plan_of(runs), statuses


def test_one_seed_is_shown_beside_the_paper_without_a_verdict(plan: Plan, statuses: dict[str, RunStatus]) -> None:
    runs = [run for run in plan.runs if run.method == "vanilla" and run.seed == 1]
    plan = replace(plan, runs=runs)
    beside = against_paper(plan, results(plan, statuses, "paper"))
    (rte,) = [beside for (_, _, task), beside in beside.items() if task == "rte"]
    assert (rte.cell.n, rte.printed.mean, rte.verdict, rte.other) == (1, 72.24, UNKNOWN, [])
    assert rte.difference.mean == pytest.approx(0.68 - 0.7224)
    assert math.isnan(rte.difference.low)


@pytest.mark.parametrize(("seeds", "verdict"), [(3, UNDECIDED), (2, UNKNOWN)])
def test_a_verdict_takes_three_seeds(plan: Plan, statuses: dict[str, RunStatus], seeds: int, verdict: str) -> None:
    """72.00 ± 4.00 (3) against 72.24 ± 2.67 (3): the standard error is 2.777, df 3.49, t 2.94."""
    plan = replace(plan, runs=[run for run in plan.runs if run.method == "vanilla" and run.seed <= seeds])
    beside = against_paper(plan, results(plan, statuses, "paper"))
    (rte,) = [beside for (_, _, task), beside in beside.items() if task == "rte"]
    assert (rte.cell.n, rte.verdict) == (seeds, verdict)
    assert rte.difference.mean == pytest.approx(rte.cell.mean - 0.7224)
    half = (rte.difference.high - rte.difference.low) / 2
    assert half == pytest.approx(0.0818, abs=1e-4) if seeds == 3 else math.isnan(half)


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, AGREES), (0.002, AGREES), (0.006, UNDECIDED), (0.07, DIFFERS)])
def test_only_what_lies_within_the_margin_agrees(plan: Plan, shift: float, verdict: str) -> None:
    """The half-widths are those of the printed cell, 2.67 / sqrt(3) times 2.92 and 4.30: 4.5 points and 6.6."""
    runs = [replace(plan.runs[0], identity=str(seed), seed=seed) for seed in range(20)]
    plan = replace(plan, runs=runs)
    statuses = {run.identity: done(run, 0.7224 + shift + 0.001 * (run.seed % 2 - 0.5)) for run in runs}
    (beside,) = against_paper(plan, results(plan, statuses, "paper"), margin=0.05).values()
    assert beside.verdict == verdict


def test_a_further_split_stands_beside_its_own_printed_cell() -> None:
    runs = [replace(planned("vanilla", "mnli", 1), model="roberta_large", metric="accuracy")]
    statuses = {run.identity: done(run, 0.7, **{"validation_mismatched/accuracy": 0.6}) for run in runs}
    plan = replace(plan_of(runs), table=3)
    beside = against_paper(plan, results(plan, statuses, "paper"))
    printed = {task: (cell.cell.mean, cell.printed.task, cell.printed.mean) for (_, _, task), cell in beside.items()}
    assert printed == {"mnli": (0.7, "mnli", 60.9), "mnli/mismatched": (0.6, "mnli_mm", 62.56)}


def test_rows_without_a_common_seed_have_no_difference(scored: tuple[Plan, dict[str, RunStatus]]) -> None:
    plan, statuses = scored
    plan = replace(plan, runs=[run for run in plan.runs if run.seed == (1 if run.method == "vanilla" else 2)])
    (compared,) = against_method(plan, results(plan, statuses, "paper"), "vanilla").values()
    measured = compared.measured
    assert measured.notes == ["seeds 1, 2 are not paired: one of its runs has no score"]
    assert (measured.paired.n, measured.won, measured.complaints) == (0, 0, [])
    assert np.isnan([measured.improvement, compared.p_seeds, compared.verdict.p, *measured.bootstrap]).all()


def test_runs_on_other_examples_are_paired_by_seed_alone(
    scored: tuple[Plan, dict[str, RunStatus]], tmp_path: Path
) -> None:
    plan, statuses = scored
    path = tmp_path / "hype_n-rte-2-None-1e-05" / "predictions.csv"
    path.write_text(path.read_text().replace("validation,0,0,0", "validation,0,1,1"))  # just as right
    (compared,) = against_method(plan, results(plan, statuses, "paper"), "vanilla").values()
    measured = compared.measured
    assert measured.notes == ["over seeds alone: the runs were not scored on the same examples, or on a single one"]
    assert (measured.paired.n, measured.won, measured.improvement, measured.difference.examples) == (2, 2, 1, 0)


def test_runs_of_two_kinds_of_device_are_no_pair(scored: tuple[Plan, dict[str, RunStatus]]) -> None:
    plan, statuses = scored
    name = "hype_n-rte-2-None-1e-05"
    statuses[name] = changed(statuses[name], machine={"device": "cuda", "threads": 16})
    cells = results(plan, statuses, "paper")
    (one,) = compare(plan, cells, "vanilla").sheets
    assert (one.plain()[0][1], one.plain()[0][5]) == ("+20.00", "1.00 (1 of 1)")
    assert "hype_n, rte: seed 2 is not paired: cuda and cpu draw different dropout and noise" in one.notes
    assert "hype_n rte: its runs differ in device cpu, cuda" in rendered(plan, statuses)
    assert compare(plan, cells, "vanilla").complaints == []
    statuses[name] = changed(statuses[name], machine={})
    (compared,) = against_method(plan, results(plan, statuses, "paper"), "vanilla").values()
    assert compared.measured.notes == ["seed 2 is not paired: unknown and cpu draw different dropout and noise"]


def test_a_seed_without_a_finite_score_on_both_sides_is_no_pair(scored: tuple[Plan, dict[str, RunStatus]]) -> None:
    plan, statuses = scored
    name = "vanilla-rte-2-None-1e-05"
    statuses[name] = changed(statuses[name], scores=Scores({"accuracy": float("nan")}))
    (sheet,) = compare(plan, results(plan, statuses, "paper"), "vanilla").sheets
    assert (sheet.plain()[0][1], sheet.plain()[0][5]) == ("+20.00", "1.00 (1 of 1)")
    assert sheet.notes[4:] == ["hype_n, rte: seed 2 is not paired: one of its runs has no score"]
    (sheet,) = compare(plan, results(plan, {}, "paper"), "vanilla").sheets
    assert sheet.plain()[0][1] == "X (no pairs)"
    assert len(sheet.notes) == 3


@pytest.mark.parametrize("damage", ["missing", "cut", "wrong", "not text", "nothing", "doubled", "shuffled"])
def test_predictions_that_do_not_give_the_score_leave_their_run_out(
    scored: tuple[Plan, dict[str, RunStatus]], damage: str, tmp_path: Path
) -> None:
    plan, statuses = scored
    path = tmp_path / "vanilla-rte-1-None-1e-05" / "predictions.csv"
    text = path.read_text()
    if damage == "missing":
        path.unlink()
    else:
        header, *rows = text.splitlines(keepends=True)
        damaged = {
            "cut": text[:60],
            "wrong": text.replace("validation,0,0,0", "validation,0,0,1"),
            "not text": "\xff\xfe",
            "nothing": "",
            "doubled": f"{text}\n{''.join(rows)}",  # gives the same score
            "shuffled": header + "\n".join(row.strip() for row in reversed(rows)),  # so does this
        }[damage]
        path.write_bytes(damaged.encode("latin-1"))
    comparison = compare(plan, results(plan, statuses, "paper"), "vanilla")
    (one,) = comparison.sheets
    assert one.plain()[0][5] == "1.00 (1 of 1)"
    (complaint,) = comparison.complaints
    assert complaint.startswith(f"{path} ")
    assert complaint.endswith("the run is left out")


def test_a_run_in_two_grids_counts_once_and_two_runs_of_a_seed_give_no_number() -> None:
    first = planned("vanilla", "rte", 1, row="mine")
    statuses = {first.identity: done(first, 0.5)}
    plan = plan_of([first, first])
    assert "50.00 (1)" in rendered(plan, statuses)
    other = replace(first, identity="other")
    statuses["other"] = done(other, 0.9)
    assert "(1 of 2 runs, 1 of the same seed)" in rendered(replace(plan, runs=[first, other]), statuses)
