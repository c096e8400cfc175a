"""Techniques that act on different parts of a run compute the same in both orders, and are named in one."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import pytest

from hype_bench.contract.method import Method
from hype_bench.contract.order import canonical_order, commute
from hype_bench.contract.registry import build, discover
from hype_bench.options import UserError
from hype_bench.testing.tiny import check_both_orders, options
from tests.contract.test_composition import NOTHING_LEFT

NAMES = [name for name in discover() if name not in ("vanilla", "hype_u")]
OTHER_OPTIONS: dict[str, dict[str, Any]] = {  # with which techniques act on other parts, or otherwise on the same
    "child_tuning_d": {"fisher": "official"},
    "dps": {"variant": "mix", "stage_ratio": 0.25},
    "freelb": {"steps": 2, "passes": "fairseq"},
    "hype_n": {"dropout": None, "position": "both", "scale": 0.1},
    "lora": {"target": "all", "dropout": 0.1},
    "mixout": {"where": "every"},
    "noisytune": {"scope": "all"},
    "rose": {"variant": "first"},
    "smart": {"variant": "official", "dropout_masks": "shared"},
}
Named = dict[str, dict[str, Any]]


def usual(*names: str) -> Named:
    return {name: options(name, "bert") for name in names}


def techniques(*names: str) -> dict[str, Method]:
    return build(usual(*names))


def commuting(chosen: Named) -> list[dict[str, Method]]:
    """The pairs that can be combined and are declared to compute the same in both orders."""
    pairs = []
    for names in combinations(chosen, 2):
        try:
            both = build({name: chosen[name] for name in names})
        except UserError:
            continue
        if commute(*both.values()) and not {*permutations(names)} & NOTHING_LEFT:
            pairs.append(both)
    return pairs


def test_both_orders_give_the_same_weights_bit_for_bit() -> None:
    """A sample: hype_bench/testing has them all."""
    pairs = commuting(usual(*NAMES))
    assert len(pairs) > 200
    for pair in pairs[::20]:
        check_both_orders(pair)


@pytest.mark.slow
def test_both_orders_give_the_same_weights_with_other_options() -> None:
    for pair in commuting(usual(*NAMES) | OTHER_OPTIONS):
        check_both_orders(pair)


def test_a_technique_that_declares_nothing_commutes_with_none() -> None:
    assert not any(commute(Method(), technique) for technique in techniques("hype_n", "r_drop").values())


@pytest.mark.parametrize(
    "order",
    [
        ("hype_n", "r_drop"),
        ("hype_n", "r3f"),
        ("noisytune", "hype_n"),
        ("reinit", "llrd", "r_drop", "sam", "ema"),
        ("mixout", "neftune", "child_tuning_f"),
    ],
)
def test_techniques_that_commute_have_one_order(order: tuple[str, ...]) -> None:
    """That of a run: the weights, the forward pass, the loss, the step."""
    for other in permutations(order):
        assert tuple(techniques(*other)) == order


@pytest.mark.parametrize(
    ("named", "order"),
    [
        (("r3f", "r_drop"), ("r3f", "r_drop")),
        (("r_drop", "r3f"), ("r_drop", "r3f")),
        (("child_tuning_d", "hype_n"), ("child_tuning_d", "hype_n")),
        (("hype_n", "child_tuning_d"), ("hype_n", "child_tuning_d")),
        (("ema", "r_drop", "hype_n", "r3f"), ("hype_n", "r_drop", "r3f", "ema")),
        (("r3f", "ema", "hype_n", "r_drop"), ("hype_n", "r3f", "r_drop", "ema")),
    ],
)
def test_techniques_that_do_not_commute_stay_as_named(named: tuple[str, ...], order: tuple[str, ...]) -> None:
    assert tuple(techniques(*named)) == order


def test_one_in_between_holds_the_others_back() -> None:
    """r_drop commutes with reinit, but not with the technique in between, which commutes with neither."""

    class Between(Method):
        pass

    methods: dict[str, Any] = techniques("r_drop") | {"between": Between()} | techniques("reinit")
    assert list(canonical_order(methods)) == ["r_drop", "between", "reinit"]
