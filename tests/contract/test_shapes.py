"""Tensors are held to the shapes that signatures give, in functions, methods and the fields of dataclasses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from jaxtyping import TypeCheckError

from hype_bench.contract.ascent import ascend
from hype_bench.contract.divergence import symmetric_kl
from hype_bench.contract.linear_maps import mix
from hype_bench.contract.objective import task_loss
from hype_bench.contract.perturbation import perturb
from hype_bench.methods.noisefit import consistency
from hype_bench.methods.rose import within_quantiles
from hype_bench.models.attention import Packing, attend_each
from hype_bench.models.segments import Segments

SEGMENTS = Segments.from_inputs({"input_ids": torch.ones(2, 3)})
MASK = torch.ones(2, 3, dtype=torch.bool)
HEADS, ONE = torch.ones(1, 2, 3, 4), torch.ones(3)
WRONG: dict[str, Callable[[], object]] = {
    "two batches": lambda: symmetric_kl(torch.ones(2, 3), torch.ones(1, 3)),
    "labels in a column": lambda: task_loss(torch.ones(2, 1), torch.ones(2, 1)),
    "noise that broadcasts": lambda: perturb(torch.ones(2, 3, 4), torch.ones(4), 1.0, "normal"),
    "one mask an output": lambda: mix(torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 1)),
    "no width": lambda: ascend(torch.ones(2, 3), torch.ones(2, 3, 4), SEGMENTS, 1.0, 0.0, "l2"),
    "classes of one example": lambda: consistency(ONE, ONE, ONE, 0.5, 0.1, 1.0),
    "saliency of entries": lambda: within_quantiles(torch.ones(2, 2), 0.0, 1.0),
    "a batch of heads": lambda: attend_each(HEADS, HEADS, HEADS, Packing.of([3]), 0.0, 1.0),
    "bounds in a column": lambda: Packing(torch.tensor([[0], [3], [6]]), [3, 3], 3),
    "an index without mask": lambda: Segments(torch.zeros(2, 4, dtype=torch.int64), MASK, 2, 3),
    "integers for hidden states": lambda: SEGMENTS.norms(torch.ones(2, 3, 4, dtype=torch.int64)),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_shape_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(TypeCheckError):
        call()
