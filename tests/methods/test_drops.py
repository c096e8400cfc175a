"""Word dropout, LayerDrop and DropHead: given draws, on small encoders and in the released codes' numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hype_bench.methods.drop_head import DropHead, drop_heads, rate
from hype_bench.methods.layer_drop import LayerDrop, kept_branch
from hype_bench.methods.word_dropout import WordDropout
from hype_bench.options import UserError
from hype_bench.testing.tiny import tiny
from tests.methods.toys import TanhLayer, ToyEncoder, close, embedded_ids, given_noise, hooked, tensor


class NormedLayer(TanhLayer):
    def forward(self, hidden: Tensor) -> Tensor:
        return F.layer_norm(super().forward(hidden), hidden.shape[-1:])


def test_layer_drop(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity("layer_drop")
    given_noise(monkeypatch, lambda like, site: tensor(case["uniform"][int(site.split()[1])]))
    table, ids = embedded_ids(case["x"])
    layers = [NormedLayer(layer["A"], layer["a"], residual=True) for layer in case["layers"]]
    model = ToyEncoder(table, layers, [[1.0, 0.0, 0.0]], [0.0])

    def encoded() -> Tensor:
        hidden = model.encoder.embeddings(ids)
        for layer in layers:
            hidden = layer(hidden)
        return hidden

    hooks = hooked(LayerDrop(p=case["p"]), model)
    for _ in range(2):  # a layer is first left out before its form is known, and then without running
        model.zero_grad()
        output = encoded()
        close(output, case["output"])
        (output * tensor(case["upstream"])).sum().backward()
        for layer, expected in zip(layers, case["grads_A"], strict=True):
            gradient = layer.map.weight.grad
            close(torch.zeros_like(layer.map.weight) if gradient is None else gradient, expected)
    model.eval()
    close(encoded(), case["output_eval"])
    hooks.finish()
    close(encoded(), case["output_eval"])


def test_drop_head(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function, and at the map that joins the heads of an encoder's attention."""
    case = parity("drophead")
    attended, keep = tensor(case["attention_output"]), torch.tensor(case["keep"]).bool()
    owners = torch.arange(len(keep))[:, None].expand(attended.shape[:2])
    close(drop_heads(attended, keep, owners), case["output"])
    given_noise(monkeypatch, lambda like, site: keep.double())
    model, seen = Attention(case["heads"]), []
    hooks = hooked(DropHead(p=case["p"]), model)
    model.attention.output.dense.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    model(input_ids=torch.ones(attended.shape[:2], dtype=torch.long), hidden=attended)
    close(seen[0], case["output"])
    hooks.finish()


