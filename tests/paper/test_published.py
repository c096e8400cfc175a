"""The paper's tables against themselves, against one another, against ``conf/`` and against numbers typed by hand."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from hype_bench.config import Config, RecipeConfig, UserError, fill_training
from hype_bench.launch.main import CONF
from hype_bench.paper.published import AVERAGE, GAIN, Published, cell, settings, table

# Numbers that the extracted table or the text prints, averages and gains included.
COUNTS = {1: 60, 2: 15, 3: 30, 4: 36, 5: 60, 6: 12, 7: 60, 8: 28, 9: 15, 12: 42, 16: 88, 17: 15, 18: 30}
ALL = [published for number in COUNTS for published in table(number)]
SMALL_TASKS = {"stsb", "cola", "mrpc", "rte"}
SCALES = ("1e-5", "1e-4")  # over which the main tables take the best
ROUNDING = 0.005 + 1e-9


def about(published: Published) -> str:
    return f"{published.table}-{published.block}-{published.row}-{published.column}"


def scores(number: int) -> list[Published]:
    return [published for published in table(number) if published.metric not in (AVERAGE, GAIN)]


def averaged(average: Published) -> list[float]:
    """The scores that a printed average is of."""
    who = (average.block, average.method, average.setting)
    beside = [p for p in scores(average.table) if (p.block, p.method, p.setting) == who]
    return [p.mean for p in beside if average.column != "AVG." or p.task in SMALL_TASKS]


@pytest.mark.parametrize(("number", "count"), COUNTS.items())
def test_every_cell_is_there_and_has_a_name_of_its_own(number: int, count: int) -> None:
    cells = table(number)
    assert len(cells) == len({about(p) for p in cells}) == count
    for p in cells:
        assert cell(number, row=p.row.upper(), column=p.column.lower(), block=p.block) is p
        assert 0 < p.mean < 100 or p.metric == GAIN
        assert p.std is None or 0 <= p.std < 50
        assert p.n in (3, None)


SLIPS = {(5, "Vanilla"): 79.15, (18, "Vanilla"): 79.15}  # the printed 79.31 is wrong
LAST_DIGIT = {(12, "Vanilla"): 84.93, (18, "Higher 6 Layers"): 79.91}  # averaged before the scores were rounded


def test_every_average_is_that_of_its_scores() -> None:
    slips, last_digit, without_scores = {}, {}, []
    for average in (p for p in ALL if p.metric == AVERAGE):
        values = averaged(average)
        if not values:
            without_scores.append((average.table, average.block, average.column))
            continue
        assert len(values) == (9 if average.table == 3 or average.column == "AVG.-ALL" else 4)
        mean = sum(values) / len(values)
        difference = abs(mean - average.mean)
        if difference > ROUNDING:
            kind = last_digit if difference < 0.01 else slips
            kind[average.table, average.row] = round(mean, 2)
            assert f"average {round(mean, 2)}" in str(average.note)
    assert (slips, last_digit) == (SLIPS, LAST_DIGIT)
    assert without_scores == 3 * [(12, "BERT", "AVG.-ALL")]


def by_row(number: int, block: str, column: str) -> dict[str, float]:
    return {p.row: p.mean for p in table(number) if (p.block, p.column) == (block, column)}


def gains(number: int) -> list[Published]:
    return [p for p in table(number) if p.metric == GAIN]


def test_gains_of_deberta_are_means_of_differences() -> None:
    assert len(gains(4)) == 4
    for gain in gains(4):
        sides: dict[str | None, list[float]] = {"vanilla": [], None: []}
        for p in scores(4):
            if p.block == gain.block:
                sides[p.method].append(p.mean)
        difference = (sum(sides[None]) - sum(sides["vanilla"])) / 4
        assert gain.mean == pytest.approx(difference, abs=ROUNDING), about(gain)


def test_gains_in_other_domains() -> None:
    assert len(gains(7)) == 24
    for gain in gains(7):
        technique, vanilla = (
            cell(7, block=gain.block, row=gain.row, column=name)
            for name in (gain.column.removesuffix(" gain"), "Vanilla")
        )
        assert gain.mean == pytest.approx(technique.mean - vanilla.mean, abs=1e-9)
        assert (gain.task, gain.method) == (technique.task, technique.method)


def test_gains_on_the_test_set() -> None:
    for column in ("AVG.", "AVG.-ALL"):
        averages, printed = by_row(12, "RoBERTa", column), by_row(12, "RoBERTa", f"{column} gain")
        for row in ("HyPe-N", "HyPe-U"):
            assert printed[row] == pytest.approx(averages[row] - averages["Vanilla"], abs=1e-9)
    assert by_row(12, "BERT", "AVG. gain") == {"HyPe-N": 2.3, "HyPe-U": 1.9}  # nothing to derive them from


@pytest.mark.parametrize("encoder", ["BERT", "RoBERTa"])
def test_gains_of_combinations(encoder: str) -> None:
    block = f"Detailed results on {encoder}"
    averages, printed = by_row(16, block, "average"), by_row(16, block, "gain")
    assert set(printed) == {f"HyPe-N+{name}" for name in ("RDrop", "R3F", "Child-TuningD", "NoisyTune")}
    for row, gain in printed.items():
        assert gain == pytest.approx(averages[row] - averages[row.removeprefix("HyPe-N+")], abs=1e-9)


def test_slips_in_the_text_have_a_note() -> None:
    """What sections 4.3 and B.3 say of Tables 1 and 12."""
    averages = {block: by_row(1, block, "AVG") for block in ("BERT", "RoBERTa", "XLNet", "ELECTRA")}
    best = {block: round(max(rows.values()) - rows["Vanilla"], 2) for block, rows in averages.items()}
    assert best == {"BERT": 1.60, "RoBERTa": 0.89, "XLNet": 10.45, "ELECTRA": 5.80}
    assert "7.45; by this table it is 10.45" in str(cell(1, block="XLNet", row="HyPe-N", column="AVG").note)
    assert "9 columns" in str(cell(12, block="RoBERTa", row="HyPe-U", column="AVG.-ALL").note)


def test_main_table_takes_the_best_scale_of_each_task() -> None:
    for row in ("HyPe-N", "HyPe-U"):
        for task in ("STS-B", "CoLA", "MRPC", "RTE"):
            best = max(cell(8, block=row, row=scale, column=task).mean for scale in SCALES)
            assert cell(1, block="BERT", row=row, column=task).mean == best


DEFAULTS = {("position", "between"), ("layers", "all")}


def test_rows_that_several_tables_print_agree() -> None:
    """BERT's vanilla, HyPe and single techniques; what differs is known."""
    printed: dict[Any, dict[tuple[float, float | None], set[int]]] = {}
    for p in ALL:
        if p.model == "bert_large" and p.task and p.table in (1, 5, 8, 9, 16, 17, 18):
            key = (p.method, p.task, tuple((k, v) for k, v in p.setting.items() if (k, v) not in DEFAULTS))
            printed.setdefault(key, {}).setdefault((p.mean, p.std), set()).add(p.table)
    shared = [by_table for by_table in printed.values() if len(set().union(*by_table.values())) > 1]
    assert len(shared) == 4 * 8  # vanilla, HyPe-N, HyPe-U, HyPe-N at 1e-5 and four single techniques
    for (method, task, _), by_table in printed.items():
        means = {mean for mean, _ in by_table}
        stds = {std for _, std in by_table if std is not None}
        assert len(means) == 1, (method, task, by_table)
        assert len(stds) <= 1 or ((method, task) == ("r3f", "stsb") and stds == {0.54, 0.56})


