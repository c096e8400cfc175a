"""Flags may stand anywhere, and what Hydra's grammar does not know is put in quotes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hype_bench.launch.arguments import (
    as_typed,
    check_named_once,
    in_hydra_order,
    only_prints,
    overrides_to_plan,
    quoted,
    swept_values,
)
from hype_bench.options import UserError

FLAGS = {
    ("-m",): ["--multirun"],
    ("--multirun",): ["--multirun"],
    ("--cfg", "job"): ["--cfg", "job"],
    ("-c", "job"): ["--cfg", "job"],
    ("--config-dir", "own"): ["--config-dir", "own"],
    ("--config-dir=own",): ["--config-dir", "own"],
    ("--info", "searchpath"): ["--info", "searchpath"],
    ("--resolve",): ["--resolve"],
}


@pytest.mark.parametrize("typed", FLAGS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_flag_may_stand_anywhere(typed: tuple[str, ...], place: int) -> None:
    overrides = ["method=hype_n", "seed=1,2,3"]
    assert in_hydra_order([*overrides[:place], *typed, *overrides[place:]]) == [*overrides, *FLAGS[typed]]


def test_flags_between_overrides_and_without_any() -> None:
    assert in_hydra_order(["task=rte", "experiment=-m", "~c"]) == ["task=rte", "experiment=-m", "~c"]
    assert in_hydra_order(["-m", "a=1", "--cfg", "job", "b=2", "-m", "--fail-fast", "+c=3"]) == [
        *("a=1", "b=2", "+c=3", "fail_fast=true"),
        *("--cfg", "job", "--multirun"),
    ]


@pytest.mark.parametrize("arguments", [["--seeds", "3"], ["-q"], ["--config-dir"], ["a=1", "--cfg", "b=2"]])
def test_a_flag_that_is_none_is_told_in_one_line(arguments: list[str]) -> None:
    with pytest.raises(UserError, match=r"--help") as raised:
        in_hydra_order(arguments)
    assert "\n" not in str(raised.value)


def test_a_plan_takes_the_flags_of_a_run(tmp_path: Path) -> None:
    (search_path,) = overrides_to_plan(["--config-dir", str(tmp_path), "-m"])
    assert search_path == overrides_to_plan([f"-cd={tmp_path}"])[0]
    assert search_path == f"hydra.searchpath=[file://{tmp_path}]"
    assert overrides_to_plan(["seed=1,2", "-m", "scope=smoke"]) == ["seed=1,2", "scope=smoke"]
    assert only_prints(["seed=1", "--cfg", "job", "task=rte"])
    assert not only_prints(["seed=1", "-m"])
    with pytest.raises(UserError, match="--config-name is a flag of run"):
        overrides_to_plan(["--config-name", "other", "seed=1"])


@pytest.mark.parametrize(
    ("typed", "axes"),
    [
        ("-m method=vanilla,hype_n method.hype_n.scale=1e-4", "method.hype_n.scale=choice(1e-4)"),
        ("-m method=[hype_n],[hype_n,r_drop] method.r_drop.alpha=1", "method.r_drop.alpha=choice(1)"),
        ("-m analysis=probing,similarity analysis.probing.layers=[0,6]", "analysis.probing.layers=choice([0,6])"),
        ("-m analysis=probing,similarity analysis.probing.task=mrpc,rte", "analysis.probing.task=mrpc,rte"),
    ],
)
def test_an_option_of_some_runs_of_a_sweep_is_an_axis_of_grids(typed: str, axes: str) -> None:
    *_, option, sweeper, flag = in_hydra_order(typed.split())
    assert (option, sweeper, flag) == (axes, "hydra/sweeper=grids", "--multirun")
    assert as_typed(option) == typed.split()[-1]
    assert overrides_to_plan(typed.split()) == in_hydra_order(typed.split())[:-1]


@pytest.mark.parametrize(
    "typed",
    [
        "method=vanilla method.hype_n.scale=1e-4",
        "method=[hype_n],[hype_n,r_drop] method.hype_n.scale=1e-4",
        "method=vanilla,hype_n method.hype_n.scale=1e-4 hydra/sweeper=optuna",
        "method=vanilla,hype_n method.r_drop.alpha=1",
        "method=vanilla,hype_n noise_scale=1e-4",
    ],
)
def test_other_options_are_hydras(typed: str) -> None:
    assert in_hydra_order([*typed.split(), "-m"]) == [*typed.split(), "--multirun"]


def test_the_options_of_an_experiment_are_axes() -> None:
    words = ["experiment=noise", "analysis.noise_survival.precision=bf16"]
    assert in_hydra_order([*words, "-m"]) == [
        *("experiment=noise", "analysis.noise_survival.precision=choice(bf16)", "--multirun"),
    ]
    assert in_hydra_order(words) == words


def meant(override: str) -> object:
    """What Hydra takes the override to say."""
    return OverridesParser.create().parse_override(quoted(override)).value()


NAMES = ["a[1]", "a=b", "straße/zwölf", "日本", "it's", "x (1)", "x(1)", "{x}", "[x]", "a#b&c;d", "007", "1e5", "true"]
NAMES = [*NAMES, 'say "x"', "back\\slash", "a\\'b\\", "-", "0", "a:b", "plain/path-1.csv", "a b", "${oc.env:HOME}/x"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["results_dir", "data.root", "task.train_file", "model.name_or_path"])
def test_the_value_of_a_path_is_the_path(key: str, name: str) -> None:
    assert meant(f"{key}={name}") == name


def test_what_is_said_in_hydras_own_words_stays_as_it_is() -> None:
    for typed in ("data.root=null", "seed=1,2", "results_dir=a,b", "results_dir='a,b'", "seed=range(1,3)", "seed"):
        assert quoted(typed) == typed
    for typed in ("method=[hype_n,r_drop]", "task.labels=[1.0,true]", "noise_scale=1e-4", "+x={a:1}"):
        assert quoted(typed) == typed


def test_letters_beyond_ascii_in_lists_and_sweeps() -> None:
    assert meant("task.text_columns=[straße,hypothesis]") == ["straße", "hypothesis"]
    assert meant("task.label_column=étiquette") == "étiquette"
    sweep = OverridesParser.create().parse_override(quoted("task.train_file=ä.csv,b c.csv"))
    assert swept_values(sweep) == ["'ä.csv'", "b\\ c.csv"]


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert meant("results_dir=~/results") == "/home/me/results"


@pytest.mark.parametrize("typed", ["seed=range(3,1)", "task=glob(none_*)"])
def test_a_sweep_over_nothing_is_no_sweep(typed: str) -> None:
    with pytest.raises(UserError, match="gives no value"):
        swept_values(OverridesParser.create(cast(Any, _Groups())).parse_overrides([typed])[0])


class _Groups:
    """A config loader without any choice."""

    def get_group_options(self, group_name: str, results_filter: object = None) -> list[str]:
        return []


def test_a_technique_is_named_once() -> None:
    check_named_once(["method=hype_n", "seed=1", "method.hype_n.layers=[1,1]", "~x", "+a=[b,b]"])
    check_named_once(["method=[hype_n,r_drop]"])
    with pytest.raises(UserError, match=r"method=\['r_drop',hype_n,r_drop\] names r_drop 2 times"):
        check_named_once(["seed=1", "method=['r_drop',hype_n,r_drop]"])
