"""Runs become cells: what is one row, what is averaged, what is only counted, what is said beside it."""

import math
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from hype_bench.render.text import FORMATS, cell_text, write
from hype_bench.runs.record import Record, Request
from hype_bench.runs.status import BROKEN, DIVERGED, DONE, FAILED, INTERRUPTED, RUNNING, RunStatus
from hype_bench.tables.cells import Cell, Row, compact
from hype_bench.tables.table import build_tables

METRICS = {"rte": "accuracy", "mnli": "accuracy", "cola": "matthews", "stsb": "pearson_spearman", "mrpc": "f1"}


def make_run(score=None, *, model="minilm", task="rte", method="hype_n", seed=1, state=DONE, **more):
    """A run as ``read_runs`` gives it. ``more``: options, training, data, subset, hash, checkpoint, scores, ..."""
    metric = more.get("metric", METRICS.get(task.removeprefix("demo_"), "accuracy"))
    generated = task.startswith("demo_")
    about = {
        "label": {"model": model, "task": task, "method": method, "seed": seed, "metric": metric},
        "parts": {
            "format": 1,
            "model": more.get("checkpoint", "content:0123456789abcdef"),
            "data": more.get("hash", f"{task}-rows"),
            "max_length": more.get("max_length", 128),
            "metric": metric,
            "methods": more.get("methods", [[method, more.get("options", {})]]),
            "training": {"learning_rate": 5e-5, "epochs": 3.0, "max_steps": None} | more.get("training", {}),
            "seed": seed,
        },
        "config": {"data": more.get("data", {}), "task": more.get("files", {})},
    }
    about["label"]["generated"] = generated
    name = f"{model}-{task}-{method}-{seed}"
    if state not in (DONE, DIVERGED):
        return RunStatus(name, state, Path(), request=Request.trusted(about), reason="why")
    scores = more.get("scores", {metric: score} if state == DONE else {})
    facts: dict[str, Any] = {key: more[key] for key in ("subset", "absent", "machine") if key in more}
    return RunStatus(name, state, Path(), Record.trusted({"status": state, **about, "scores": scores, **facts}))


def seeds(scores, **given):
    return [make_run(score, seed=seed, **given) for seed, score in enumerate(scores, start=1)]


def only_table(runs):
    (table,) = build_tables(runs)
    return table


def titles(runs):
    return [row.title for row in only_table(runs).rows]


def only_cell(runs):
    ((cells,),) = [only_table(runs).rows.values()]
    (cell,) = cells.values()
    return cell


# --- what a cell says ------------------------------------------------------------------------------------------------


def test_mean_and_std_are_the_ones_of_the_textbook():
    scores = [0.652, 0.668, 0.639, 0.661]
    cell = only_cell(seeds(scores))
    mean = sum(scores) / 4
    assert cell.n == 4
    assert cell.mean == pytest.approx(mean, abs=1e-15)
    assert cell.std == pytest.approx(math.sqrt(sum((s - mean) ** 2 for s in scores) / 3), abs=1e-15)
    assert cell.std == statistics.stdev(scores)
    assert cell_text(cell) == "65.50 ± 1.25 (4)"


def test_one_seed_has_no_std():
    cell = only_cell(seeds([0.652]))
    assert math.isnan(cell.std)
    assert cell_text(cell) == "65.20 (1)"


def test_nan_is_shown_and_never_averaged_away():
    cell = only_cell(seeds([0.8, "nan", 0.9], task="stsb"))  # as JSON keeps it
    assert math.isnan(cell.mean)
    assert math.isnan(cell.std)
    assert cell_text(cell) == "nan (3, 1 nan)"


@pytest.mark.parametrize("state", [DIVERGED, FAILED, RUNNING, INTERRUPTED, BROKEN])
def test_a_run_without_a_score_is_counted_and_not_averaged(state):
    without = make_run(seed=3, state=state)
    assert cell_text(only_cell([*seeds([0.6, 0.7]), without])) == f"65.00 ± 7.07 (2, 1 {state})"
    assert cell_text(only_cell([without])) == f"X (1 {state})"


