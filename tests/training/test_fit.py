"""What does not fit the model or the data is found without weights, before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hype_bench.config import ModelConfig, UserError
from hype_bench.contract.registry import build, cards, discover
from hype_bench.models.checkpoint import Checkpoint, locate
from hype_bench.models.loading import load_classifier
from hype_bench.models.skeleton import skeleton
from hype_bench.testing.composed import configured
from hype_bench.testing.tiny import outputs_for
from hype_bench.training.fit import check_model, check_warmup
from tests.architectures import REFUSED

FAMILIES = ("bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2")
UNFIT: dict[str, dict[str, list[Any]]] = {  # of three layers
    "hype_n": {"layers": ["foo", "lowest:4", [3], []]},
    "hype_u": {"layers": ["highest:9"]},
    "top_k": {"k": [4]},
    "lnsr": {"layer": [3]},
    "reinit": {"layers": [4]},
    "noisefit": {"layers": [4]},
}
OPTIONS = [(method, option, value) for method, one in UNFIT.items() for option, each in one.items() for value in each]


def tiny(family: str) -> Checkpoint:
    return locate(ModelConfig(name=family, checkpoint=f"tiny:{family}"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_skeleton_has_the_shapes_of_the_model(family: str) -> None:
    bare, whole = skeleton(tiny(family), 3), load_classifier(tiny(family), 3, 0.1, 0)
    assert {name: p.shape for name, p in bare.named_parameters()} == {n: p.shape for n, p in whole.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_every_technique_has_by_default_fits_every_family(family: str) -> None:
    settings = configured(f"model=tiny_{family}").training
    state = torch.get_rng_state()
    for name in sorted(set(discover()) - REFUSED.get(family, set())):
        options: dict[str, Any] = {"layers": 3} if name == "reinit" else {}  # of five
        if "target" in cards()[name].options:  # XLNet has no linear maps for queries and values
            options["target"] = "all"
        check_model(tiny(family), outputs_for(name), settings, build({name: options}))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("method", "option", "value"), OPTIONS)
@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_an_option_that_does_not_fit_is_found(family: str, method: str, option: str, value: object) -> None:
    with pytest.raises(UserError, match=option):
        check_model(tiny(family), 2, configured(f"model=tiny_{family}").training, build({method: {option: value}}))


def test_settings_that_an_architecture_lacks_are_found() -> None:
    for setting in ("training.packing=on", "training.gradient_checkpointing=true"):
        with pytest.raises(UserError, match="is not available for xlnet"):
            check_model(tiny("xlnet"), 2, configured("model=tiny_xlnet", setting).training, {})


@pytest.mark.parametrize(("warmup", "longer"), [(0, False), (10, False), (11, True)])
def test_a_warm_up_longer_than_the_run(warmup: int, longer: bool) -> None:
    """The user's own is refused; the recipe's is told, since it is the published setting."""
    settings = replace(configured().training, epochs=None, max_steps=10, warmup_steps=warmup, warmup_ratio=None)
    assert bool(check_warmup(48, settings, is_asked_for=False)) == longer
    if longer:
        with pytest.raises(UserError, match="warmup_steps=11 is longer than the run of 10 updates"):
            check_warmup(48, settings, is_asked_for=True)


def test_no_configuration_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be loaded as a model"):
        skeleton(Checkpoint("broken", str(tmp_path), "content:0", is_local=True), 2)