BY_HAND = [
    (1, "BERT", "HyPe-N", "CoLA", 66.26, 1.90),
    (1, "XLNet", "Vanilla", "RTE", 75.57, 11.63),
    (1, "XLNet", "HyPe-U", "CoLA", 58.05, 2.53),
    (1, "ELECTRA", "Vanilla", "CoLA", 46.41, 32.83),
    (2, None, "HyPe-U", "QNLI", 94.19, 0.24),
    (3, None, "MNLI-mm", "Vanilla", 62.56, 11.43),
    (3, None, "RTE", "HyPe-U", 78.58, 5.02),
    (3, None, "QQP", "Vanilla", 73.92, 3.59),
    (4, "DeBERTa XXL", "/w HyPe", "MRPC", 94.26, None),
    (5, None, "LNSR*", "MRPC", 88.50, None),
    (5, None, "Child-TuningF", "RTE", 73.77, 2.09),
    (6, None, "HyPe", "MNLI(mm)", 27.78, None),
    (7, "Fine-tune on SNLI", "SICK", "HyPe-U gain", 2.56, None),
    (7, "Fine-tune on MNLI", "SICK", "HyPe-N gain", -0.54, None),
    (8, "HyPe-N", "1e-2", "RTE", 74.13, None),
    (9, None, "HyPe-N+DP", "AVG", 79.92, None),
    (12, "RoBERTa", "HyPe-N", "MNLI-mm", 89.6, None),
    (16, "Detailed results on RoBERTa", "HyPe-N+RDrop", "COLA", 68.77, 3.59),
    (16, "Detailed results on BERT", "HyPe-N+NoisyTune", "gain", 0.09, None),
    (17, None, "Adding within Transformers", "RTE", 71.84, None),
    (18, "HyPe on higher layers", "Higher 12 Layers", "RTE", 74.73, None),
]


