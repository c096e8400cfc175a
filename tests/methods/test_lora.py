"""LoRA against peft's numbers, its formula with the chain rule by hand, and the released counts of BERT."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, BertConfig

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.objective import forward_of, task_loss
from hype_bench.contract.registry import build
from hype_bench.methods.lora import LoRA
from hype_bench.options import UserError
from hype_bench.testing.tiny import FAMILIES, batch_of, context_of, logits_of, still, tiny, train
from hype_bench.training.optimizer import parameter_groups

LR, DECAY = 3e-3, 0.01  # of tiny.train


def trained(model: Any) -> dict[str, int]:
    return {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}


def wrapped(model: Any) -> dict[str, Any]:
    """The linear maps that have an addition, by the names they have in a plain model."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def factors(module: Any) -> tuple[Tensor, Tensor]:
    return module.lora_A["default"].weight, module.lora_B["default"].weight


@pytest.mark.parametrize("key", ["plain", "rslora"])
def test_published_numbers(key: str, parity: Callable[[str], Any]) -> None:
    """The published map of four inputs and three outputs is the first of a feed-forward part of this size."""
    case, double = parity("lora")[key], torch.float64
    config = BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=3)
    model = AutoModelForSequenceClassification.from_config(config).double().eval()
    plain = model.bert.encoder.layer[0].intermediate.dense
    with torch.no_grad():
        for name, p in plain.named_parameters():
            c = zlib.crc32(f"q.{name}".encode()) % 1000
            p.copy_(torch.sin(torch.arange(p.numel(), dtype=double) + c).view(p.shape))
    x = torch.tensor([[0.1, -0.2, 0.3, 0.4]], dtype=double)
    before = torch.tensor(case["output_at_init"], dtype=double)
    torch.testing.assert_close(plain(x).detach(), before, atol=1e-10, rtol=0)

    method = LoRA(rank=2, alpha=16.0, target="all", rank_stabilized=key == "rslora")
    hooks = compose({"lora": method}, model, Context(seed=3))
    module = model.bert.encoder.layer[0].intermediate.dense
    a, b = factors(module)
    assert case["B_zero_at_init"]
    assert not b.any()
    torch.testing.assert_close(module(x).detach(), before, atol=1e-10, rtol=0)
    with torch.no_grad():
        a.copy_(0.1 * torch.cos(torch.arange(8, dtype=double)).view(2, 4))
        b.copy_(0.1 * torch.cos(torch.arange(6, dtype=double) + 5).view(3, 2))
    after = torch.tensor(case["output_after"], dtype=double)
    torch.testing.assert_close(module(x).detach(), after, atol=1e-10, rtol=0)
    hooks.finish()
    merged = model.bert.encoder.layer[0].intermediate.dense
    assert type(merged) is torch.nn.Linear
    torch.testing.assert_close(merged(x).detach(), after, atol=1e-10, rtol=0)
    expected = torch.tensor(case["merged_weight"], dtype=double)
    torch.testing.assert_close(merged.weight.detach(), expected, atol=1e-10, rtol=0)


