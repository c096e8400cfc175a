"""CUDA graphs of forward and backward: one launch in the place of a thousand.

A small encoder's update is over before Python has launched the next kernel. A graph replays all launches of an update
at once, but for fixed shapes and addresses only. So the packed row of every batch is filled up to one of a few sizes,
which follow from the order of the run (:class:`Buckets`), and each size is captured once (:class:`Graphs`). Clipping,
the optimizer and the hooks around them stay as they are: they are a few launches.

A captured update computes what the same row computes without capture, bit for bit. Techniques say whether their part
can be captured (:attr:`~hype_bench.contract.method.Method.capturable`); docs/gpu.md says what that asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.config import TrainingSettings
from hype_bench.contract.context import Context
from hype_bench.contract.method import Backward
from hype_bench.contract.noise import has_triton
from hype_bench.contract.objective import Batch
from hype_bench.models.packing import is_packed, takes_filler

_MOST_SIZES = 8
_LEAST_BATCHES = 30  # shorter runs are over before capture pays
_EAGER = 12  # updates before the first capture: techniques watch the first ten, and kernels are compiled
_STEP = 8  # tokens: tensor cores take rows by eights


@dataclass(frozen=True)
class Buckets:
    """The sizes to which packed rows are filled up.

    Attributes:
        examples: of a batch that is filled up; others, the last one of an epoch, are left as they are.
        sizes: in tokens, ascending; each leaves room for a filler of at least one token.
        longest: no sequence has more tokens, the filler included.
    """

    examples: int
    sizes: NDArray[np.int64]
    longest: int

    @classmethod
    def of(cls, lengths: NDArray[Any], batches: Iterable[NDArray[np.int64]], examples: int) -> Buckets | None:
        """So that every size serves as many batches; None if there are too few of them.

        Args:
            lengths: tokens of every example.
            batches: the indices of the examples of every update.
            examples: of a full batch.
        """
        totals = np.sort([lengths[batch].sum() for batch in batches if len(batch) == examples])
        if len(totals) < _LEAST_BATCHES:
            return None
        groups = np.array_split(totals, _MOST_SIZES)
        sizes = np.unique([(group[-1] // _STEP + 1) * _STEP for group in groups])
        fillers = sizes[np.searchsorted(sizes, totals, side="right")] - totals
        return cls(examples, sizes, int(max(lengths.max(), fillers.max())))

    def filler(self, examples: int, tokens: int) -> int:
        """Tokens to be added to a row; 0 if it stays as it is."""
        if examples != self.examples or tokens >= self.sizes[-1]:
            return 0
        return int(self.sizes[np.searchsorted(self.sizes, tokens, side="right")] - tokens)


class Graphs:
    """Forward and backward of an update, replayed where a row of that size has been captured.

    How many updates were goes into the run's record as ``captured_updates``.
    """

    def __init__(self, backward: Backward, parameters: Sequence[Tensor], context: Context) -> None:
        self.backward, self.parameters, self.context = backward, parameters, context
        self.pool = torch.cuda.graph_pool_handle()  # graphs of a run never run at once, so that they share their memory
        self.stream = torch.cuda.Stream()  # not torch's, where graphs of runs that take turns would share workspaces
        self.graphs: dict[int, _Graph] = {}
        self.sizes = set[int]()
        self.gradients: list[tuple[Tensor, Tensor]] = []
        self.eager = 0
        context.facts["captured_updates"] = 0

    def __call__(self, micro_batches: list[Batch]) -> Tensor:
        """As ``backward``."""
        (batch,) = micro_batches
        size = batch["input_ids"].numel()
        if not batch["packing"].filler or self.eager < _EAGER or size not in self.sizes:
            self.eager += 1
            self.sizes.add(size)
            loss = self.backward(micro_batches)
            self.gradients = self.gradients or [
                (p, torch.empty_like(p.grad)) for p in self.parameters if p.grad is not None
            ]
            return loss
        if size not in self.graphs:
            self.graphs[size] = _Graph(self.backward, batch, self.gradients, self.context, self.pool, self.stream)
        self.context.facts["captured_updates"] += 1
        return self.graphs[size].replay(batch)


class _Graph:
    """One captured update: its inputs, its gradients and its loss have fixed addresses."""

    def __init__(
        self,
        backward: Backward,
        batch: Batch,
        gradients: list[tuple[Tensor, Tensor]],
        context: Context,
        pool: Any,
        stream: torch.cuda.Stream,
    ) -> None:
        self.batch = _map_tensors(torch.clone, batch)
        self.gradients, self.sources = gradients, list(context.sources)
        self.graph = torch.cuda.CUDAGraph()
        before = context.forwards()
        with torch.cuda.graph(self.graph, pool=pool, stream=stream):
            self.loss = backward([self.batch])
            torch._foreach_copy_([fixed for _, fixed in gradients], [p.grad for p, _ in gradients])  # type: ignore[misc]
            for parameter, _ in gradients:
                parameter.grad = None
        self.passes = [after - first for after, first in zip(context.forwards(), before, strict=True)]
        for source, forward in zip(self.sources, before, strict=True):
            source.forward = forward  # nothing has been computed yet

    def replay(self, batch: Batch) -> Tensor:
        for fixed, new in zip(_tensors(self.batch), _tensors(batch), strict=True):
            fixed.copy_(new)
        self.graph.replay()
        for source, passes in zip(self.sources, self.passes, strict=True):
            source.forward += passes
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        return self.loss


def _map_tensors(change: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    packing = batch["packing"]
    changed = {name: change(value) for name, value in batch.items() if isinstance(value, Tensor)}
    return changed | {"packing": replace(packing, cu_seqlens=change(packing.cu_seqlens))}


def _tensors(batch: Batch) -> list[Tensor]:
    return [*(value for value in batch.values() if isinstance(value, Tensor)), batch["packing"].cu_seqlens]


def may_capture(model: PreTrainedModel, settings: TrainingSettings) -> bool:
    """Whether forward and backward of an update may become CUDA graphs."""
    return (
        settings.cuda_graphs == "auto"
        and model.device.type == "cuda"
        and has_triton()
        and is_packed(model)
        and takes_filler(model)
        and settings.gradient_accumulation_steps == 1
        and not settings.gradient_checkpointing
    )
