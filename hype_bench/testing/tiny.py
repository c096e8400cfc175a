"""Tiny models, batches and a training loop for tests of techniques; options that suit an encoder of three layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.config import ModelConfig
from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.objective import Batch, forward_of, objective
from hype_bench.contract.registry import build, discover
from hype_bench.models.checkpoint import Checkpoint, locate
from hype_bench.models.loading import load_classifier, load_tokenizer
from hype_bench.testing.copies import copies_of

FAMILIES = ("bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2")
UPDATES = 5
TOKENIZER = SimpleNamespace(mask_token_id=4, all_special_ids=[0, 1, 2, 3, 4], encode=list)

# What the published defaults, made for 24 layers and hundreds of updates, would not show in a test.
OPTIONS: dict[str, dict[str, Any]] = {
    "dps": {"stage_ratio": 0.25},
    "ema": {"decay": 0.5},
    "freelb": {"steps": 2, "init_magnitude": 0.1},
    "mixout": {"p": 0.3},
    "noisefit": {"layers": 2},
    "recadam": {"t0": 3.0, "pull": 10.0},
    "reinit": {"layers": 1},
    "swa": {"start": 0.5},
}
XLNET_OPTIONS = {"lora": {"target": "all"}}
STILL_OPTIONS: dict[str, dict[str, Any]] = {"rose": {"kl_dropout": 0.0}}  # without dropout of the technique's own


def options(name: str, family: str) -> dict[str, Any]:
    own = OPTIONS.get(name) or dict(discover()[name][0].tiny_options)
    return own | (XLNET_OPTIONS.get(name, {}) if family == "xlnet" else {})


def technique(name: str, family: str = "bert") -> dict[str, Method]:
    return build({name: options(name, family)})


def outputs_for(*names: str) -> int:
    """Three classes, or the one output of a regression if one of these techniques needs that."""
    return 3 if all(discover()[name][0].takes_classes for name in names) else 1


def tiny(family: str, outputs: int = 3) -> Any:
    checkpoint = locate(ModelConfig(name=family, checkpoint=f"tiny:{family}", family=family))
    return load_once(checkpoint, outputs, 0.1, head_seed=0)


def load_once(
    checkpoint: Checkpoint, outputs: int, dropout: float, head_seed: int, names: Sequence[str] = ()
) -> PreTrainedModel:
    """:func:`load_classifier`, which reads each checkpoint once per test process."""
    return _copies(checkpoint, outputs, dropout, head_seed, tuple(names))()


load_tokenizer_once = cache(load_tokenizer)


@cache
def _copies(*arguments: Any) -> Callable[[], PreTrainedModel]:
    return copies_of(load_classifier(*arguments))


def without_dropout(model: Any) -> Any:
    """The model, with all of its dropouts at 0."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def still(model: Any) -> Any:
    """The model without any dropout, in float64 and in training mode."""
    return without_dropout(model).double().train()


def batch_of(outputs: int, examples: int = 8, seed: int = 1) -> Batch:
    ids = torch.randint(5, 60, (examples, 7), generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(examples) % outputs if outputs > 1 else torch.arange(examples) / 2
    ones, numbers = torch.ones_like(ids), torch.arange(examples)
    return {"input_ids": ids, "attention_mask": ones, "labels": labels, "example_ids": numbers}


def cut(batch: Batch, size: int | None) -> list[Batch]:
    """The batch in pieces of ``size`` examples."""
    count = len(batch["labels"])
    pieces = range(0, count, size or count)
    return [{key: value[at : at + (size or count)] for key, value in batch.items()} for at in pieces]


def context_of(batch: Batch, seed: int = 3, updates: int = UPDATES) -> Context:
    """What the loop tells a technique: two updates of warm-up, a batch that is all the training data, a tokenizer."""
    examples = len(batch["labels"])
    return Context(
        seed=seed,
        updates=updates,
        warmup=2,
        examples=examples,
        batches=lambda size: cut(batch, size),
        tokenizer=TOKENIZER,
    )


def logits_of(model: Any, batch: Batch) -> Tensor:
    output: Tensor = forward_of(model)(batch).logits.detach()
    return output


def train(model: Any, hooks: Composed, batch: Batch, count: int, lr: float = 3e-3) -> Iterator[float]:
    """A loop as short as one can be that knows of every moment; AdamW with a decay of 0.01."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = hooks.parameter_groups([{"params": trained, "lr": lr, "weight_decay": 0.01}])
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr, fused=True)
    torch.manual_seed(5)

    def backward(pieces: list[Batch]) -> Tensor:
        loss = hooks.loss(pieces[0], forward_of(model), objective)[0]
        loss.backward()
        return loss.detach()

    ends = {UPDATES * phase // hooks.phases for phase in range(1, hooks.phases)}
    for update in range(count):
        if update in ends:
            hooks.next_phase(optimizer)
        yield float(hooks.backward([batch], backward))
        hooks.before_step(optimizer)
        optimizer.step()
        hooks.after_step(optimizer)
        optimizer.zero_grad()


def fine_tuned(
    methods: Mapping[str, Method], family: str, batch: Batch, count: int = UPDATES
) -> tuple[Any, list[float]]:
    """A model after some updates with these techniques, finished, and the losses on the way."""
    outputs = 1 if batch["labels"].is_floating_point() else 3
    model = tiny(family, outputs).train()
    hooks = compose(methods, model, context_of(batch, updates=count))
    losses = list(train(model, hooks, batch, count))
    hooks.finish()
    return model, losses


def check_both_orders(pair: Mapping[str, Method]) -> None:
    """Asserts that two techniques give the same weights, bit for bit, whichever is named first."""
    batch = batch_of(outputs_for(*pair), examples=4)
    one, other = (fine_tuned(dict(order), "bert", batch, 4)[0] for order in permutations(pair.items()))
    different = [key for key, weight in one.state_dict().items() if not torch.equal(weight, other.state_dict()[key])]
    assert not different, f"the order of {' and '.join(pair)} has an effect on {', '.join(different)}"


def anatomy(model: Any) -> list[tuple[Any, ...]]:
    """Names and kinds of all modules, their hooks, their dropout, what is trained, and what was put on them."""
    modules = [
        (name, type(m).__name__, len(m._forward_hooks), len(m._forward_pre_hooks), getattr(m, "p", None),
         "forward" in m.__dict__)
        for name, m in model.named_modules()
    ]  # fmt: skip
    return modules + [(name, p.requires_grad) for name, p in model.named_parameters()]
