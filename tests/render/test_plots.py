"""Pictures of an experiment, by the numbers on their axes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from typer.testing import CliRunner

from hype_bench.cli import app
from hype_bench.commands.plot import Kind, plot
from hype_bench.options import UserError
from hype_bench.render.answer import answers_of
from hype_bench.render.plots import draw
from hype_bench.render.plots.combinations import shared_technique
from hype_bench.render.plots.ranks import alike
from hype_bench.render.report import Experiment, read_experiment
from hype_bench.render.table_csv import interval
from hype_bench.sweeps.planned import Plan, PlannedRun, write_plan
from hype_bench.tables.cells import Row
from hype_bench.tables.compare import Criteria
from tests.render.test_upload import SCORES, planned, write_experiment, write_record
from tests.tables.swept import write_experiment as swept


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Two rows, two tasks; of hype_n on MRPC one run crashed and one did not begin."""
    write_experiment(tmp_path)
    return read_experiment(tmp_path, "table1", "paper")


def marks(panel: Axes, marker: str) -> list[list[float]]:
    """What is drawn with a marker, line by line."""
    return [np.asarray(line.get_xdata()).tolist() for line in panel.lines if line.get_marker() == marker]


def bars(panel: Axes) -> list[list[float]]:
    """The intervals, which have no marker and the width of no axis."""
    drawn = [line for line in panel.lines if line.get_marker() == "None" and line.get_transform() == panel.transData]
    return [np.asarray(line.get_xdata()).tolist() for line in drawn]


def words(panel: Axes) -> list[str]:
    return [text.get_text() for text in panel.texts]


def test_seeds_are_dots_beside_mean_and_interval(experiment: Experiment) -> None:
    figures = draw("seeds", experiment)
    assert list(figures) == ["bert_large rte", "bert_large mrpc"]
    (rte,), (mrpc,) = (figure.axes for figure in figures.values())
    assert [label.get_text() for label in rte.get_yticklabels()] == list(SCORES)
    assert marks(rte, "o") == [pytest.approx([100 * score for score in scores]) for scores in SCORES.values()]
    assert marks(rte, "D") == [[pytest.approx(72)], [pytest.approx(100 * sum(SCORES["hype_n"]) / 3)]]
    assert bars(rte)[0] == pytest.approx([72 - 9.94, 72 + 9.94], abs=0.01)  # 4.303 standard errors of 4 / sqrt 3
    assert words(rte) == ["72.0", "74.7"]
    assert words(mrpc) == ["72.0", "X  1 of 3 runs, 1 failed"]
    assert rte.get_xlabel() == "accuracy (%)"


def test_curves_have_every_seed_and_their_mean(tmp_path: Path) -> None:
    runs = [planned("vanilla", "rte", seed, "2e-5") for seed in (1, 2)]
    write_plan(tmp_path, Plan("two", "", "paper", None, [], "", runs))
    curves: list[list[dict[str, Any]]] = [
        [{"update": 10, "loss": 0.7}, {"update": 20, "loss": 0.6}, {"update": 20, "accuracy": 0.5}],
        [{"update": 10, "loss": 0.5}, {"update": 20, "loss": "nan"}, {"update": 20, "accuracy": 0.7}],
    ]
    for run, curve in zip(runs, curves, strict=True):
        write_record(tmp_path, run, 0.7, curve=curve)
    figures = draw("curves", read_experiment(tmp_path, "two", "paper"))
    assert list(figures) == ["bert_large rte loss"]  # one point of a score is no curve
    panel = figures["bert_large rte loss"].axes[0]
    drawn = [dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in panel.lines]  # type: ignore[arg-type]
    assert drawn == [{10: 0.7, 20: 0.6}, {10: 0.5}, {10: pytest.approx(0.6)}, {}]