def test_states_are_listed_by_name():
    runs = [make_run(seed=s, state=state) for s, state in enumerate((RUNNING, FAILED, FAILED, DIVERGED), start=4)]
    assert cell_text(only_cell(runs)) == "X (1 diverged, 2 failed, 1 running)"
    assert cell_text(None) == "-"


def test_a_record_without_the_headline_score_is_no_zero():
    assert cell_text(only_cell([make_run(scores={"f1": 0.5})])) == "X (1 not scored)"


def test_negative_and_perfect_scores():
    assert cell_text(Cell("matthews", {1: -0.0321})) == "-3.21 (1)"
    assert cell_text(Cell("accuracy", {1: 1.0, 2: 1.0})) == "100.00 ± 0.00 (2)"


# --- what is a row, a column, a table ---------------------------------------------------------------------------------


def test_a_table_per_model_a_row_per_method_a_column_per_task():
    runs = [
        make_run(0.5, model=model, task=task, method=method)
        for model in ("minilm", "bert_large")
        for task in ("rte", "cola")
        for method in ("hype_u", "no_dropout", "hype_n", "vanilla", "a_method")
    ]
    tables = build_tables(reversed(runs))
    assert [table.model for table in tables] == ["bert_large", "minilm"]
    for table in tables:
        assert table.columns == ["cola", "rte"]
        assert [row.title for row in table.rows] == ["vanilla", "no_dropout", "a_method", "hype_n", "hype_u"]
        assert all(cell.n == 1 for cells in table.rows.values() for cell in cells.values())


def test_what_differs_in_a_method_is_named_in_its_rows_alone():
    runs = seeds([0.6], method="vanilla") + seeds([0.6], method="hype_u", options={"scale": 0.5})
    for scale in (1e-4, 1e-5, 1e-6, 1.0, 0.5):
        runs += seeds([scale], options={"scale": scale, "layers": "all"})
    expected = [f"hype_n (scale={scale})" for scale in ("1e-6", "1e-5", "1e-4", "0.5", "1")]
    assert titles(runs) == ["vanilla", *expected, "hype_u"]


def test_each_row_keeps_its_own_scores():
    runs = seeds([0.1, 0.3], options={"scale": 1e-4}) + seeds([0.7, 0.9], options={"scale": 1e-5})
    rows = only_table(runs).rows
    assert rows[Row("hype_n", (("scale", "0.0001"),))]["rte"].mean == pytest.approx(0.2)
    assert rows[Row("hype_n", (("scale", "1e-5"),))]["rte"].mean == pytest.approx(0.8)


def test_a_setting_that_differs_on_one_task_names_the_rows_of_all():
    """Or the same setting would stand in two rows."""
    runs = seeds([0.6], task="rte", options={"scale": 1e-5})
    runs += seeds([0.6], task="cola", options={"scale": 1e-5}) + seeds([0.6], task="cola", options={"scale": 1e-4})
    rows = only_table(runs).rows
    assert {row.title: sorted(cells) for row, cells in rows.items()} == {
        "hype_n (scale=1e-5)": ["cola", "rte"],
        "hype_n (scale=1e-4)": ["cola"],
    }


def test_what_differs_on_any_task_is_named():
    runs = [make_run(0.5, task="rte", options={"scale": scale, "layers": "all"}) for scale in (1.0, 2.0)]
    runs += [make_run(0.5, task="cola", options={"scale": 1.0, "layers": layers}) for layers in ("all", "top")]
    assert titles(runs) == [f"hype_n (layers={a}, scale={b})" for a, b in (("all", "1"), ("all", "2"), ("top", "1"))]


def test_recipes_that_differ_between_tasks_need_no_words():
    runs = seeds([0.6], task="rte", training={"epochs": 10.0}) + seeds([0.6], task="cola", training={"epochs": 3.0})
    assert titles(runs) == ["hype_n"]


def test_rows_that_are_not_comparable_do_not_look_so():
    """Two methods on one task, trained in different ways."""
    runs = seeds([0.6], method="vanilla") + seeds([0.6], training={"learning_rate": 2e-5})
    assert titles(runs) == ["vanilla (learning_rate=5e-5)", "hype_n (learning_rate=2e-5)"]
    runs = seeds([0.6], method="vanilla") + seeds([0.6], max_length=64)
    assert titles(runs) == ["vanilla (max_length=128)", "hype_n (max_length=64)"]
    runs = seeds([0.6], method="vanilla") + seeds([0.6], checkpoint="content:fedcba9876543210")
    assert titles(runs) == ["vanilla (model=content:01234567)", "hype_n (model=content:fedcba98)"]


