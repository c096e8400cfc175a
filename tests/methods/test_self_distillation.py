"""Self-distillation: the released code's second term; what is masked; the phases, on a stub and in the real loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from hype_bench.contract.compose import compose
from hype_bench.contract.objective import forward_of
from hype_bench.contract.registry import build
from hype_bench.methods import self_distillation
from hype_bench.methods.self_distillation import SelfDistillation, distillation, masked
from hype_bench.models.checkpoint import locate
from hype_bench.models.masked_lm import MaskedLMHead
from hype_bench.options import UserError
from hype_bench.testing.composed import configured, loaded
from hype_bench.testing.tiny import batch_of, context_of, still, tiny
from hype_bench.training.loop import Outcome, fine_tune
from tests.architectures import architecture
from tests.methods.toys import close, hooked, tensor

TOKENIZER = SimpleNamespace(mask_token_id=4, all_special_ids=[], encode=list)


class Table(nn.Module):
    """An encoder that looks up the states of first tokens, as ``transformers`` returns them; logits of 0."""

    def __init__(self, states: Any) -> None:
        super().__init__()
        self.base_model = nn.Embedding.from_pretrained(tensor(states), freeze=False)
        self.base_model.register_forward_hook(lambda module, args, states: BaseModelOutput(last_hidden_state=states))
        self.config, self.device = SimpleNamespace(model_type="toy", num_labels=2), torch.device("cpu")

    def get_input_embeddings(self) -> nn.Module:
        return self.base_model

    def forward(self, input_ids: Tensor) -> Any:
        return SimpleNamespace(logits=0 * self.base_model(input_ids)[0][:, 0, :2])


class Head(nn.Module):
    """Whatever the states are, every chosen word has the same loss."""

    is_pretrained, words, own = True, 3, ()

    def __init__(self, loss: float) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, states: Tensor) -> Tensor:
        others = math.log((math.exp(self.loss) - 1) / 2)
        return torch.full((len(states), 3), others, dtype=torch.float64).scatter(1, torch.arange(3)[:, None], 0.0)


def test_phases(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher is where the first phase ends; the second goes from the start to the student of the file."""
    case = parity("self_distillation")
    close(distillation(tensor(case["student"]), tensor(case["teacher"])), case["distillation"])
    ids = torch.arange(3)[:, None]
    monkeypatch.setattr(self_distillation, "MaskedLMHead", lambda model: Head(case["masked_loss"]))
    monkeypatch.setattr(self_distillation, "check_masked_lm", lambda model: None)
    monkeypatch.setattr(self_distillation, "masked", lambda *args: (ids, ids[:, 0], ids[:, 0]))
    model: Any = Table(torch.zeros(3, 4).tolist())
    model.train()
    hooks = hooked(SelfDistillation(), model, tokenizer=TOKENIZER)
    batch, optimizer = {"input_ids": ids, "labels": torch.tensor([0, 1, 0])}, torch.optim.SGD(model.parameters())
    table = model.base_model.weight

    def loss() -> Tensor:
        return hooks.loss(batch, forward_of(model))[0]

    close(loss().detach(), case["masked_loss"])
    table.data = tensor(case["teacher"])
    hooks.next_phase(optimizer)
    assert not table.any()
    table.data = tensor(case["student"])
    second = loss()
    close(second.detach(), case["total"])
    close(torch.autograd.grad(second, table)[0], case["grad_student"])
    hooks.next_phase(optimizer)
    close(table.detach(), case["student"])
    close(loss().detach(), math.log(2))


def test_what_is_masked() -> None:
    """By hand: the first may not be chosen, the second is masked, the third replaced, the fourth kept, the last not."""
    draws = torch.tensor([[[0.0, 0.0, 0.0], [0.1, 0.79, 0.0], [0.2, 0.85, 0.99], [0.05, 0.95, 0.0], [0.5, 0.0, 0.0]]])
    eligible = torch.tensor([[False, True, True, True, True]])
    ids = torch.tensor([[1, 11, 12, 13, 14]])
    changed, places, labels = masked(ids, eligible, draws, 0.3, mask_token=4, words=20)
    assert changed.tolist() == [[1, 4, 19, 13, 14]]
    assert {int(p): int(y) for p, y in zip(places, labels, strict=True) if y >= 0} == {1: 11, 2: 12, 3: 13}


def test_a_head_of_the_checkpoint_is_used(tmp_path: Any) -> None:
    model = architecture("longformer")
    head = MaskedLMHead(model)
    assert not head.is_pretrained
    assert head.whole.get_output_embeddings().weight is model.get_input_embeddings().weight
    head.whole.__class__(model.config).save_pretrained(tmp_path)
    again = MaskedLMHead(type(model).from_pretrained(tmp_path))
    assert again.is_pretrained


def test_without_a_mask_token_it_is_refused() -> None:
    context = replace(context_of(batch_of(3)), tokenizer=SimpleNamespace(mask_token_id=None))
    with pytest.raises(UserError, match="the tokenizer needs a mask_token"):
        compose({"self_distillation": SelfDistillation()}, still(tiny("bert")), context)


def test_the_loop_runs_three_phases_with_all_words() -> None:
    short = ("task=demo_rte", "training.max_steps=2", "training.learning_rate=1e-3", "training.warmup_steps=0")
    config, outcome = configured("model=tiny_bert", *short), Outcome()
    fine_tune(config, loaded(config), locate(config.model), build({"self_distillation": {}}), outcome)
    assert outcome.updates == 6
    assert outcome.curve[-1]["learning_rate"] == pytest.approx(1e-3 / 2)
    assert "begins with a fresh one" in outcome.warnings[0]