def test_the_answer_is_a_forest_with_both_controls_and_the_margin(tmp_path: Path) -> None:
    skills = {"vanilla": 0.6, "no_dropout": 0.75, "hype_n": 0.75}
    plan = swept(tmp_path, skills, seeds=(1, 2, 3), spread=0.001)
    experiment = read_experiment(tmp_path, plan.name, "paper")
    figures = draw("answer", experiment, margin=0.02)
    assert list(figures) == ["minilm over all tasks", "minilm rte", "minilm mrpc"]
    panel = figures["minilm rte"].axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["no_dropout", "hype_n", "against no_dropout"]
    answers, _ = answers_of(experiment, Criteria(0.02))
    verdicts = [answer.tasks["rte"].verdict for answer in answers]
    assert marks(panel, "D") == [[pytest.approx(100 * verdict.difference.mean)] for verdict in verdicts]
    assert bars(panel) == [pytest.approx([100 * end for end in each.difference.interval()]) for each in verdicts]
    assert words(panel) == [verdict.word for verdict in verdicts] == ["helps", "helps", "no difference"]
    shaded = [patch for patch in panel.patches if patch.get_alpha() == 0.15]
    assert [patch.get_extents().transformed(panel.transData.inverted()).intervalx.tolist() for patch in shaded] == [
        pytest.approx([-2, 2])
    ]


def test_the_distance_from_the_paper(experiment: Experiment) -> None:
    rte, mrpc = (figure.axes[0] for figure in draw("paper", experiment).values())
    assert marks(rte, "D") == [[pytest.approx(72 - 72.24)], [pytest.approx(224 / 3 - 74.37)]]
    assert bars(rte)[0] == pytest.approx([-8.42, 7.94], abs=0.01)  # Welch: 4 / sqrt 3 here, 2.18 / sqrt 2 there
    assert words(rte) == ["72.0 / 72.2", "74.7 / 74.4"]
    assert words(mrpc)[1:] == ["X  1 of 3 runs, 1 failed", "- / 92.0"]


def test_the_expected_best_of_so_many_configurations(experiment: Experiment) -> None:
    figures = draw("budget", experiment)
    vanilla, hype = figures["bert_large rte"].axes
    assert [np.asarray(line.get_ydata()).tolist() for line in vanilla.lines] == [
        [],
        [pytest.approx(67), pytest.approx(72)],
    ]
    dashed, own = (np.asarray(line.get_ydata()).tolist() for line in hype.lines)
    assert dashed == [pytest.approx(67), pytest.approx(72)]  # the mean of 62 and 72, and the better one
    assert own == [pytest.approx(224 / 3)]
    assert [words(panel) for panel in (vanilla, hype, figures["bert_large mrpc"].axes[1])] == [
        ["72.0"],
        ["74.7"],
        ["X  1 of 3 runs"],
    ]


def test_combinations_stand_beside_their_techniques(tmp_path: Path) -> None:
    """Bars of every technique alone and with the one that all combinations share, of the mean and of each task."""
    skills = {
        "vanilla": 0.6,
        "hype_n": 0.62,
        "r3f": 0.7,
        "hype_n+r3f": 0.75,
        "noisytune": 0.7,
        "noisytune+hype_n": 0.65,
    }
    plan = swept(tmp_path, {**skills, "mixout": 0.7}, seeds=(1, 2, 3))
    experiment = read_experiment(tmp_path, plan.name, "paper")
    figures = draw("combinations", experiment)
    assert list(figures) == ["minilm average", "minilm rte", "minilm mrpc"]
    (table,) = experiment.tables
    for column in ("average", "rte"):
        panel = figures[f"minilm {column}"].axes[0]
        assert [label.get_text() for label in panel.get_yticklabels()] == ["vanilla", "r3f", "noisytune"]
        cells = {row.title: cells[column] for row, cells in table.rows.items()}
        means = [100 * cells[name].mean for name in skills]
        assert [bar.get_width() for container in panel.containers for bar in container] == pytest.approx(means)
        ends = [interval(cells[name]) for name in skills]
        assert bars(panel)[: len(ends)] == [pytest.approx([100 * low, 100 * high]) for low, high in filter(None, ends)]
    assert "with hype_n" in figures["minilm rte"].get_supxlabel()


