"""What every technique must hold to, whichever it is: found by file, run against every family and kind of task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest
import torch
import yaml

from hype_bench.config import ModelConfig
from hype_bench.main import CONF
from hype_bench.methods.base import Method, Moments, compose, task_loss
from hype_bench.methods.context import Context
from hype_bench.methods.registry import build, discover
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_classifier

FAMILIES = ("bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2")
NAMES = list(discover())


def tiny(family: str, outputs: int) -> Any:
    checkpoint = locate(ModelConfig(name=family, checkpoint=f"tiny:{family}", family=family))
    return load_classifier(checkpoint, outputs, 0.1, head_seed=0)


def batch_of(outputs: int) -> dict[str, Any]:
    ids = torch.randint(5, 60, (8, 7), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(8) % outputs if outputs > 1 else torch.arange(8) / 2
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def updates(model: Any, moments: Moments, batch: dict[str, Any], count: int, lr: float = 3e-3) -> Iterator[float]:
    """A loop as short as one can be that knows of every moment."""
    groups = moments.parameter_groups([{"params": [p for p in model.parameters() if p.requires_grad], "lr": lr}])
    optimizer = torch.optim.AdamW(groups)
    torch.manual_seed(5)

    def forward(b: dict[str, Any]) -> Any:
        return model(**{name: value for name, value in b.items() if name != "labels"})

    def backward(pieces: list[dict[str, Any]]) -> torch.Tensor:
        loss = moments.loss(pieces[0], forward, lambda b, f: task_loss(f(b).logits, b["labels"]))
        loss.backward()
        return loss.detach()

    for _ in range(count):
        yield float(moments.gradients([batch], backward))
        moments.before_step(optimizer)
        optimizer.step()
        moments.after_step(optimizer)
        optimizer.zero_grad()


@pytest.mark.parametrize("outputs", [3, 1], ids=["classification", "regression"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, family: str, outputs: int) -> None:
    batch, losses, weights = batch_of(outputs), [], []
    for _ in range(2):
        model = tiny(family, outputs).train()
        before = anatomy(model)
        moments = compose(build({name: {}}), model, Context(seed=3))
        losses.append(list(updates(model, moments, batch, 12)))
        model.eval()
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        first, second = (model(**inputs).logits.detach() for _ in range(2))
        assert torch.equal(first, second), "evaluation is random"
        moments.finish()
        assert anatomy(model) == before, "finish left something behind"
        weights.append({key: value.clone() for key, value in model.state_dict().items()})
    assert losses[0][-1] < losses[0][0], "training does not lower the loss"
    assert losses[0] == losses[1], "the same seed is not the same run"
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def anatomy(model: Any) -> list[tuple[Any, ...]]:
    """Names and kinds of all modules, their hooks, their dropout."""
    return [
        (name, type(m).__name__, len(m._forward_hooks), len(m._forward_pre_hooks), getattr(m, "p", None))
        for name, m in model.named_modules()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_yaml_says_what_the_dataclass_says(name: str) -> None:
    """One YAML per technique, under its name, with the same options and the same defaults."""
    cls, fixed = discover()[name]
    assert is_dataclass(cls)
    assert issubclass(cls, Method)
    assert cls.__doc__
    text = (CONF / "method" / f"{name}.yaml").read_text()
    assert text.startswith(f"# @package method.{name}\n")
    options = yaml.safe_load(text) or {}
    defaults = {f.name: f.default for f in fields(cls) if f.name not in fixed}
    assert MISSING not in defaults.values()
    options = {key: 1e-5 if value == "${noise_scale}" else value for key, value in options.items()}
    assert options == {key: value for key, value in defaults.items() if key in options}
    unused = {key for key in defaults if key not in options}
    assert unused <= {"support"} if name == "hype_n" else not unused  # a normal law has no choice of support


def test_every_yaml_is_a_technique() -> None:
    assert sorted(path.stem for path in (CONF / "method").glob("*.yaml")) == NAMES


def test_moments_nest_in_the_order_named() -> None:
    said: list[str] = []

    class Named(Method):
        def __init__(self, name: str) -> None:
            self.name = name

        def prepare(self, model: Any, context: Context) -> Moments:
            def say(moment: str) -> None:
                said.append(f"{moment} {self.name}")

            def loss(batch: Any, forward: Any, inner: Any) -> Any:
                say("enter")
                result = inner(batch, forward)
                say("leave")
                return result

            context.cleanup.callback(say, "undo")
            return Moments(loss=loss, after_step=lambda optimizer: say("step"), finish=lambda: say("finish"))

    moments = compose({"a": Named("a"), "b": Named("b")}, tiny("bert", 2), Context())
    moments.loss({}, None, lambda batch, forward: torch.zeros(()))  # type: ignore[arg-type]
    moments.after_step(None)  # type: ignore[arg-type]
    moments.finish()
    assert said == ["enter a", "enter b", "leave b", "leave a", "step a", "step b",
                    "finish b", "finish a", "undo b", "undo a"]  # fmt: skip