def test_drop_head_in_the_form_of_a_v(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head with a draw of 0.15 is dropped at the updates whose probability is larger."""
    assert [rate(0.4, done, 6, 2) for done in range(7)] == pytest.approx([0.4, 0.2, 0.0, 0.1, 0.2, 0.3, 0.4])
    given_noise(monkeypatch, lambda like, site: tensor([[0.15, 0.9, 0.9, 0.9]]))
    model: Any = Attention(4)
    hooks = hooked(DropHead(p=0.4, schedule="v"), model, updates=6, warmup=2)
    seen: list[Tensor] = []
    model.attention.output.dense.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    for _ in range(6):
        model(input_ids=torch.ones(1, 1, dtype=torch.long), hidden=torch.ones(1, 1, 8, dtype=torch.float64))
        hooks.after_step(None)  # type: ignore[arg-type]
    assert [int((attended > 0).sum()) // 2 for attended in seen] == [3, 3, 4, 4, 3, 3]
    hooks.finish()


def test_stochastic_depth(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the formula; and in an encoder, whose lowest layer is whole and whose top layer has the rate p."""
    case = parity("layer_drop")
    depth = case["stochastic_depth"]
    branch, keep = tensor(depth["branch"]), torch.tensor(depth["keep_per_example"]).bool()
    owners = torch.tensor([[0, 0], [1, 1]])
    close(tensor(case["x"]) + kept_branch(branch, keep, owners, depth["p"]), depth["output"])
    close(kept_branch(branch, ~keep, owners, 0.5), (2 * branch).tolist())
    given_noise(monkeypatch, lambda like, site: torch.tensor([0.3, 0.6]))
    model = tiny("bert").train()
    layers, ratios = model.bert.encoder.layer, dict[tuple[int, str], list[float]]()
    hooks = hooked(LayerDrop(p=0.5, unit="branch"), model)

    def compare(place: tuple[int, str], module: Any, args: Any, output: Tensor) -> None:
        plain = F.linear(args[0], module.weight, module.bias)
        ratios[place] = (output / plain).detach().mean((1, 2)).tolist()

    for index, layer in enumerate(layers):
        for part in ("attention.output.dense", "output.dense"):
            layer.get_submodule(part).register_forward_hook(partial(compare, (index, part)))
    model(input_ids=torch.arange(5, 13).view(2, 4))
    for (index, _), kept in ratios.items():
        expected = {0: [1.0, 1.0], 1: [4 / 3, 4 / 3], 2: [0.0, 2.0]}[index]  # rates 0, 0.25 and 0.5
        assert kept == pytest.approx(expected, abs=1e-5)
    assert len(ratios) == 6
    hooks.finish()
    with pytest.raises(UserError, match="unit=branch is not available for xlnet"):
        hooked(LayerDrop(unit="branch"), tiny("xlnet"))


class Attention(nn.Module):
    """An encoder of one layer, which is the map behind its heads."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        layer = nn.Module()
        layer.attention = nn.Module()
        layer.attention.output = nn.Module()
        layer.attention.output.dense = nn.Linear(8, 8, dtype=torch.float64)
        self.attention, self.layer = layer.attention, nn.ModuleList([layer])
        self.config = SimpleNamespace(model_type="toy", num_hidden_layers=1, num_attention_heads=heads, num_labels=2)

    @property
    def base_model(self) -> nn.Module:
        return self

    def forward(self, input_ids: Tensor, hidden: Tensor) -> Any:
        return self.attention.output.dense(hidden)


def test_where_all_heads_would_be_dropped_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    given_noise(monkeypatch, lambda like, site: torch.zeros_like(like))
    model = tiny("bert").train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ids = torch.arange(5, 12)[None]
    plain = model(input_ids=ids).logits
    hooks = hooked(DropHead(p=0.5), model)
    assert torch.equal(model(input_ids=ids).logits, plain)
    hooks.finish()


@pytest.mark.parametrize("spare_ends", [True, False])
def test_word_dropout(spare_ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two examples, the second padded; draws below p drop a word, but not the ends if they are spared."""
    draws = tensor([[0.1, 0.1, 0.9, 0.1], [0.9, 0.1, 0.1, 0.9]])[..., None]
    given_noise(monkeypatch, lambda like, site: draws)
    model = ToyEncoder([[float(i), 1.0] for i in range(8)], [], [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
    hooks = hooked(WordDropout(p=0.3, spare_ends=spare_ends), model)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    logits = model(input_ids=torch.arange(8).view(2, 4), attention_mask=mask).logits
    kept = [[1, 0, 1, 1], [1, 0, 1, 0]] if spare_ends else [[0, 0, 1, 0], [1, 0, 0, 0]]
    words = [[0, 1, 2, 3], [4, 5, 6, 7]]
    sums = [sum(w * k for w, k in zip(*row, strict=True)) for row in zip(words, kept, strict=True)]
    close(logits, [[sums[0] / 4, sum(kept[0]) / 4], [sums[1] / 3, sum(kept[1]) / 3]])
    hooks.finish()


def test_words_may_become_the_mask_token(monkeypatch: pytest.MonkeyPatch) -> None:
    given_noise(monkeypatch, lambda like, site: tensor([[0.1, 0.9, 0.1]])[..., None])
    model = ToyEncoder([[float(i), 1.0] for i in range(8)], [], [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
    method = WordDropout(p=0.3, replace="mask", spare_ends=False)
    hooks = hooked(method, model, tokenizer=SimpleNamespace(mask_token_id=6))
    logits = model(input_ids=torch.tensor([[0, 1, 2]])).logits
    close(logits, [[13 / 3, 1.0]])
    hooks.finish()
    with pytest.raises(UserError, match="needs a tokenizer with a mask token"):
        hooked(method, model, tokenizer=SimpleNamespace(mask_token_id=None))
