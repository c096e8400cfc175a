"""The flag of a sweep may stand anywhere."""

from __future__ import annotations

import pytest

from hype_bench.options import UserError
from hype_bench.sweeps.arguments import check_flags, check_named_once, flags_first


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_flag_goes_to_the_front(flag: str, place: int) -> None:
    arguments = ["method=hype_n", "seed=1,2,3"]
    assert flags_first([*arguments[:place], flag, *arguments[place:]]) == ["--multirun", *arguments]


def test_without_a_flag_nothing_moves() -> None:
    assert flags_first(["task=rte", "experiment=-m", "--cfg", "job"]) == ["task=rte", "experiment=-m", "--cfg", "job"]
    assert flags_first(["-m", "a=1", "-m"]) == ["--multirun", "a=1"]


@pytest.mark.parametrize("arguments", [["--seeds", "3"], ["-q"], ["--config-dir"]])
def test_a_flag_that_is_none_is_told_in_one_line(arguments: list[str]) -> None:
    with pytest.raises(UserError, match=r"--help") as told:
        check_flags([*arguments])
    assert "\n" not in str(told.value)


def test_what_hydra_takes_passes() -> None:
    check_flags(["--multirun", "seed=1,2", "+a=b", "~c"])
    check_flags(["--help"])


def test_a_technique_is_named_once() -> None:
    check_named_once(["method=hype_n", "seed=1", "method.hype_n.layers=[1,1]", "~x", "+a=[b,b]"])
    check_named_once(["method=[hype_n,r_drop]"])
    with pytest.raises(UserError, match=r"method=\['r_drop',hype_n,r_drop\] names r_drop 2 times"):
        check_named_once(["seed=1", "method=['r_drop',hype_n,r_drop]"])