@pytest.mark.parametrize(("number", "block", "row", "column", "mean", "std"), BY_HAND)
def test_by_hand(number: int, block: str | None, row: str, column: str, mean: float, std: float | None) -> None:
    published = cell(number, block=block, row=row, column=column)
    assert (published.mean, published.std) == (mean, std)


NAMES = [
    (1, "ELECTRA", "HyPe-U", "STS-B", "electra_large", "stsb", "hype_u", {}),
    (3, None, "MNLI-mm", "HyPe-N", "roberta_large", "mnli_mm", "hype_n", {"max_train_examples": 1000}),
    (4, "DeBERTa XL", "XL", "RTE", "deberta_v2_xlarge_mnli", "rte", "vanilla", {}),
    (4, "DeBERTa XL", "/w HyPe", "COLA", "deberta_v2_xlarge", "cola", None, {}),
    (6, None, "HyPe", "QNLI", "bert_large", "qnli.robustness", "hype_n", {"trained_on": "qnli"}),
    (8, "HyPe-N", "1e-4", "CoLA", "bert_large", "cola", "hype_n", {"scale": 1e-4}),
    (9, None, "HyPe-N+DP", "RTE", "bert_large", "rte", "hype_n", {"dropout": 0.1}),
    (12, None, "HyPe-N", "QQP", "roberta_large", "qqp", "hype_n", {"split": "test", "scale": 1e-5}),
    (
        17,
        None,
        "Adding within Transformers",
        "RTE",
        "bert_large",
        "rte",
        "hype_n",
        {"scale": 1e-5, "position": "within"},
    ),
    (18, None, "Lower 6 Layers", "MRPC", "bert_large", "mrpc", "hype_n", {"scale": 1e-5, "layers": "lowest:6"}),
]


@pytest.mark.parametrize(("number", "block", "row", "column", "model", "task", "method", "setting"), NAMES)
def test_names(
    number: int,
    block: str | None,
    row: str,
    column: str,
    model: str,
    task: str | None,
    method: str | None,
    setting: dict[str, Any],
) -> None:
    p = cell(number, block=block, row=row, column=column)
    assert (p.model, p.task, p.method, p.setting) == (model, task, method, setting)


def names(group: str) -> set[str]:
    return {path.stem for path in (CONF / group).glob("*.yaml")}


