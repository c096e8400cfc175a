"""The arithmetic of a process: TF32 where it is chosen, and a Trainer's own choice afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from hype_bench.training.device import set_up

BACKENDS: Any = torch.backends
MATMUL = BACKENDS.cuda.matmul


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    BACKENDS.fp32_precision = MATMUL.fp32_precision = "none"


@pytest.mark.parametrize("everywhere", ["none", "ieee", "tf32"])
def test_only_tf32_is_tf32_whatever_the_process_had(everywhere: str) -> None:
    BACKENDS.fp32_precision = everywhere
    for precision in ("fp32", "tf32", "bf16", "fp32"):
        set_up(torch.device("cpu"), precision)
        assert (MATMUL.fp32_precision == "tf32") == (precision == "tf32")


def test_a_trainers_own_tf32_acts_after_a_run() -> None:
    """``transformers`` chooses for all backends together."""
    set_up(torch.device("cpu"), "fp32")
    BACKENDS.fp32_precision = "tf32"
    assert MATMUL.fp32_precision == "tf32"