def test_open_settings_are_written_as_on_the_command_line():
    runs = seeds([0.6]) + seeds([0.6], training={"epochs": None, "max_steps": 100})
    assert titles(runs) == ["hype_n (epochs=3, max_steps=null)", "hype_n (epochs=null, max_steps=100)"]


def test_lists_and_combined_methods_are_readable():
    runs = [
        make_run(
            0.5, method="hype_n+other", methods=[["hype_n", {"scale": a, "layers": [0, 1]}], ["other", {"scale": b}]]
        )
        for a, b in ((1e-5, 1.0), (1e-4, 2.0))
    ]
    assert titles(runs) == [
        "hype_n+other (hype_n.scale=1e-5, other.scale=1)",
        "hype_n+other (hype_n.scale=1e-4, other.scale=2)",
    ]
    runs = [make_run(0.5, options={"layers": layers}) for layers in ("all", [0, 1])]
    assert sorted(titles(runs)) == ["hype_n (layers=[0,1])", "hype_n (layers=all)"]


def test_subsets_are_told_apart_in_words_and_other_data_by_a_hash():
    small = {"max_train_examples": 100, "max_eval_examples": None, "subset_seed": 0}
    runs = (
        seeds([0.6]) + seeds([0.6], data=small, hash="other") + seeds([0.6], data=small | {"subset_seed": 1}, hash="x")
    )
    assert titles(runs)[1:] == [
        "hype_n (max_train_examples=100, subset_seed=0)",
        "hype_n (max_train_examples=100, subset_seed=1)",
    ]
    assert titles(runs)[0] == "hype_n"
    assert titles(seeds([0.6], hash="0123456789ab") + seeds([0.6], hash="ba9876543210")) == [
        "hype_n (data=01234567)",
        "hype_n (data=ba987654)",
    ]


def test_one_subset_beside_the_full_data_needs_no_seed():
    small = {"max_train_examples": 100, "max_eval_examples": None, "subset_seed": 0}
    assert titles(seeds([0.6]) + seeds([0.6], data=small, hash="x")) == ["hype_n", "hype_n (max_train_examples=100)"]


def test_a_subset_of_every_seed_is_one_cell_beside_one_for_all():
    tied = {"max_train_examples": 100, "subset_seed": "tied"}
    runs = [
        make_run(0.5 + seed / 100, method=method, seed=seed, data=tied, hash=f"{seed}")
        for method in ("vanilla", "hype_n")
        for seed in (1, 2)
    ]
    assert titles(runs) == ["vanilla", "hype_n"]
    assert [cells["rte"].n for cells in only_table(runs).rows.values()] == [2, 2]
    fixed = make_run(0.6, method="vanilla", data=tied | {"subset_seed": 0}, hash="3")
    assert titles([*runs, fixed]) == [
        "vanilla (subset_seed=0)",
        "vanilla (subset_seed=tied)",
        "hype_n (subset_seed=tied)",
    ]
    full = make_run(0.6, method="vanilla", data={"subset_seed": "tied"}, hash="full")
    assert "vanilla" in titles([*runs, full])


def test_two_data_sets_under_the_same_words_are_never_one_cell():
    small = {"max_train_examples": 100}
    runs = seeds([0.1], data=small, hash="aaaa") + seeds([0.5], data=small, hash="bbbb") + seeds([0.9], hash="cccc")
    cells = [cells["rte"] for cells in only_table(runs).rows.values()]
    assert sorted(cell.mean for cell in cells) == [0.1, 0.5, 0.9]


def test_the_same_rows_said_differently_are_one_cell():
    runs = [
        make_run(0.5, seed=1, data={"max_train_examples": None, "subset_seed": 0}),
        make_run(0.6, seed=2, data={"max_train_examples": None, "subset_seed": 7}),
        make_run(0.7, seed=3, data={"max_train_examples": 10**9, "subset_seed": 7}),
        make_run(0.8, seed=4, files={"train_file": "/elsewhere/train.csv"}),
    ]
    assert titles(runs) == ["hype_n"]
    assert only_cell(runs).n == 4


