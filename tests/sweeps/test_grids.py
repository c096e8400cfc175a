"""The union of grids: which points there are, what scopes and the command line replace, what names a row."""

from __future__ import annotations

import itertools

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hype_bench.options import UserError
from hype_bench.sweeps.grids import expand, row_axes, write

PAPER = {"name": "paper", "axes": {}}
EXPERIMENT = {
    "shared": {"task": ["rte", "cola"], "seed": [1, 2]},
    "grids": [
        {"method": ["vanilla", "no_dropout"]},
        {"method": ["hype_n"], "noise_scale": [1e-4, 1e-5]},
        {"method": "vanilla", "row": "wider", "training.learning_rate": [1e-5, 2e-5]},
    ],
    "scopes": {"smoke": {"noise_scale": [1e-3]}},
}


def test_the_union_and_not_the_product() -> None:
    points = expand(EXPERIMENT, PAPER, {})
    by_hand = set()
    for task, seed in itertools.product(["rte", "cola"], ["1", "2"]):
        by_hand |= {(task, seed, method, None, None, None) for method in ("vanilla", "no_dropout")}
        by_hand |= {(task, seed, "hype_n", scale, None, None) for scale in ("0.0001", "1e-05")}
        by_hand |= {(task, seed, "vanilla", None, rate, "wider") for rate in ("1e-05", "2e-05")}
    keys = ("task", "seed", "method", "noise_scale", "training.learning_rate")
    combinations = [(*(dict(point.values).get(key) for key in keys), point.row) for point in points]
    assert len(combinations) == len(set(combinations)) == len(by_hand) == 24
    assert set(combinations) == by_hand


def test_a_point_that_two_grids_have_stands_there_once() -> None:
    twice = {"grids": [{"seed": [1, 2]}, {"seed": [2, 3]}]}
    assert [point.overrides for point in expand(twice, PAPER, {})] == [["seed=1"], ["seed=2"], ["seed=3"]]


def test_a_scope_replaces_and_adds_axes_and_an_experiments_own_scope_only_replaces() -> None:
    smoke = {"name": "smoke", "axes": {"seed": [7], "training.max_steps": [2]}}
    points = [dict(point.values) for point in expand(EXPERIMENT, smoke, {})]
    assert {point["seed"] for point in points} == {"7"}
    assert {point["training.max_steps"] for point in points} == {"2"}
    assert {point.get("noise_scale") for point in points} == {None, "0.001"}
    assert all(("noise_scale" in point) == (point["method"] == "hype_n") for point in points)


def test_the_command_line_has_the_last_word() -> None:
    smoke = {"name": "smoke", "axes": {"seed": [7]}}
    points = [dict(point.values) for point in expand(EXPERIMENT, smoke, {"seed": ["3", "4"], "device": ["cpu"]})]
    assert {point["seed"] for point in points} == {"3", "4"}
    assert {point["device"] for point in points} == {"cpu"}


def test_methods_on_the_command_line_pick_rows_and_add_new_ones() -> None:
    points = [dict(point.values) for point in expand(EXPERIMENT, PAPER, {"method": ["hype_n", "[hype_n,r_drop]"]})]
    assert {(point["method"], point.get("noise_scale")) for point in points} == {
        ("hype_n", "0.0001"),
        ("hype_n", "1e-05"),
        ("[hype_n,r_drop]", None),
    }
    assert {point["seed"] for point in points} == {"1", "2"}
    nested = {"grids": [{"method": ["vanilla", ["hype_n", "r_drop"]]}]}
    (point,) = expand(nested, PAPER, {"method": ["[hype_n,r_drop]"]})
    assert point.overrides == ["method=[hype_n,r_drop]"]


def test_without_grids_the_command_line_is_the_grid() -> None:
    points = expand({}, PAPER, {"seed": ["1", "2"], "method": ["vanilla"]})
    assert [point.overrides for point in points] == [["seed=1", "method=vanilla"], ["seed=2", "method=vanilla"]]


def test_an_option_is_left_out_of_points_that_do_not_choose_what_it_belongs_to() -> None:
    given = {"method": ["vanilla", "[hype_n,r_drop]"], "method.r_drop.alpha": ["1", "2"]}
    assert [point.overrides for point in expand({}, PAPER, given)] == [
        ["method=vanilla"],
        ["method=[hype_n,r_drop]", "method.r_drop.alpha=1"],
        ["method=[hype_n,r_drop]", "method.r_drop.alpha=2"],
    ]
    given = {"analysis": ["similarity", "probing"], "analysis.probing.epochs": ["5"], "seed": ["1"]}
    points = expand({}, PAPER, given)
    assert [point.overrides for point in points] == [
        ["analysis=similarity", "seed=1"],
        ["analysis=probing", "analysis.probing.epochs=5", "seed=1"],
    ]
    assert row_axes(points, []) == []  # one value where it has a meaning tells no rows apart


def test_an_option_of_a_grid_goes_with_the_analysis_that_the_command_line_replaces() -> None:
    noise = {"grids": [{"analysis": "sharpness"}, {"analysis": "noise_survival", "analysis.noise_survival.scale": 1}]}
    assert [point.overrides for point in expand(noise, PAPER, {"analysis": ["tuco"]})] == [["analysis=tuco"]]


def test_an_option_that_no_point_has_a_use_for_stays_and_is_refused_by_who_composes_it() -> None:
    (point,) = expand({}, PAPER, {"analysis": ["similarity"], "analysis.probing.epochs": ["5"]})
    assert point.overrides == ["analysis=similarity", "analysis.probing.epochs=5"]


def test_an_axis_without_values_is_refused() -> None:
    with pytest.raises(UserError, match="axis seed has no values"):
        expand({"grids": [{"seed": []}]}, PAPER, {})


def test_rows_are_told_apart_by_what_differs_and_is_not_searched() -> None:
    points = expand(EXPERIMENT, PAPER, {"device": ["cpu"]})
    assert row_axes(points, ["training.learning_rate"]) == ["noise_scale"]
    assert row_axes(points, ["noise_scale", "training.learning_rate"]) == []
    (point,) = expand({"grids": [{"noise_scale": 1e-4, "method.hype_n.layers": "lowest:6"}]}, PAPER, {})
    assert point.settings(["noise_scale", "method.hype_n.layers"]) == {"scale": "0.0001", "layers": "lowest:6"}
    assert point.settings(["seed"]) == {}


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 1e-5, 0.1, "lowest:6", "two words", "it's, here", "a=b", ["hype_n", "r_drop"], [1e-5, None]],
)
def test_hydra_reads_back_what_is_written(value: object) -> None:
    assert OverridesParser.create().parse_override(f"key={write(value)}").value() == value
