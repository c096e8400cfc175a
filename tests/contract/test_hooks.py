"""Hooks of a technique's own making: collected from an object, absent or present, and mistakes in them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from hype_bench.contract import Batch, Context, Exclusive, Forward, Hooks, Loss, Method
from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.objective import forward_of
from hype_bench.contract.registry import build, discover
from hype_bench.models.layers import encoder_layers
from hype_bench.models.packing import attach_packing
from hype_bench.testing.tiny import batch_of, context_of, options, outputs_for, tiny
from tests.methods.noise_by_hand import packed, unequal


@dataclass
class Scale:
    factor: float
    steps: int = 0

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        value, output = inner(batch, forward)
        return self.factor * value, output

    def after_step(self, optimizer: Any) -> None:
        self.steps += 1


def test_methods_of_a_state_are_its_hooks() -> None:
    state = Scale(3.0)
    hooks = Hooks.of(state)
    assert {f.name for f in fields(Hooks) if getattr(hooks, f.name) is not None} == {"loss", "after_step"}
    composed, output = Composed([hooks]), object()
    loss, returned = composed.loss({}, lambda batch: None, lambda batch, forward: (torch.tensor(2.0), output))
    composed.after_step(None)  # type: ignore[arg-type]
    assert float(loss) == 6
    assert returned is output
    assert state.steps == 1


def test_a_misspelt_hook_is_an_error() -> None:
    class Misspelt:
        def befor_step(self, optimizer: Any) -> None: ...

    with pytest.raises(TypeError, match="befor_step is no hook; there are after_step, backward, before_step"):
        Hooks.of(Misspelt())


def test_without_hooks_everything_passes_through() -> None:
    composed, groups = Composed(), [{"params": [], "lr": 1.0}]
    assert composed.parameter_groups(groups) is groups
    assert not composed.has_backward
    assert float(composed.backward([{}], lambda batches: torch.tensor(5.0))) == 5
    composed.finish()


def test_what_a_technique_decides_on_is_a_member_of_an_enum() -> None:
    class Typo(Method):
        exclusive = frozenset({cast(Any, "the gradient msak")})

    with pytest.raises(TypeError, match="'the gradient msak' among what a technique decides on"):
        compose({"typo": Typo()}, tiny("bert"), Context())
    assert len({what.value for what in Exclusive}) == len(Exclusive)


@pytest.mark.parametrize("whole", [False, True])
def test_a_technique_that_needs_every_token_gets_it_until_it_ends(whole: bool) -> None:
    class Reader(Method):
        needs_every_token = whole

    model, batch, lengths = tiny("bert").train(), packed(unequal()), []
    attach_packing(model)
    encoder_layers(model)[-1].register_forward_hook(lambda module, args, output: lengths.append(output.shape[1]))
    hooks = compose({"reader": Reader()}, model, Context())
    forward_of(model)(batch)
    hooks.finish()
    forward_of(model)(batch)
    examples, tokens = len(batch["labels"]), batch["input_ids"].shape[1]
    assert lengths == [tokens if whole else examples, examples]


def test_a_flag_holds_for_the_passes_within() -> None:
    context = Context()
    noisy = context.flag(False)
    with noisy.set(True), context.hidden_noise.set(False):
        begin, recompute = context.checkpointed()
        assert noisy.value
    assert not noisy.value
    assert context.hidden_noise.value
    with begin, recompute:
        assert noisy.value
        assert not context.hidden_noise.value
        assert context.recomputing
    assert not noisy.value
    assert not context.recomputing


def test_the_output_is_that_of_the_first_clean_pass() -> None:
    """Of techniques that make several: what one around them compares with."""
    for name in discover():
        model, batch = tiny("bert", outputs_for(name)).train(), batch_of(outputs_for(name))
        hooks = compose(build({name: options(name, "bert")}), model, context_of(batch))
        outputs: list[Any] = []

        def forward(inputs: Batch, model: Any = model, outputs: list[Any] = outputs) -> Any:
            outputs.append((forward_of(model)(inputs), model.training))
            return outputs[-1][0]

        _, output = hooks.loss(batch, forward)
        assert output is next(passed for passed, training in outputs if training), name
        hooks.finish()