def test_a_users_files_are_named_without_their_folders():
    runs = [make_run(0.5, task="custom", hash=name, files={"train_file": f"/home/me/{name}.csv"}) for name in "ab"]
    assert titles(runs) == ["hype_n (train_file=a.csv)", "hype_n (train_file=b.csv)"]


def test_two_metrics_of_one_task_are_two_rows():
    runs = [make_run(0.5, task="mrpc", metric=metric) for metric in ("f1", "accuracy")]
    assert titles(runs) == ["hype_n (metric=accuracy)", "hype_n (metric=f1)"]
    assert only_table(runs).metric("mrpc") == "accuracy or f1"


def test_mnli_reports_both_splits():
    scores = {"accuracy": 0.8, "validation_mismatched/accuracy": 0.7}
    runs = [make_run(task="mnli", scores=scores), make_run(task="mnli", seed=2, state=RUNNING), make_run(0.6)]
    table = only_table(runs)
    assert table.columns == ["mnli", "mnli/mismatched", "rte"]
    (cells,) = table.rows.values()
    assert cell_text(cells["mnli"]) == "80.00 (1, 1 running)"
    assert cell_text(cells["mnli/mismatched"]) == "70.00 (1, 1 running)"


def test_a_failed_run_falls_into_the_cell_of_its_siblings():
    runs = [*seeds([0.6, 0.7], options={"scale": 1e-4}), make_run(seed=3, state=FAILED, options={"scale": 1e-4})]
    assert cell_text(only_cell(runs)) == "65.00 ± 7.07 (2, 1 failed)"


def test_nothing_readable_is_no_table():
    assert build_tables([]) == []
    assert build_tables([RunStatus("x", BROKEN, Path())]) == []


# --- notes -----------------------------------------------------------------------------------------------------------


def test_a_split_has_the_scores_of_its_own_whatever_the_first_one_lacks():
    other = "validation_mismatched/accuracy"
    scores = [{"accuracy": 0.8, other: 0.7}, {"accuracy": 0.9}, {other: 0.5}]
    (cells,) = only_table([make_run(task="mnli", seed=s, scores=given) for s, given in enumerate(scores)]).rows.values()
    assert (cells["mnli"].scores, cells["mnli"].unfinished) == ({0: 0.8, 1: 0.9}, {"not scored": 1})
    assert (cells["mnli/mismatched"].scores, cells["mnli/mismatched"].unfinished) == (
        {0: 0.7, 2: 0.5},
        {"not scored": 1},
    )


MISSING = "split 'validation_mismatched' is missing at the source and was not scored"


def one_subset(tasks):
    what = "intervals are conditional on it; data.subset_seed=tied draws one for each"
    return f"one subset for all seeds ({tasks}): {what}"


NOTES = {
    "generated": (
        seeds([0.5], task="demo_rte") + seeds([0.5], task="demo_cola"),
        ["generated: demo_cola, demo_rte are made by a program; their scores say nothing about the real task"],
    ),
    "one generated": (
        seeds([0.5], task="demo_rte"),
        ["generated: demo_rte is made by a program; its scores say nothing about the real task"],
    ),
    "subset by choice": (
        seeds([0.5], data={"max_train_examples": 100, "max_eval_examples": 50}),
        ["subset: rte (data.max_eval_examples=50; data.max_train_examples=100)", one_subset("rte")],
    ),
    "subset by the source": (
        seeds([0.5, 0.6], task="qnli", subset={"train": [5237, 104743]}),
        ["subset: qnli (5237 of the 104743 rows of train)"],
    ),
    "subsets of several tasks": (
        [
            make_run(0.5, task=task, data={"max_train_examples": n})
            for task, n in (("cola", 9), ("mrpc", 8), ("rte", 9))
        ],
        [
            "subset: cola, rte (data.max_train_examples=9), mrpc (data.max_train_examples=8)",
            one_subset("cola, mrpc, rte"),
        ],
    ),
    "subset of a run that failed": (
        [make_run(state=FAILED, data={"max_train_examples": 9})],
        ["subset: rte (data.max_train_examples=9)", one_subset("rte"), "X: no score"],
    ),
    "another subset with every seed": (
        seeds([0.5], data={"max_train_examples": 9, "subset_seed": "tied"}),
        ["subset: rte (data.max_train_examples=9; data.subset_seed=tied)"],
    ),
    "split not there": (
        seeds([0.5, 0.6], task="mnli", absent=["validation_mismatched"]),
        [f"mnli: {MISSING}"],
    ),
    "two splits not there": (
        seeds([0.5], task="mnli", absent=["validation_mismatched", "test"]),
        ["mnli: split 'test' is missing at the source and was not scored", f"mnli: {MISSING}"],
    ),
    "diverged": (
        [*seeds([0.5]), make_run(seed=2, state=DIVERGED)],
        ["diverged: 1 run, counted and not averaged"],
    ),
    "all diverged": (
        [make_run(seed=s, state=DIVERGED) for s in (1, 2)],
        ["diverged: 2 runs, counted and not averaged", "X: no score"],
    ),
    "nan": (
        seeds([0.5, "nan"], task="stsb"),
        ["nan: labels or predictions are constant or not finite, and no correlation is defined; not averaged away"],
    ),
    "nothing to say": (seeds([0.5]), []),
}


