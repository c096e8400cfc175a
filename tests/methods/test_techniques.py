"""Our own techniques: each holds to the contract (hype_bench/testing), and what is said of all of them is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hype_bench.choices import read_choice
from hype_bench.config import CONF
from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Hooks, Method
from hype_bench.contract.registry import cards, discover
from hype_bench.options import UserError
from hype_bench.testing.test_contract import *  # noqa: F403
from hype_bench.testing.test_contract import test_it_trains_repeats_and_leaves_a_plain_model as check_training
from hype_bench.testing.test_contract import test_its_order_has_no_effect_where_it_acts_on_other_parts as check_order
from hype_bench.testing.test_ways_of_training import *  # noqa: F403
from hype_bench.testing.tiny import FAMILIES, outputs_for, technique, tiny
from tests.architectures import REFUSED, architecture

NAMES = [name for name, (cls, _) in discover().items() if cls.__module__.startswith("hype_bench.")]
NO_MODERNBERT = {"bitfit", "mixout"}  # test_architectures.py


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({*FAMILIES} - {"bert", "xlnet"}))
def test_regression(name: str, family: str, tmp_path: Path) -> None:
    check_training(name, family, 1, tmp_path)


@pytest.mark.slow  # type: ignore[no-redef]  # in place of the one imported: all pairs take a minute
def test_its_order_has_no_effect_where_it_acts_on_other_parts(name: str) -> None:
    check_order(name)


@pytest.mark.parametrize("packed_name", sorted({*NAMES} - NO_MODERNBERT))
def test_packed_equals_padded_in_modernbert(packed_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_packed_equals_padded(packed_name, architecture("modernbert", outputs_for(packed_name)), monkeypatch)  # noqa: F405


@pytest.mark.parametrize(
    ("refused_name", "refused_family"),
    [(name, family) for family in FAMILIES for name in sorted(REFUSED.get(family, ()))],
)
def test_what_a_family_cannot_have_is_refused(refused_name: str, refused_family: str) -> None:
    with pytest.raises(UserError, match="not available for"):
        compose(technique(refused_name, refused_family), tiny(refused_family), Context())


def test_noise_scale_feeds_the_methods_that_its_comment_names() -> None:
    fed = [path.stem for path in sorted((CONF / "method").glob("*.yaml")) if "${noise_scale}" in path.read_text()]
    named = " and ".join([", ".join(fed[:-1]), fed[-1]])
    assert f"# scale of {named}; " in (CONF / "config.yaml").read_text()
    assert f"scale of {named} (" in (CONF / "hydra" / "help" / "hype_bench.yaml").read_text()
    own = {name for name, card in cards().items() if "scale" in card.options and name not in fed}
    assert own == {name for name in own if "`noise_scale` does not set it" in cards()[name].options["scale"]}


def test_every_yaml_is_a_technique() -> None:
    assert sorted(path.stem for path in (CONF / "method").glob("*.yaml")) == NAMES
    assert read_choice("method", "hype_u").keys() - read_choice("method", "hype_n").keys() == {"support"}


def test_hooks_nest_in_the_order_named() -> None:
    calls: list[str] = []

    class Named(Method):
        def __init__(self, name: str) -> None:
            self.name = name

        def prepare(self, model: Any, context: Context) -> Hooks:
            def note(hook: str) -> None:
                calls.append(f"{hook} {self.name}")

            def loss(batch: Any, forward: Any, inner: Any) -> Any:
                note("enter")
                result = inner(batch, forward)
                note("leave")
                return result

            context.cleanup.callback(note, "undo")
            return Hooks(loss=loss, after_step=lambda optimizer: note("step"), finish=lambda: note("finish"))

    hooks = compose({"a": Named("a"), "b": Named("b")}, tiny("bert", 2), Context())
    hooks.loss({}, None, lambda batch, forward: (torch.zeros(()), None))  # type: ignore[arg-type]
    hooks.after_step(None)  # type: ignore[arg-type]
    hooks.finish()
    assert calls == ["enter a", "enter b", "leave b", "leave a", "step a", "step b",
                     "finish b", "finish a", "undo b", "undo a"]  # fmt: skip
