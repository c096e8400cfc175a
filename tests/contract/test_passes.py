"""Passes that are compared: with the same dropout masks and no noise they are equal; if always, it is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.attach import attach
from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.objective import Batch, forward_of, objective
from hype_bench.contract.registry import build
from hype_bench.models.dropout import install_bulk_dropout
from hype_bench.models.packing import attach_packing, compute_every_token
from hype_bench.testing.tiny import batch_of, still, tiny
from tests.methods.noise_by_hand import packed, unequal

# Every technique whose passes share dropout masks, with no noise to tell them apart, and its weight of the task's loss.
WITHOUT_NOISE: dict[str, tuple[dict[str, Any], float]] = {
    "lnsr": ({"scale": 0.0}, 1.0),
    "smart": ({"radius": 0.0, "dropout_masks": "shared"}, 1.0),
    "r3f": ({"scale": 0.0, "dropout_masks": "shared"}, 1.0),
    "r4f": ({"scale": 0.0, "dropout_masks": "shared"}, 1.0),
    "noisefit": ({"noise_std": 0.0, "layers": 2, "dropout_masks": "shared"}, 0.5),
    "sam": ({"rho": 0.0}, 1.0),
    "freelb": ({"steps": 2, "learning_rate": 0.0}, 1.0),
}
WHOLE_TOP_LAYER = ("lnsr", "noisefit")  # look at it, so that its masks are those of all tokens


def update(chosen: dict[str, Any], batch: Batch, saved: bool, whole: bool) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one update as the loop computes it on a CPU, with dropout of 0.1."""
    model, context = tiny("bert", 3).train(), Context(seed=4)
    if saved:
        model.activation_checkpointing_enable({"use_reentrant": False, "context_fn": context.checkpointed})
    if "packing" in batch:
        attach_packing(model)
    install_bulk_dropout(model)
    if whole:
        compute_every_token(model)
    hooks = compose(build(chosen), model, context)
    torch.manual_seed(6)

    def backward(pieces: list[Batch]) -> Tensor:
        loss = hooks.loss(pieces[0], forward_of(model), objective)[0]
        loss.backward()
        return loss.detach()

    loss = float(hooks.backward([batch], backward))
    hooks.finish()
    return loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("saved", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("name", WITHOUT_NOISE)
def test_without_noise_nothing_is_added_with_dropout_on(name: str, layout: str, saved: bool) -> None:
    batch = packed(unequal()) if layout == "packed" else unequal()
    options, share = WITHOUT_NOISE[name]
    plain, gradients = update({}, batch, False, whole=name in WHOLE_TOP_LAYER)
    loss, of_method = update({name: options}, batch, saved, whole=False)
    if name == "r4f":  # divides the projection; its two passes have two estimates of the singular value
        without, _ = update({name: options | {"weight": 0.0}}, batch, saved, whole=False)
        assert loss == pytest.approx(without, abs=1e-6)
        return
    assert loss == share * plain
    for key, gradient in gradients.items():
        torch.testing.assert_close(
            of_method[key], share * gradient, atol=1e-7, rtol=1e-5, msg=lambda m, k=key: f"{k}: {m}"
        )


@pytest.mark.parametrize("name", ["smart", "r3f", "noisefit"])
def test_with_masks_of_their_own_passes_differ_by_dropout(name: str) -> None:
    """As released; the page says so."""
    options, share = WITHOUT_NOISE[name]
    plain, _ = update({}, unequal(), False, whole=False)
    loss, _ = update({name: options | {"dropout_masks": "own"}}, unequal(), False, whole=False)
    assert loss > share * plain + 1e-5


def test_masks_of_the_next_update_are_fresh() -> None:
    """Also where a technique within makes two passes, of which the shared masks are the first one's."""
    model, draws = tiny("bert").train(), []
    dropout = model.bert.embeddings.dropout
    dropout.register_forward_hook(lambda module, args, output: draws.append(output == 0))
    with attach(build({"lnsr": {}, "r_drop": {}}), model) as attached:
        for _ in range(2):
            attached.loss(batch_of(3))
    first, second, again, *following = draws
    assert torch.equal(again, first)
    assert not any(torch.equal(one, other) for one in (first, second) for other in following)


@pytest.mark.parametrize("updates", [2, 12])
@pytest.mark.parametrize(("name", "options"), [("r_drop", {}), ("rose", {"kl_dropout": 0.0, "variant": "first"}),
                                              *((n, o) for n, (o, _) in WITHOUT_NOISE.items()
                                                if n in ("lnsr", "smart", "r3f", "noisefit"))])  # fmt: skip
def test_passes_that_are_always_equal_are_told_once(name: str, options: dict[str, Any], updates: int) -> None:
    model, batch = still(tiny("bert")), batch_of(3)

    def loop() -> list[str]:
        with attach(build({name: options}), model) as attached:
            attached.parameter_groups([])
            for _ in range(updates):
                attached.backward(batch)
        return attached.context.warnings

    with pytest.warns(UserWarning, match=name) as announced:
        sentences = loop()
    (warning,) = [sentence for sentence in sentences if "cannot act" not in sentence]  # ROSE's step is left out
    assert warning.startswith(name)
    assert f"first {min(updates, 10)} comparisons" in warning
    assert [str(one.message) for one in announced] == sentences


@pytest.mark.parametrize("chosen", [{"r_drop": {}}, {"hype_n": {"scale": 1e-3}, "r_drop": {}}])
def test_passes_that_differ_are_not(chosen: dict[str, Any]) -> None:
    model = tiny("bert").train() if len(chosen) == 1 else still(tiny("bert"))
    with attach(build(chosen), model) as attached:
        for _ in range(11):
            attached.loss(batch_of(3))
    assert not attached.context.warnings
