"""LEVI: numbers of this project's own reading, alone and driven; what it leaves, and what it cannot have beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hype_bench.contract.compose import compose
from hype_bench.contract.objective import task_loss
from hype_bench.contract.registry import build
from hype_bench.methods.levi import LEVI, adapted, mean_of_losses, pooled
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, logits_of, tiny
from tests.methods.toys import ToyEncoder, close, hooked, one_backward, tensor

LOSSES = {"of_mean": "loss_of_mean", "mean_of": "mean_of_losses"}


class Given(nn.Module):
    """Whatever goes in, this comes out."""

    def __init__(self, values: Any) -> None:
        super().__init__()
        self.values = nn.Parameter(tensor(values))

    def forward(self, *args: Any) -> Tensor:
        return self.values


def toy(case: Any, loss: str) -> tuple[Any, Any]:
    """An encoder whose layers put out the views of one token, and LEVI with the case's weights on it."""
    views, classes = case["views"], len(case["logits"][0])
    layers = [Given([[state] for state in view]) for view in views]
    model: Any = ToyEncoder(views[0], layers, [[0.0] * 3] * classes, [0.0] * classes)
    model.config.hidden_size, model.config.vocab_size = 3, len(views[0])
    hidden, width = len(case["adapting_layers"][0]["W1"]), len(case["task_feature"][0])
    hooks = hooked(LEVI(views=len(views), task_width=4, hidden=hidden, loss=loss), model)
    model.levi.task = Given(case["task_feature"])
    for first, second, weights in zip(model.levi.first, model.levi.second, case["adapting_layers"], strict=True):
        first.weight.data, first.bias.data = tensor(weights["W1"]), tensor(weights["b1"])
        second.weight.data, second.bias.data = tensor(weights["W2"]), tensor(weights["b2"])
        assert first.weight.shape == (hidden, 3 + width)
    return model, hooks


@pytest.mark.parametrize("loss", LOSSES)
def test_the_numbers_of_the_reading(loss: str, parity: Callable[[str], Any]) -> None:
    case = parity("levi")
    labels, feature = torch.tensor(case["labels"]), tensor(case["task_feature"]).requires_grad_()
    weights = [
        [tensor(one[key]).requires_grad_() for key in ("W1", "b1", "W2", "b2")] for one in case["adapting_layers"]
    ]
    logits = [adapted(tensor(view), feature, *four) for view, four in zip(case["views"], weights, strict=True)]
    mean = torch.stack(logits).mean(0)
    close(torch.stack(logits).detach(), case["view_logits"])
    close(mean.detach(), case["logits"])
    value = task_loss(mean, labels) if loss == "of_mean" else mean_of_losses(logits, labels)
    close(value.detach(), case[LOSSES[loss]])
    value.backward()
    close(feature.grad, case["grad_task_feature"][LOSSES[loss]])
    for four, expected in zip(weights, case["grad_adapting_layers"][LOSSES[loss]], strict=True):
        for weight, key in zip(four, ("W1", "b1", "W2", "b2"), strict=True):
            close(weight.grad, expected[key])


@pytest.mark.parametrize("loss", LOSSES)
def test_driven_it_computes_them(loss: str, parity: Callable[[str], Any]) -> None:
    case = parity("levi")
    model, hooks = toy(case, loss)
    batch = {"input_ids": torch.arange(4)[:, None], "labels": torch.tensor(case["labels"])}
    close(one_backward(hooks, model, batch), case[LOSSES[loss]])
    close(model.levi.task.values.grad, case["grad_task_feature"][LOSSES[loss]])
    expected = case["grad_adapting_layers"][LOSSES[loss]]
    for first, second, gradients in zip(model.levi.first, model.levi.second, expected, strict=True):
        for weight, key in ((first.weight, "W1"), (first.bias, "b1"), (second.weight, "W2"), (second.bias, "b2")):
            close(weight.grad, gradients[key])
    close(model.eval()(batch["input_ids"]).logits.detach(), case["logits"])


def test_pooling_leaves_padding_out() -> None:
    states, mask = tensor([[[1.0], [2.0], [6.0]], [[9.0], [3.0], [5.0]]]), torch.tensor([[1, 1, 0], [0, 1, 1]])
    for how, expected in {"first": [[1.0], [3.0]], "last": [[2.0], [5.0]], "mean": [[1.5], [4.0]]}.items():
        close(pooled(states, mask, how), expected)


@pytest.mark.parametrize("pooling", ["token", "mean"])
@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_padding_changes_no_prediction(family: str, pooling: str) -> None:
    """Of XLNet on the left, where it pads."""
    batch, model = batch_of(3), tiny(family)
    compose({"levi": LEVI(pooling=pooling, task_width=32, hidden=16)}, model, context_of(batch))
    left = family == "xlnet"
    more = {
        name: nn.functional.pad(batch[name], (2, 0) if left else (0, 2)) for name in ("input_ids", "attention_mask")
    }
    torch.testing.assert_close(logits_of(model.eval(), batch | more), logits_of(model, batch), atol=1e-5, rtol=1e-5)


def test_a_frozen_encoder_stays_and_the_old_head_always_does() -> None:
    for encoder in ("trained", "frozen"):
        batch, model = batch_of(3), tiny("bert")
        compose({"levi": LEVI(encoder=encoder, task_width=32)}, model, context_of(batch))
        trained = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
        assert trained == ({"levi", "bert"} if encoder == "trained" else {"levi"})
        assert not any(p.requires_grad for p in model.bert.pooler.parameters())


def test_options_that_do_not_fit() -> None:
    for method, complaint in ((LEVI(views=4), "levi.views must be at most 3"), (LEVI(task_width=30), "multiple of 4")):
        with pytest.raises(UserError, match=complaint):
            compose({"levi": method}, tiny("bert"), context_of(batch_of(3)))
    with pytest.raises(UserError, match="mixup and levi cannot be combined: one acts on the head that the other repl"):
        build({"levi": {}, "mixup": {}})
    build({"levi": {}, "label_smoothing": {}})
    with pytest.raises(UserError, match="each decides on the objective"):
        build({"levi": {"loss": "mean_of"}, "label_smoothing": {}})
