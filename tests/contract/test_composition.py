"""Techniques together: every ordered pair runs or is refused with a reason; the HyPe paper's four follow its rules."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import pytest
import torch

from hype_bench.contract.compose import compose, orders_that_matter
from hype_bench.contract.context import Context
from hype_bench.contract.registry import build, discover
from hype_bench.methods import child_tuning_d
from hype_bench.methods.noisytune import NoisyTune, perturb_weight
from hype_bench.models.layers import encoder_layers
from hype_bench.options import UserError
from hype_bench.testing.tiny import anatomy, batch_of, context_of, options, outputs_for, still, tiny, train

NAMES = [name for name in discover() if name != "vanilla"]

MERGED = {"ssf", "svfit", "dsee"}  # what they train is written into the weights at the end
PEFT = {"lora", "dora", "lora_plus", "adalora", "vera", "ia3"}
BESIDE = {"nmtune", "parallel_adapter", "prefix_tuning"}  # of the layers, which are frozen
REFUSED = {  # what two techniques cannot both decide on
    "the objective": {"label_smoothing", "stablemax", "dft", "asft", "focal", "fourier_head"},
    "the gradient mask": {"child_tuning_f", "child_tuning_d", "dps", "sara", "lt_sft"},
    "the hidden dropout": {"hype_n", "hype_u", "no_dropout", "mixout", "dps", "nmtune"},
    "how linear maps are used": {"mixout", *MERGED, "wta_crs", *PEFT},
    "the output projection": {"mixout", "r4f", "fourier_head", "levi"},
    "the loss of the head": {"dr_tune", "fourier_head"},
    "which entries of the layers are trained": {"child_tuning_d", *MERGED, "sara", "lt_sft", *PEFT, *BESIDE},
    "the optimizer's step": {"recadam", "sage", "rose"},
    "the phases of the run": {"lt_sft", "self_distillation"},
    "the weight decay": {"recadam", "sage", "rose", "prior_weight_decay"},
    "which weights are trained": {"top_k", "bitfit", "hft", *MERGED, "sara", "greentrainer", *PEFT, *BESIDE},
    "the weights that are scored": {"ema", "swa", "lookahead"},
    "R3F's noised pass": {"r3f", "r4f"},
}


def refused(first: str, second: str) -> bool:
    both = {first, second}
    if (both & OF_CLASSES and both & OF_NUMBERS) or (both & READ_FEATURES and "levi" in both):
        return True
    return any({first, second} <= names for names in REFUSED.values()) or (first in WRAPPERS and second in MOVERS)


OF_CLASSES = {"asft", "dft", "elr", "focal", "supervised_contrastive"}
OF_NUMBERS = {"fourier_head"}
READ_FEATURES = {"dr_tune", "match_tuning", "mixup", "nmtune", "supervised_contrastive"}  # of which levi needs none
WRAPPERS = {"nmtune", *MERGED, *PEFT}
MOVERS = {"noisytune", "reinit", "asft"}  # of weights, which lora wraps
OF_THEIR_OWN = {"bitfit", *MERGED, "adalora", "vera", "ia3", *BESIDE}  # no weight tensor of the layers trains
NOTHING_LEFT = {pair for name in OF_THEIR_OWN for pair in permutations(("rose", name))}


SAMPLE = {  # each technique before six others
    (first, NAMES[(place + step) % len(NAMES)]) for place, first in enumerate(NAMES) for step in (1, 4, 9, 16, 22, 27)
}
OTHERS = {*permutations(NAMES, 2)} - SAMPLE


@pytest.mark.parametrize("pairs", [SAMPLE, pytest.param(OTHERS, marks=pytest.mark.slow)], ids=["sample", "others"])
@pytest.mark.parametrize("first", NAMES)
def test_every_ordered_pair_runs_or_is_refused(first: str, pairs: set[tuple[str, str]]) -> None:
    for second in NAMES:
        if (first, second) not in pairs:
            continue
        outputs = outputs_for(first, second)
        batch = batch_of(outputs, examples=4)
        chosen = {name: options(name, "bert") for name in (first, second)}
        if refused(first, second):
            with pytest.raises(UserError, match=r"cannot be combined|must be named before"):
                build(chosen)
            continue
        model = tiny("bert", outputs).train()
        before = anatomy(model)
        hooks = compose(build(chosen), model, context_of(batch, updates=2))
        if (first, second) in NOTHING_LEFT:
            with pytest.raises(UserError, match="none of them is trained"):
                hooks.parameter_groups([])
            continue
        losses = list(train(model, hooks, batch, 2))  # without and with a state
        hooks.finish()
        assert all(map(math.isfinite, losses)), (second, losses)
        is_plain = not any(discover()[name][0].unmerged for name in (first, second))
        assert not is_plain or anatomy(model.train()) == before, f"{first} and {second} leave something behind"
        assert all(bool(p.isfinite().all()) for p in model.parameters()), second


def test_refusals_name_both_and_the_reason() -> None:
    with pytest.raises(UserError, match="lora and mixout cannot be combined: each decides on how linear maps are used"):
        build({"lora": {}, "mixout": {}})
    build({"hype_n": {"dropout": None}, "mixout": {}})  # HyPe that leaves the dropout to others
    with pytest.raises(UserError, match="noisytune must be named before lora"):
        build({"lora": {}, "noisytune": {}})


def test_an_order_that_matters_is_said() -> None:
    context = Context()
    compose(build({"noisytune": {}, "mixout": {}}), tiny("bert"), context).finish()
    assert context.warnings == [
        "the order of noisytune and mixout matters: noisytune acts first, mixout on the weights that it leaves"
    ]
    for first, second in permutations(["hype_n", "r_drop", "ema", "noisytune", "prior_weight_decay"], 2):
        assert not orders_that_matter(build({first: {}, second: {}}))


def test_noisytune_comes_before_hype() -> None:
    """Appendix D.2: the weights are perturbed first, whichever is named first; HyPe acts on the perturbed model."""
    models = []
    for names in permutations(["noisytune", "hype_n"]):
        model = tiny("bert")
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        context = Context(seed=5)
        compose(build({name: {} for name in names}), model, context).finish()
        models.append(model)
    for (name, one), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other), name
        draw = Context(seed=5).noise("noisytune").uniform(before[name], name)
        moves = name.startswith("bert.") and before[name].numel() > 1
        expected = perturb_weight(before[name], draw, NoisyTune().strength) if moves else before[name]
        assert torch.equal(one, expected), name


@pytest.mark.parametrize("order", [("hype_n", "child_tuning_d"), ("child_tuning_d", "hype_n")])
def test_child_tuning_has_hype_in_the_forward_pass(order: tuple[str, str]) -> None:
    """Appendix D.2. Noise acts in training; the mask still is that of the child network, and only that moves."""
    batch = batch_of(2)
    model = still(tiny("bert", 2))
    seen: list[Any] = []
    hook = encoder_layers(model)[1].register_forward_hook(lambda m, args, output: seen.append(output.detach().clone()))
    hooks = compose(build({"hype_n": {"scale": 0.5}, "child_tuning_d": {}}), model, context_of(batch))
    seen.clear()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    list(train(model, hooks, batch, 2, lr=0.0))  # the same weights twice: only the noise differs
    assert not torch.equal(seen[0], seen[1])
    hook.remove()
    hooks.finish()

    moved = still(tiny("bert", 2))
    chosen = {name: {"scale": 0.5} if name == "hype_n" else {} for name in order}
    hooks = compose(build(chosen), moved, context_of(batch))
    list(train(moved, hooks, batch, 1))
    hooks.finish()
    stepped = torch.cat(
        [(p != before[name] * (1 - 3e-3 * 0.01)).flatten() for name, p in moved.named_parameters() if ".layer." in name]
    )
    assert float(stepped.double().mean()) == pytest.approx(0.3, abs=0.01), "reserve_p of the entries take a step"


def test_the_fisher_pass_sees_what_is_named_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named first, Child-Tuning-D measures the plain model; named second, the model with HyPe's noise."""
    informations: list[list[torch.Tensor]] = []
    plain = child_tuning_d.child_network
    monkeypatch.setattr(
        child_tuning_d, "child_network", lambda fisher, p: informations.append(fisher) or plain(fisher, p)
    )
    batch = batch_of(2)
    for names in (["child_tuning_d"], ["child_tuning_d", "hype_n"], ["hype_n", "child_tuning_d"]):
        model = still(tiny("bert", 2))
        compose(build({name: {"scale": 0.5} if name == "hype_n" else {} for name in names}), model, context_of(batch))
    assert all(torch.equal(a, b) for a, b in zip(informations[0], informations[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(informations[0], informations[2], strict=True))