def options(group: str, name: str) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"), resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def task_of(p: Published) -> str | None:
    """The choice of a task, of which it may be an analysis."""
    return p.task and p.task.partition(".")[0]


def test_names_are_choices_of_this_project() -> None:
    models, tasks, methods = names("model"), names("task"), names("method")
    for p in ALL:
        assert p.model is None or p.model in models
        assert {task_of(p), p.setting.get("trained_on")} - {None} <= tasks
        assert p.method is None or set(p.method.split("+")) <= methods
    assert {about(p) for p in ALL if p.method is None} == {about(p) for p in table(4) if p.row == "/w HyPe"}
    assert all(p.task for p in ALL if p.metric not in (AVERAGE, GAIN))
    analysed = {(p.table, p.task.partition("/")[0].partition(".")[2]) for p in ALL if p.task and "." in p.task}
    assert analysed == {(6, "robustness"), (7, "transfer")}
    assert {name for _, name in analysed} <= names("analysis")
    combined = {p.method for p in table(16) if "+" in str(p.method)}
    assert combined == {"hype_n+r_drop", "hype_n+r3f", "hype_n+child_tuning_d", "noisytune+hype_n"}


def test_settings_are_options_of_the_method() -> None:
    of_the_run = {"max_train_examples", "trained_on", "split"}
    for p in ALL:
        for key in set(p.setting) - of_the_run:
            method, _, option = key.rpartition(".")
            assert option in options("method", method or str(p.method))
            if method:
                assert method in str(p.method).split("+")
            else:
                assert "+" not in str(p.method)


def test_metrics_are_those_of_the_tasks() -> None:
    unsaid = {about(p) for p in ALL if p.metric is None}
    assert unsaid == {about(p) for p in scores(7) if p.row == "QQP"}
    for p in ALL:
        if p.task and "." not in p.task and p.metric not in (AVERAGE, GAIN, None):
            assert p.metric == options("task", p.task)["metric"], about(p)
    for row in (*settings(10), *settings(13)):
        assert row["metric"] == options("task", row["task"])["metric"]


def test_unknown_is_said() -> None:
    """Starred rows of Table 5 and test scores: how many seeds is not in the text."""
    assert {p.row for p in ALL if p.quoted} == {"Top-K Tuning*", "Mixout*", "RecAdam*", "LNSR*"}
    assert all(p.quoted and p.n is None and p.std is None for p in ALL if p.row.endswith("*"))
    assert {(p.table, p.row.endswith("*")) for p in ALL if p.n is None} == {(5, True), (12, False)}


def test_training_is_the_recipe() -> None:
    recipe = options("recipe", "paper")
    assert len(settings(11)) == 20
    for row in settings(11):
        config = Config(recipe=RecipeConfig(**recipe))
        config.model.family, config.task.name = options("model", row["model"])["family"], row["task"]
        training = fill_training(config)
        for name in ("batch_size", "epochs", "max_steps", "warmup_ratio", "warmup_steps"):
            assert getattr(training, name) == row[name], row


def right_answers(mean: float, examples: int) -> list[int]:
    """How many right answers of three runs together have this printed mean."""
    near = range(int((mean - 0.01) * 3 * examples / 100), int((mean + 0.01) * 3 * examples / 100) + 2)
    return [right for right in near if abs(100 * right / (3 * examples) - mean) <= ROUNDING]


def fits(p: Published, examples: int, ddof: int) -> bool:
    """Whether three whole numbers of right answers have the printed mean and std."""
    assert p.std is not None
    for right in right_answers(p.mean, examples):
        centre, reach = right // 3, int(p.std * examples / 100 * 1.5) + 2
        around = range(max(0, centre - reach), min(examples, centre + reach) + 1)
        for first, second in itertools.combinations_with_replacement(around, 2):
            std = float(np.std([first, second, right - first - second], ddof=ddof)) * 100 / examples
            if abs(std - p.std) <= ROUNDING:
                return True
    return False


