"""Scores weights on splits, outside a run: for soups and other edits of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoModelForSequenceClassification

from hype_bench.contract.objective import task_loss
from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.loading import load_tokenizer
from hype_bench.models.packing import attach_packing, can_pack
from hype_bench.models.pretrained import loading_errors
from hype_bench.models.silence import silence_transformers
from hype_bench.tasks.data import Split
from hype_bench.training.batches import collator_for, evaluation_order
from hype_bench.training.device import autocast_for, choose_device, describe, set_up
from hype_bench.training.evaluation import Evaluation, evaluate
from hype_bench.training.tokens import tokenise

_TOKENS = 2048  # of a batch whose activations are kept for the gradient


class Scorer:
    """A classifier whose weights are exchanged.

    Args:
        folder: a saved classifier of the same architecture, with its tokenizer.
        metric: as the task names it; ``headline`` returns it.
    """

    def __init__(self, folder: Path, metric: str, max_length: int, device: str) -> None:
        self.metric, self.max_length = metric, max_length
        self.device = choose_device(device, "fp32")
        set_up(self.device, "fp32")
        self.machine = describe(self.device)
        saved = Checkpoint(folder.parent.name, str(folder), identity="", is_local=True)
        self.tokenizer = load_tokenizer(saved)
        with loading_errors(saved):
            model: Any = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False)
        self.model = model.to(self.device).eval()
        self._pack()

    def _pack(self) -> None:
        self.detach_packing = attach_packing(self.model) if can_pack(self.model) else lambda: None

    def evaluate(self, state: dict[str, Tensor], split: Split) -> Evaluation:
        self.model.load_state_dict(state)
        tokens = tokenise(split, self.tokenizer, self.max_length)
        collate = collator_for(self.model, self.tokenizer, self.device)
        return evaluate(self.model, tokens, collate, self.metric, autocast_for(self.device, "fp32"))

    def headline(self, state: dict[str, Tensor], split: Split) -> float:
        return float(self.evaluate(state, split).scores[self.metric])

    def gradients(self, state: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        """Of the mean loss over a split, without dropout and in float32, for each parameter that it depends on."""
        self.model.load_state_dict(state)
        self.model.zero_grad()
        tokens = tokenise(split, self.tokenizer, self.max_length)
        collate = collator_for(self.model, self.tokenizer, self.device)
        for indices in evaluation_order(tokens, _TOKENS):
            batch = collate(tokens, indices)
            labels = batch.pop("labels")
            (task_loss(self.model(**batch).logits, labels) * (len(labels) / len(tokens))).backward()
        parameters = self.model.named_parameters()
        return {name: p.grad.to(state[name].device) for name, p in parameters if p.grad is not None}

    def save(self, state: dict[str, Tensor], folder: Path) -> None:
        """A plain ``from_pretrained`` folder with these weights."""
        self.model.load_state_dict(state)
        self.detach_packing()
        with silence_transformers():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        self._pack()