def test_a_single_combination_shares_the_technique_that_is_named_first() -> None:
    names = ["vanilla", "r_drop", "hype_n+r_drop", "r3f+hype_n"]
    assert shared_technique([Row(name) for name in names[:3]]) == "hype_n"
    assert shared_technique([Row(name) for name in names]) == "hype_n"
    assert shared_technique([Row(name) for name in names[:2]]) == ""


def write_analysis(folder: Path, run: PlannedRun, splits: dict[str, dict[str, float]], metric: str) -> None:
    """The record of an analysis whose scores are made up."""
    write_record(folder, run, 0.5)
    path = folder / "runs" / run.identity / "result.json"
    record = json.loads(path.read_text())
    named = [(f"{split}/{name}", value) for split, scores in splits.items() for name, value in scores.items()]
    flat = {name.removeprefix(f"{next(iter(splits))}/"): value for name, value in named}
    record["label"] |= {"metric": metric}
    record["parts"]["analysis"] = ["made_up", {}]
    path.write_text(json.dumps(record | {"scores": flat, "scored_rows": dict.fromkeys(splits, 9)}))


def planned_analysis(task: str, metric: str, seeds: int = 2) -> list[PlannedRun]:
    pairs = [(method, seed) for method in ("vanilla", "hype_n") for seed in range(1, seeds + 1)]
    runs = [planned(method, "rte", seed, "2e-5") for method, seed in pairs]
    return [replace(run, task=task, metric=metric, configuration={"learning_rate": "2e-5"}) for run in runs]


@pytest.mark.parametrize(("seeds", "half"), [(2, 0.05), (3, 4.3027 * 0.1 / 3**0.5)])  # the spread; Student's interval
def test_layers_are_a_line_per_row_with_a_band(seeds: int, half: float, tmp_path: Path) -> None:
    runs = planned_analysis("rte.similarity", "cosine", seeds)
    write_plan(tmp_path, Plan("figure4", "", "paper", None, [], "", runs))
    for run in runs:
        top = 0.5 + 0.1 * run.seed + (run.method == "hype_n")
        layers = {f"layer_{n}": {"cosine": top - (2 - n) / 10, "accuracy": 0.5} for n in (2, 0, 1)}
        write_analysis(tmp_path, run, {"all": {"cosine": 9.0}, **layers}, "cosine")
    figures = draw("layers", read_experiment(tmp_path, "figure4", "paper"))
    assert list(figures) == ["bert_large rte.similarity cosine"]
    (panel,) = figures["bert_large rte.similarity cosine"].axes
    drawn = {str(line.get_label()): (line.get_xdata(), line.get_ydata()) for line in panel.lines}
    assert list(drawn) == ["vanilla", "hype_n"]
    mean = 0.5 + 0.1 * (seeds + 1) / 2
    for name, top in (("vanilla", mean), ("hype_n", mean + 1)):
        assert np.asarray(drawn[name][0]).tolist() == [0, 1, 2]
        assert np.asarray(drawn[name][1]).tolist() == pytest.approx([top - 0.2, top - 0.1, top])
    ends = [band.get_datalim(panel.transData).intervaly.tolist() for band in panel.collections]
    assert ends[0] == pytest.approx([mean - 0.2 - half, mean + half], abs=1e-3)
    assert panel.get_ylabel() == "cosine"


def test_footprints_are_bars_of_time_and_memory(tmp_path: Path) -> None:
    runs = planned_analysis("rte.footprint", "value")
    write_plan(tmp_path, Plan("footprint", "", "paper", None, [], "", runs))
    for run in runs:
        factor = 1.0 if run.method == "vanilla" else 2.0
        splits = {"update": factor + run.seed / 10, "memory": factor, "gigabytes": 11.0}
        write_analysis(tmp_path, run, {name: {"value": value} for name, value in splits.items()}, "value")
    figures = draw("footprint", read_experiment(tmp_path, "footprint", "paper"))
    assert list(figures) == ["bert_large rte.footprint"]
    (panel,) = figures["bert_large rte.footprint"].axes
    widths = [bar.get_width() for container in panel.containers for bar in container]
    assert widths == pytest.approx([1.15, 1.0, 2.15, 2.0])
    assert words(panel) == ["1.15", "1.00", "2.15", "2.00"]