def test_defaults_are_the_librarys(parity: Callable[[str], Any]) -> None:
    from peft import LoraConfig

    ours = {field.name: field.default for field in fields(LoRA)}
    names = {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout", "use_rslora": "rank_stabilized"}
    published = parity("lora")["peft_defaults"]
    assert {theirs: ours[name] for theirs, name in names.items()} == {key: published[key] for key in names}
    for key in published.keys() - names.keys():  # left to the library
        assert getattr(LoraConfig(), key) == published[key]


COUNTS = [
    ("bert_base_r8_query_value", {"rank": 8}, 0),
    ("bert_base_r16_query_value", {"rank": 16}, 0),
    # the published count is by name, and so has the pooler's `dense` too, which is no linear map of a layer
    ("bert_base_r8_query_key_value_dense", {"rank": 8, "target": "all"}, 8 * (768 + 768)),
]


@pytest.mark.parametrize(("key", "options", "of_the_pooler"), COUNTS, ids=[key for key, _, _ in COUNTS])
def test_published_counts(key: str, options: dict[str, Any], of_the_pooler: int, parity: Callable[[str], Any]) -> None:
    case = parity("lora")
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(BertConfig())
        assert sum(p.numel() for p in model.parameters()) == case["bert_base_total_params_vocab30522"]
        context = Context()
        compose({"lora": LoRA(**options)}, model, context)
    counts = trained(model)
    head = {name for name in counts if ".lora_" not in name}
    assert head == {name.split(".")[2] + name[name.rindex(".") :] for name in case[key]["trainable_non_lora"]}
    assert sum(size for name, size in counts.items() if name not in head) == case[key]["lora_params"] - of_the_pooler
    assert sum(counts.values()) == case[key]["trainable"] - of_the_pooler
    assert context.facts == {"trained_parameters": sum(counts.values())}


BERT = {"attention.self.query", "attention.self.value"}
BERT_ALL = BERT | {"attention.self.key", "attention.output.dense", "intermediate.dense", "output.dense"}
TARGETS: dict[str, tuple[set[str], set[str]]] = {
    **dict.fromkeys(("bert", "roberta", "electra"), (BERT, BERT_ALL)),
    "deberta": (
        {"attention.self.in_proj"},
        {"attention.self.in_proj", "attention.self.pos_proj", "attention.self.pos_q_proj"}
        | {"attention.output.dense", "intermediate.dense", "output.dense"},
    ),
    "deberta_v2": (
        {"attention.self.query_proj", "attention.self.value_proj"},
        {f"attention.self.{name}_proj" for name in ("query", "key", "value", "pos_key", "pos_query")}
        | {"attention.output.dense", "intermediate.dense", "output.dense"},
    ),
    "xlnet": (set(), {"ff.layer_1", "ff.layer_2"}),
}
HEADS = {"bert": "classifier.", "xlnet": "logits_proj."}


@pytest.mark.parametrize("target", ["query_value", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_added_to_and_what_trains(family: str, target: str) -> None:
    """Maps of the layers; their A and B and the head train, the pooler does not."""
    parts = TARGETS[family][target == "all"]
    if not parts:
        with pytest.raises(UserError, match=r"lora\.target=query_value finds no linear map in a xlnet; use lora\.targ"):
            compose({"lora": LoRA(target=target)}, tiny(family), Context())
        return
    model, context = tiny(family), Context()
    plain = {name for name, _ in model.named_parameters()}
    hooks = compose({"lora": LoRA(rank=4, target=target)}, model, context)
    assert {name.partition(".layer.")[2] for name in wrapped(model)} == {
        f"{n}.{part}" for n in range(3) for part in parts
    }
    assert all(a.shape[0] == b.shape[1] == 4 for a, b in map(factors, wrapped(model).values()))
    head = {name for name in plain if name.startswith(HEADS.get(family, "classifier."))}
    assert head
    assert trained(model).keys() == head | {
        f"{name}.lora_{letter}.default.weight" for name in wrapped(model) for letter in "AB"
    }
    assert context.facts["trained_parameters"] == sum(trained(model).values())
    hooks.finish()
    assert trained(model).keys() == plain
    assert not wrapped(model)


@pytest.mark.parametrize("family", ["bert", "deberta"])
def test_at_the_start_it_is_the_plain_model_bit_for_bit(family: str) -> None:
    model, batch = tiny(family).eval(), batch_of(3)
    expected, state = logits_of(model, batch), torch.get_rng_state()
    compose({"lora": LoRA(target="all")}, model, context_of(batch))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(logits_of(model, batch), expected)


def test_law_of_the_first_factor() -> None:
    """Kaiming's uniform law with a = sqrt 5 is U(-1/sqrt(inputs), 1/sqrt(inputs)); B is 0. 1.3 million draws."""
    model = tiny("bert")
    compose({"lora": LoRA(rank=2048, target="all")}, model, Context(seed=3))
    pairs = {name: tuple(t.detach().double() for t in factors(m)) for name, m in wrapped(model).items()}
    scaled = torch.cat([(a * math.sqrt(a.shape[1])).flatten() for a, _ in pairs.values()])
    count = scaled.numel()
    assert count == 2048 * 3 * (5 * 32 + 64)
    assert 0.9999 < float(scaled.abs().max()) <= 1 + 1e-6
    assert abs(float(scaled.mean())) < 4 / math.sqrt(3 * count)
    assert float(scaled.var()) == pytest.approx(1 / 3, abs=4 * math.sqrt((1 / 5 - 1 / 9) / count))
    assert not any(b.any() for _, b in pairs.values())
    rows = [a.flatten()[: 2048 * 32] for a, _ in pairs.values()]
    between = torch.corrcoef(torch.stack(rows)) - torch.eye(len(rows), dtype=torch.float64)
    assert float(between.abs().max()) < 5 / math.sqrt(2048 * 32)  # the largest of 153


def test_draws_follow_from_the_seed() -> None:
    def drawn(seed: int, torchs_own: int) -> Tensor:
        model = tiny("bert")
        torch.manual_seed(torchs_own)
        compose({"lora": LoRA()}, model, Context(seed=seed))
        return factors(model.bert.encoder.layer[1].attention.self.query)[0].detach()

    assert torch.equal(drawn(3, 1), drawn(3, 2))
    assert not torch.equal(drawn(3, 1), drawn(4, 1))


Arrays = dict[str, np.ndarray]


def effective(ours: Arrays, start: Arrays, scale: float) -> Arrays:
    """What a plain model has in the place of the factors and of the head: W + s B A."""
    weights = {name: value for name, value in ours.items() if name.startswith("classifier")}
    for name in {name.rpartition(".")[0] for name in ours.keys() - weights.keys()}:
        weights[f"{name}.weight"] = start[f"{name}.weight"] + scale * ours[f"{name}.B"] @ ours[f"{name}.A"]
    return weights


def led_back(ours: Arrays, gradients: Arrays, scale: float) -> Arrays:
    """From the gradient G of an effective weight: dA = s B^T G, dB = s G A^T."""
    led = {}
    for name in ours:
        base, _, letter = name.rpartition(".")
        if letter == "A":
            led[name] = scale * ours[f"{base}.B"].T @ gradients[f"{base}.weight"]
        elif letter == "B":
            led[name] = scale * gradients[f"{base}.weight"] @ ours[f"{base}.A"].T
        else:
            led[name] = gradients[name]
    return led


def values_of(model: Any) -> Arrays:
    """A and B of every addition, and the head's weights."""
    pairs = {name: factors(module) for name, module in wrapped(model).items()}
    parameters = {f"{name}.{letter}": pair["AB".index(letter)] for name, pair in pairs.items() for letter in "AB"}
    parameters |= {name: p for name, p in model.named_parameters() if name.startswith("classifier")}
    return {name: p.detach().numpy().copy() for name, p in parameters.items()}


@pytest.mark.parametrize(("options", "scale"), [({}, 16 / 4), ({"rank_stabilized": True}, 16 / 2)], ids=["r", "sqrt r"])
@pytest.mark.parametrize("count", [1, 3])
def test_steps_against_a_plain_model(count: int, options: dict[str, Any], scale: float) -> None:
    """A plain model that holds W + s B A, its gradients led back by hand, AdamW in numpy."""
    model, plain, batch = still(tiny("bert")), still(tiny("bert")), batch_of(3)
    start = {name: p.detach().numpy().copy() for name, p in plain.named_parameters()}
    hooks = compose({"lora": LoRA(rank=4, alpha=16.0, **options)}, model, context_of(batch))
    with torch.no_grad():
        for module in wrapped(model).values():
            factors(module)[1].add_(0.1)  # else A has no gradient in the first step
    ours = values_of(model)
    list(train(model, hooks, batch, count))
    first: dict[str, Any] = defaultdict(float)
    second: dict[str, Any] = defaultdict(float)
    for step in range(1, count + 1):
        for name, value in effective(ours, start, scale).items():
            plain.get_parameter(name).data.copy_(torch.from_numpy(value))
        plain.zero_grad()
        task_loss(forward_of(plain)(batch).logits, batch["labels"]).backward()
        gradients = {name: p.grad.numpy() for name, p in plain.named_parameters()}
        for name, g in led_back(ours, gradients, scale).items():
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            change = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
            ours[name] = ours[name] * (1 - LR * DECAY) - LR * change
    for name, value in values_of(model).items():
        np.testing.assert_allclose(value, ours[name], atol=1e-9, rtol=0, err_msg=name)
    before = logits_of(model.eval(), batch)
    hooks.finish()
    torch.testing.assert_close(logits_of(model, batch), before, atol=1e-12, rtol=0)
    expected = start | effective(ours, start, scale)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.detach().numpy(), expected[name], atol=1e-9, rtol=0, err_msg=name)


def test_dropout_is_on_what_a_reads_and_in_training_only() -> None:
    """With B = 0 it changes nothing; with another B it is the mask of A's input, divided by what stays."""
    model = still(tiny("bert"))
    compose({"lora": LoRA(rank=4, dropout=0.5)}, model, Context(seed=3))
    module = model.bert.encoder.layer[0].attention.self.query.train()
    a, b = factors(module)
    plain, x = module.base_layer, torch.ones(2000, 32, dtype=torch.float64)
    assert torch.equal(module(x), plain(x))
    with torch.no_grad():
        a.fill_(1.0)
        b.fill_(0.25)
    torch.manual_seed(0)
    added = (module(x) - plain(x)).detach() / (8 / 4)  # 4 * 0.25 times twice the number of inputs that stay
    assert float((added / 2 - (added / 2).round()).abs().max()) < 1e-9
    assert float(added[:, 0].mean()) == pytest.approx(32, abs=4 * math.sqrt(32 / 2000))
    assert float(added[:, 0].var()) == pytest.approx(32, rel=0.15)
    module.eval()
    torch.testing.assert_close(module(x) - plain(x), torch.full_like(added, 64.0), atol=1e-9, rtol=0)


@pytest.mark.parametrize(("family", "target"), [("bert", "query_value"), ("xlnet", "all"), ("deberta", "all")])
def test_the_rest_has_neither_gradient_nor_state(family: str, target: str) -> None:
    model, batch = tiny(family).train(), batch_of(3)
    hooks = compose({"lora": LoRA(target=target)}, model, context_of(batch))
    groups = hooks.parameter_groups(parameter_groups(model, LR, DECAY))
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
    task_loss(forward_of(model)(batch).logits, batch["labels"]).backward()
    hooks.before_step(optimizer)
    optimizer.step()
    assert {name for name, p in model.named_parameters() if p in optimizer.state} == trained(model).keys()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == trained(model).keys()


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"lora": {"rank": 0}}, "rank must be at least 1"),
        ({"lora": {"alpha": 0.0}}, "alpha must be above 0"),
        ({"lora": {"dropout": 1.0}}, "dropout must be at least 0 and below 1"),
        ({"lora": {"target": "key"}}, "target must be one of query_value, all"),
        ({"lora": {}, "top_k": {}}, "cannot be combined: each decides on which weights are trained"),
        ({"lora": {}, "noisytune": {}}, "noisytune must be named before lora"),
    ],
)
def test_options_that_cannot_be(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(chosen)
