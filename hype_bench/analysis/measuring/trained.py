"""A finished run as an analysis sees it: settings, record, data and weights, each loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from hype_bench.config import RunConfig
from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.loading import load_classifier, load_tokenizer
from hype_bench.models.packing import attach_packing, can_pack, compute_every_token
from hype_bench.models.pretrained import loading_errors
from hype_bench.models.skeleton import skeleton
from hype_bench.options import UserError
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record
from hype_bench.tasks.data import Split, TaskData
from hype_bench.training.batches import Collator, collator_for, evaluation_order
from hype_bench.training.device import autocast_for, choose_device, set_up
from hype_bench.training.evaluation import Evaluation, evaluate, predict
from hype_bench.training.seeds import derive
from hype_bench.training.tokens import Tokens, tokenise


@dataclass(frozen=True)
class Trained:
    """A run whose record and weights lie in its folder.

    Attributes:
        run: its settings.
        record: of its training; None for an analysis that needs no weights.
        folder: where it lies.
        data: what it was trained and scored on.
        further: what the analysis reads beside that, as its ``data`` gave it.
        checkpoint: from which it started.
        needs_every_token: whether the analysis reads what the layers put out.
    """

    run: RunConfig
    record: Record | None
    folder: RunFolder
    data: TaskData
    further: list[TaskData]
    checkpoint: Checkpoint
    needs_every_token: bool = False

    @cached_property
    def device(self) -> torch.device:
        device = choose_device(self.run.device, self.run.training.precision)
        set_up(device, self.run.training.precision)
        return device

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.checkpoint)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The trained classifier in float32 on the device, not training; it takes packed rows where it can.

        Raises:
            UserError: its weights are missing, or of another architecture.
        """
        path = self.folder.path / "model"
        with loading_errors(Checkpoint(self.checkpoint.name, str(path), identity="", is_local=True)):
            model, info = AutoModelForSequenceClassification.from_pretrained(
                path,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                trust_remote_code=False,
            )
        expected = {name: p.shape for name, p in skeleton(self.checkpoint, self.data.outputs).named_parameters()}
        unfit = [name for name, p in model.named_parameters() if expected.get(name) != p.shape]
        if unfit or info["missing_keys"] or info["mismatched_keys"] or len(expected) != len([*model.parameters()]):
            raise UserError(
                f"the weights in {path} are not those of a {self.checkpoint.name} with {self.data.outputs} outputs; "
                "move the folder away and run it again"
            )
        return self._ready(model)

    def start(self) -> PreTrainedModel:
        """The classifier as it was before training: the checkpoint's weights and the run's own new head."""
        head = derive(self.run.seed, "head")
        dropout = self.run.training.dropout
        return self._ready(load_classifier(self.checkpoint, self.data.outputs, dropout, head, self.data.labels))

    def _ready(self, model: PreTrainedModel) -> PreTrainedModel:
        model.to(self.device).eval()  # type: ignore[arg-type]  # transformers' wrapper hides the signature
        if can_pack(model):
            attach_packing(model)
            if self.needs_every_token:
                compute_every_token(model)
        return model

    @cached_property
    def collate(self) -> Collator:
        """Makes batches of :meth:`tokens` for ``model``."""
        return collator_for(self.model, self.tokenizer, self.device)

    @property
    def autocast(self) -> torch.autocast:
        """The precision of the run's training, in which it was scored."""
        return autocast_for(self.device, self.run.training.precision)

    def tokens(self, split: Split) -> Tokens:
        return tokenise(split, self.tokenizer, self.run.data.max_length)

    def batches(self, tokens: Tokens) -> Iterator[tuple[NDArray[Any], dict[str, Any]]]:
        """Numbers of examples and the batch of them, with its labels; every example once, the longest first."""
        for indices in evaluation_order(tokens):
            yield np.asarray(indices), self.collate(tokens, indices)

    def predict(self, split: Split) -> NDArray[np.float32]:
        """Logits, (examples, outputs), in data order."""
        return predict(self.model, self.tokens(split), self.collate, self.autocast)

    def evaluate(self, split: Split, metric: str) -> Evaluation:
        """Predicts a split that has the labels of the run's task, and scores it."""
        return evaluate(self.model, self.tokens(split), self.collate, metric, self.autocast)