def test_rows_that_are_not_told_apart_have_a_bar(tmp_path: Path) -> None:
    runs = [planned(method, task, seed, "2e-5") for method in "abc" for task in ("rte", "mrpc") for seed in (1, 2)]
    write_plan(tmp_path, Plan("three", "", "paper", None, [], "", runs))
    for run in runs:
        write_record(tmp_path, run, {"a": 0.7, "b": 0.9, "c": 0.8}[run.method])
    (panel,) = draw("ranks", read_experiment(tmp_path, "three", "paper"))["bert_large"].axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["b", "c", "a"]
    assert marks(panel, "D") == [[1], [2], [3]]
    assert words(panel) == ["1.0", "2.0", "3.0"]
    (bar,) = [line for line in panel.lines if line.get_transform() != panel.transData]
    assert np.asarray(bar.get_ydata()).tolist() == [-0.3, 2.3]  # 2.34 ranks apart with 3 rows and 2 tasks


@pytest.mark.parametrize(
    ("ranks", "critical", "groups"),
    [
        ([1, 2, 3], 1.0, []),
        ([1, 2, 3], 1.5, [(0, 1), (1, 2)]),
        ([1, 1.5, 2, 4, 4.5], 1.1, [(0, 2), (3, 4)]),
        ([1, 2, 3], 9.0, [(0, 2)]),
    ],
)
def test_groups_of_ranks_are_the_largest_ones(
    ranks: list[float], critical: float, groups: list[tuple[int, int]]
) -> None:
    assert alike(ranks, critical) == groups


def test_a_picture_is_a_column_wide_and_written_twice_alike(experiment: Experiment, tmp_path: Path) -> None:
    files: list[dict[str, bytes]] = []
    for _ in range(2):
        plot(Kind("seeds"), "table1", tmp_path)
        files.append({path.name: path.read_bytes() for path in (tmp_path / "plots" / "table1").iterdir()})
    assert files[0] == files[1]
    assert set(files[0]) == {f"seeds_bert_large_{task}.{form}" for task in ("rte", "mrpc") for form in ("pdf", "png")}
    assert {figure.get_figwidth() for figure in draw("seeds", experiment).values()} == {3.4}


def test_what_cannot_be_drawn_is_one_line(experiment: Experiment, tmp_path: Path) -> None:
    def complaint(*arguments: Any, **options: Any) -> str:
        with pytest.raises(UserError) as raised:
            plot(*arguments, **options)
        return str(raised.value)

    unknown = CliRunner().invoke(app, ["plot", "pie", "table1"])
    assert unknown.exit_code == 2
    assert "'pie' is not one of" in unknown.output
    assert "table7 has no plan" in complaint(Kind("seeds"), "table7", tmp_path)
    empty = tmp_path / "empty"
    write_plan(empty, Plan("none", "", "paper", None, [], "", [planned("vanilla", "rte", 1, "2e-5")]))
    assert complaint(Kind("curves"), "none", empty) == "none has nothing to draw as curves: none of its runs has ended"
    assert complaint(Kind("budget"), "none", empty) == "none searches over nothing: there is no budget to draw"
    assert complaint(Kind("ranks"), "none", empty).startswith("none has no two rows with a number on all of two tasks")
    assert complaint(Kind("combinations"), "none", empty).startswith("none has no technique both alone and in a comb")
    assert complaint(Kind("layers"), "none", empty).startswith("none measures nothing layer by layer; figure3 and fig")
    assert complaint(Kind("footprint"), "none", empty).startswith("none measures no footprint; the experiment footpr")
    assert complaint(Kind("answer"), "none", empty).startswith("none has no technique to compare with another")
    assert complaint(Kind("answer"), "table1", tmp_path, margin=-1).startswith("--margin=-1: a margin is a number")
    assert "regenerates no table of the paper" in complaint(Kind("paper"), "none", empty)
    (tmp_path / "plots").write_text("a file in its place")
    assert complaint(Kind("seeds"), "table1", tmp_path).startswith("the results folder cannot be written to: ")
