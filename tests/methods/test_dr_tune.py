"""DR-Tune: the released code's calibration, losses, gradients and banks; how the bank is filled and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from hype_bench.contract.compose import compose
from hype_bench.contract.objective import forward_of
from hype_bench.methods.dr_tune import DRTune, calibrated, rotated
from hype_bench.testing.tiny import batch_of, context_of, still, tiny
from tests.methods.toys import ToyEncoder, close, hooked, one_backward, tensor

WHEN = ["iteration_0_with_rotation", "iteration_1_without"]


@pytest.mark.parametrize("when", WHEN)
def test_calibration(when: str, parity: Callable[[str], Any]) -> None:
    case = parity("dr_tune")
    bank = {name: tensor(case["bank"][name]) for name in ("pretrained", "downstream")}
    close(rotated(*(F.normalize(features, dim=-1) for features in bank.values())), case["rotated"])
    norm = tensor(case["batch"]["downstream"]).norm(dim=-1).mean()
    labels, weight = torch.tensor(case["bank"]["labels"]), tensor(case["head_weight"])
    close(
        calibrated(**bank, labels=labels, weight=weight, norm=norm, rotates=when == WHEN[0]), case[when]["calibrated"]
    )


@pytest.mark.parametrize("bank_weight", [None, 0.5])
def test_two_updates(bank_weight: float | None, parity: Callable[[str], Any]) -> None:
    """The encoder is a table of features, and moves from the pre-trained ones to the downstream ones."""
    case = parity("dr_tune")
    batch, bank = case["batch"], case["bank"]
    model: Any = ToyEncoder(batch["pretrained"], [], case["head_weight"], case["head_bias"])
    model.train()
    inputs = {"input_ids": torch.arange(4)[:, None], "labels": torch.tensor(batch["labels"])}
    method = DRTune(bank=case["bank_size"], bank_weight=bank_weight)
    hooks = hooked(method, model, batches=lambda size: [inputs])
    state = hooks._hooks[0].loss.__self__
    state.start.keep()
    model.encoder.embeddings.weight.data = tensor(batch["downstream"])
    for when in WHEN:
        state.pretrained, state.downstream = tensor(bank["pretrained"]), tensor(bank["downstream"])
        state.labels, state.oldest, expected = torch.tensor(bank["labels"]), bank["pointer"], case[when]
        model.zero_grad()
        loss = one_backward(hooks, model, inputs)
        if bank_weight is None:
            close(loss, expected["loss"])
            close(model.encoder.embeddings.weight.grad, expected["grad_features"])
            close(model.classifier.weight.grad, expected["grad_head_weight"])
            close(model.classifier.bias.grad, expected["grad_head_bias"])
        else:
            close(loss, expected["loss_batch_only"] + bank_weight * expected["loss_bank_only"])
        for name in ("pretrained", "downstream"):
            close(getattr(state, name), expected["bank_after"][name])
        assert state.labels.tolist() == expected["bank_after"]["labels"]
        assert state.oldest == expected["bank_after"]["pointer"]
        one_backward(hooks, model, inputs)  # another pass over the batch
        assert state.oldest == expected["bank_after"]["pointer"]
        hooks.after_step(None)  # type: ignore[arg-type]


def test_the_bank_is_filled_from_the_training_data_and_goes_round() -> None:
    model, batch = still(tiny("roberta")), batch_of(3)
    hooks = compose({"dr_tune": DRTune(bank=6)}, model, context_of(batch))
    state: Any = hooks._hooks[0].loss.__self__
    assert state.labels.tolist() == batch["labels"][:6].tolist()
    assert not torch.equal(state.pretrained, state.downstream)  # the head's own layer lies between them
    hooks.loss(batch, forward_of(model))
    assert state.labels.tolist() == batch["labels"][2:].tolist()
    assert state.oldest == 0
    hooks.finish()


def test_a_class_with_one_row_moves_onto_it_and_a_class_without_moves_nothing() -> None:
    pretrained, downstream = torch.eye(3), torch.eye(3).roll(1, 0)
    labels, norm = torch.tensor([0, 2, 2]), torch.tensor(2.0)
    result = calibrated(pretrained, downstream, labels, torch.eye(3), norm, rotates=False)
    torch.testing.assert_close(result[0], 2 * downstream[0])
    assert result.isfinite().all()