@pytest.mark.parametrize(("runs", "notes"), NOTES.values(), ids=NOTES.keys())
def test_what_changes_the_meaning_of_a_number_is_said_in_every_format(runs, notes):
    table = only_table(runs)
    assert [note.text for note in table.notes] == notes
    for name in FORMATS:
        text = " ".join(write([table], name).split())  # long lines are wrapped
        for note in notes:
            assert (note.replace("_", r"\_") if name == "latex" else note) in text, name


def test_a_note_is_about_its_tasks_and_a_remark_names_every_cell():
    scores = {"accuracy": 0.8, "validation_mismatched/accuracy": math.nan}
    runs = [
        make_run(task="mnli", seed=seed, scores=scores, machine={"device": d}) for seed, d in ((1, "cpu"), (2, "mps"))
    ]
    runs += [make_run(task="rte", state=FAILED), make_run(0.5, task="demo_cola"), make_run(task="stsb", state=DIVERGED)]
    runs += [make_run(0.5, task="mrpc", data={"max_train_examples": 9}), make_run(0.5, task="cola", absent=["test"])]
    remark = "hype_n mnli, hype_n mnli/mismatched: its runs differ in device cpu, mps"
    notes = {note.text.partition(":")[0]: note for note in only_table(runs).notes}
    assert remark in [note.text for note in notes.values()]
    assert {start: sorted(note.tasks) for start, note in notes.items()} == {
        "generated": ["demo_cola"],
        "subset": ["mrpc"],
        "one subset for all seeds (mrpc)": ["mrpc"],
        "hype_n mnli, hype_n mnli/mismatched": ["mnli"],
        "cola": ["cola"],
        "diverged": ["stsb"],
        "X": ["rte", "stsb"],
        "nan": ["mnli"],
    }


@pytest.mark.parametrize("pair", [(3, 3.0), (0.3, 0.1 + 0.2), (None, "null")])
def test_what_reads_alike_and_is_not_the_same_loses_no_run(pair):
    """The second stood in the place of the first."""
    runs = [make_run(0.5, seed=seed, training={"epochs": value}) for seed, value in enumerate(pair, 1)]
    cells = [cell for row in only_table(runs).rows.values() for cell in row.values()]
    assert [cell.n for cell in cells] == [1, 1]
    assert re.fullmatch(r"hype_n; hype_n \(variant=[0-9a-f]{8}\)", "; ".join(titles(runs)))


@pytest.mark.parametrize(
    ("written", "shown"),
    [("0.0001", "1e-4"), ("1e-05", "1e-5"), ("-0.00025", "-2.5e-4"), ("0.001", "0.001"), ("1e3", "1e3"), ("0", "0")],
)
def test_small_numbers_look_alike_however_they_were_written(written: str, shown: str) -> None:
    assert compact(written) == shown


@pytest.mark.parametrize("text", ["all", "nan", "inf", "", "[1e-05,0.1]"])
def test_other_settings_stay_as_they_are(text: str) -> None:
    assert compact(text) == text
