"""What a technique may know of the run it acts on: its randomness, its length, its data, the current forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from hype_bench.contract.findings import Findings
from hype_bench.contract.forward_pass import ForwardPass
from hype_bench.contract.loss_scale import LossScale
from hype_bench.contract.objective import Batch, Loss, objective
from hype_bench.options import UserError


@dataclass
class Context(ForwardPass, LossScale, Findings):
    """What a technique may know of the run it acts on, and where it leaves what the record should have.

    What it inherits: :class:`Lifetime` for what has to be undone, :class:`Randomness`, :class:`ForwardPass` for what
    holds for one pass alone, :class:`LossScale` for gradients in fp16, and :class:`Findings` for the record.

    Attributes:
        precision: fp32, tf32, bf16 or fp16.
        updates: how many the run will have, if that is known; ``warmup`` of them raise the learning rate.
        examples: of the training data.
        batches: one shuffled pass over the training data, in batches of the given size, or of the run's own.
        objective: the host's loss, without any technique: for passes before training.
        tokenizer: of the training data.
        whole_vocabulary: set by a technique that looks up, or predicts, words that the data may not have.
        progress: shows how far a long preparation is: what, how much is done, how much there is.
    """

    precision: str = "fp32"
    updates: int | None = None
    warmup: int = 0
    examples: int | None = None
    batches: Callable[[int | None], Iterable[Batch]] | None = None
    objective: Loss = objective
    tokenizer: Any = None
    whole_vocabulary: bool = False
    progress: Callable[[str, int, int | None], None] = lambda what, done, total: None

    def needs(self, technique: str, what: Literal["updates", "batches", "examples", "tokenizer"]) -> Any:
        """What a technique cannot do without.

        Raises:
            UserError: whoever set up this context did not say.
        """
        value = getattr(self, what)
        if value is None:
            raise UserError(f"{technique} needs to know the run's {what}: give {what}=... where it is attached")
        return value

    def example_ids(self, technique: str, batch: Batch) -> Tensor:
        """The numbers of a batch's examples in the training data, for a technique that follows each of them.

        Raises:
            UserError: the batch does not have them, or nobody said how many examples there are.
        """
        if "example_ids" not in batch or self.examples is None:
            raise UserError(
                f"{technique} follows each example: give examples=, and in every batch example_ids, their numbers in "
                "the training data"
            )
        ids: Tensor = batch["example_ids"]
        return ids