def test_what_no_three_runs_can_give_has_a_note() -> None:
    """Accuracies on few enough examples; the std is the population's wherever only one of the two kinds fits."""
    sizes = {"rte": 277, "sst2": 872}
    kinds = set()
    for p in ALL:
        if p.metric == "accuracy" and p.n == 3 and p.task in sizes:
            possible = bool(right_answers(p.mean, sizes[p.task]))
            if possible and p.std is not None:
                fitting = tuple(fits(p, sizes[p.task], ddof) for ddof in (0, 1))
                kinds.add(fitting)
                possible = any(fitting)
            assert possible == ("no three runs" not in str(p.note)), about(p)
    assert (True, False) in kinds
    assert (False, True) not in kinds


def test_a_printed_std_becomes_that_of_a_sample() -> None:
    p = cell(1, block="BERT", row="HyPe-N", column="RTE")
    population = [1.0, 2.0, 4.5]
    as_printed = replace(p, std=float(np.std(population)))
    assert as_printed.sample_std == pytest.approx(float(np.std(population, ddof=1)))
    assert replace(p, std=None).sample_std is None
    assert replace(p, n=None).sample_std is None


def test_label_spaces_and_grids() -> None:
    for row in settings(14):
        labels = options("task", row["task"])["labels"]
        assert len(row["labels"]) == len(labels)
        if row["task"] not in ("scitail", "qqp"):  # other words there
            assert row["labels"] == labels
    grids = {(row["method"], row["option"]): row["values"] for row in settings(15)}
    assert len(grids) == len(settings(15)) == 7
    assert grids["child_tuning_f", "reserve_p"] == [0.2, 0.3, 0.4]
    assert grids["noisytune", "strength"] == [0.1, 0.15, 0.2]
    for method, option in grids:
        assert option in options("method", method)


def test_sizes() -> None:
    sizes = {row["task"]: (row["train"], row["dev"]) for row in (*settings(10), *settings(13))}
    assert len(sizes) == 12
    assert sizes["rte"] == (2500, 277)
    assert sizes["mnli_mm"] == (None, 9800)
    assert sizes["sick"] == (4439, 495)


WRONG = [
    ((19, "Vanilla", "CoLA", None), "the paper has no table 19 of scores; there are 1, 2, 3"),
    ((11, "MRPC", "Batch Size", None), "the paper has no table 11 of scores"),
    ((5, "HypeN", "CoLA", None), "Table 5 has no row 'HypeN'; the nearest is 'HyPe-N'"),
    (
        (1, "Vanilla", "STSB", "BERT"),
        "Table 1, block 'BERT', row 'Vanilla' has no column 'STSB'; the nearest is 'STS-B'",
    ),
    ((1, "Vanilla", "CoLA", "Robert"), "Table 1 has no block 'Robert'; the nearest is 'RoBERTa'"),
    ((1, "Vanilla", "CoLA", None), "Table 1 has row 'Vanilla' more than once; block must be one of 'BERT', 'XLNet'"),
    ((2, "Vanilla", "SST2", "RoBERTa"), "Table 2 has no block 'RoBERTa'"),
    ((4, "Base", "Avg. Imp.", None), "Table 4, row 'Base' has no column 'Avg. Imp.'; the nearest is"),
]


@pytest.mark.parametrize(("wanted", "complaint"), WRONG)
def test_what_is_not_there_gives_one_line(wanted: tuple[int, str, str, str | None], complaint: str) -> None:
    number, row, column, block = wanted
    with pytest.raises(UserError) as caught:
        cell(number, row=row, column=column, block=block)
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_no_settings_there() -> None:
    with pytest.raises(UserError, match="no table 1 of settings; there are 10, 11, 13, 14, 15"):
        settings(1)


def test_import_is_cheap() -> None:
    heavy = "('torch', 'pandas', 'numpy', 'omegaconf', 'hydra', 'yaml')"
    program = f"import sys, hype_bench.paper.published; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
