"""What is asked of an experiment can be asked of all runs of a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hype_bench.commands.answer import answer
from hype_bench.commands.table import table
from hype_bench.options import UserError
from hype_bench.render.report import read_experiment
from hype_bench.sweeps.planned import ALL, Plan, write_plan
from hype_bench.tables.all_runs import plan_of_runs
from tests.tables.swept import write_experiment


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The runs of an experiment whose plan is gone: those of a plain sweep."""
    write_experiment(tmp_path, {"vanilla": 0.6, "no_dropout": 0.7}, seeds=(1, 2, 3))
    shutil.rmtree(tmp_path / "experiments")
    return tmp_path


def test_rows_and_cells_are_those_of_the_table_of_all_runs(results: Path) -> None:
    read = read_experiment(results, ALL, "paper")
    cells = {(row.title, task): cell.n for (_, row, task), cell in ((k, v.cell) for k, v in read.results.items())}
    assert cells == {(m, task): 3 for m in ("vanilla", "no_dropout") for task in ("mrpc", "rte")}
    assert [row.title for row in read.tables[0].rows] == ["vanilla", "no_dropout"]
    assert read.tables[0].columns[:2] == ["mrpc", "rte"]


def test_a_plain_sweep_is_compared_and_answered(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(None, results, compare="vanilla")
    shown = capsys.readouterr().out
    assert "against vanilla, model: minilm" in shown
    assert "no_dropout, rte" in shown
    table(None, results, intervals=True)
    assert "95 % intervals of the means" in capsys.readouterr().out
    answer(None, results)
    assert "no_dropout against vanilla" in capsys.readouterr().out


def test_a_copy_of_a_run_is_not_planned(results: Path) -> None:
    (first, *_) = sorted((results / "runs").iterdir())
    shutil.copytree(first, results / "runs" / "copy")
    read = read_experiment(results, ALL, "paper")
    assert "copy" not in {run.identity for run in read.plan.runs}


def test_no_experiment_takes_the_name(results: Path) -> None:
    plan = plan_of_runs([])
    assert plan == Plan(ALL, "All runs", "paper", None, [], "python run.py -m", [])
    with pytest.raises(UserError, match="stands for all runs"):
        write_plan(results, plan)
