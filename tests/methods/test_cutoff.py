"""Cutoff: the released code's masks, cut embeddings, divergence and gradients."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.methods.cutoff import Cutoff, consistency, cut_features, cut_positions
from tests.methods.toys import TanhLayer, ToyEncoder, close, embedded_ids, given_noise, hooked, tensor


def positions_drawn(case: Any, form: str) -> Tensor:
    """Draws that lead to the positions or entries of the file."""
    lengths = tensor(case["attention_mask"]).sum(1)
    draw = torch.zeros(2, 8, dtype=torch.float64)
    for row, length in enumerate(lengths.tolist()):
        if form == "span":
            draw[row, 0] = (case[form]["starts"][row] + 0.5) / (length - case[form]["cut"][row])
        else:
            for place, chosen in enumerate(case[form]["zeroed"][row]):
                draw[row, place] = (chosen + 0.5) / length
    return draw


@pytest.mark.parametrize("form", ["span", "token"])
def test_positions(form: str, parity: Callable[[str], Any]) -> None:
    case = parity("cutoff")
    mask = torch.tensor(case["attention_mask"]).bool()
    cut = cut_positions(positions_drawn(case, form), mask, case["ratio"], form)
    close(tensor(case["embeddings"]).masked_fill(cut[..., None], 0.0), case[form]["embeddings"])
    assert (mask & ~cut).int().tolist() == case[form]["mask"]


def test_features(parity: Callable[[str], Any]) -> None:
    case = parity("cutoff")
    cut = cut_features((tensor(case["feature"]["zeroed"]) + 0.5) / 10, 10)
    close(tensor(case["embeddings"]).masked_fill(cut[:, None], 0.0), case["feature"]["embeddings"])


def test_divergences_and_the_loss(parity: Callable[[str], Any]) -> None:
    """The total of the released code, through the technique's hooks."""
    case = parity("cutoff")
    logits = [tensor(case[key]).requires_grad_() for key in ("clean_logits", "cut_logits")]
    close(consistency(logits[0], logits[1], "jensen_shannon", False).detach(), case["js_true"])
    close(consistency(logits[0], logits[1], "official", False).detach(), case["js_official"])
    outputs = iter(logits)
    model = ToyEncoder([[0.0]] * 9, [TanhLayer([[1.0]], [0.0])], [[1.0]] * 3, [0.0] * 3)
    batch = {"input_ids": torch.zeros(4, 5, dtype=torch.long), "labels": torch.tensor(case["labels"])}
    hooks = hooked(Cutoff(divergence="official"), model)
    loss, _ = hooks.loss(batch, lambda batch: SimpleNamespace(logits=next(outputs)))
    close(loss.detach(), case["total_official"])
    gradients = torch.autograd.grad(loss, logits)
    close(gradients[0], case["grad_clean_logits"])
    close(gradients[1], case["grad_cut_logits"])


@pytest.mark.parametrize("form", ["span", "token", "feature"])
def test_the_second_pass_meets_what_is_cut(
    form: str, parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small encoder: zeros where the file has them, the altered mask, and a clean first pass."""
    case = parity("cutoff")
    draw = (tensor(case["feature"]["zeroed"]) + 0.5) / 10 if form == "feature" else positions_drawn(case, form)
    given_noise(monkeypatch, lambda like, site: draw)
    table, ids = embedded_ids(case["embeddings"])
    entering: list[Tensor] = []
    masks: list[Any] = []
    layer = torch.nn.Identity()
    layer.weight = torch.nn.Parameter(torch.zeros(1))
    model = ToyEncoder(table, [layer], torch.eye(10)[:3].tolist(), [0.0] * 3)
    hooks = hooked(Cutoff(form=form, ratio=case["ratio"]), model)
    layer.register_forward_hook(lambda module, args, output: entering.append(output.detach()))

    def forward(batch: Any) -> Any:
        masks.append(batch["attention_mask"].int().tolist())
        return model(**{key: value for key, value in batch.items() if key != "labels"})

    batch = {"input_ids": ids, "attention_mask": torch.tensor(case["attention_mask"]), "labels": torch.tensor([0, 2])}
    hooks.loss(batch, forward)
    close(entering[0], case["embeddings"])
    close(entering[1], case[form]["embeddings"])
    assert masks == [case["attention_mask"], case[form]["mask"]]


def test_masked_tokens_are_attended_to_and_special_ones_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four tokens that are not special, half are masked: the second and the last of them."""
    draws = torch.zeros(1, 6, dtype=torch.float64)
    draws[0, :2] = tensor([0.3, 0.8])
    given_noise(monkeypatch, lambda like, site: draws)
    layer = TanhLayer([[1.0]], [0.0])
    model = ToyEncoder([[0.0]] * 9, [layer], [[1.0]] * 3, [0.0] * 3)
    tokenizer = SimpleNamespace(mask_token_id=4, all_special_ids=[0, 1, 4])
    hooks = hooked(Cutoff(form="token", ratio=0.5, replace="mask", spare_special=True), model, tokenizer=tokenizer)
    passes: list[Any] = []

    def forward(batch: Any) -> Any:
        passes.append(batch["input_ids"].tolist())
        assert batch.get("attention_mask", torch.ones(1, 6)).all()
        return model(batch["input_ids"])

    hooks.loss({"input_ids": torch.tensor([[0, 5, 6, 7, 8, 1]]), "labels": torch.tensor([1])}, forward)
    assert passes == [[[0, 5, 6, 7, 8, 1]], [[0, 5, 4, 7, 4, 1]]]
    with pytest.raises(ValueError, match="form=feature cuts entries of all tokens"):
        Cutoff(form="feature", replace="mask")
