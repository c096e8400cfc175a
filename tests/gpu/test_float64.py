"""Logits and gradients of whole models in every precision, packed and padded, are those of float64."""

from __future__ import annotations

import pytest
import torch

from hype_bench.models.packing import FAMILIES
from tests.models.float64 import ERROR, check_against_float64

if not torch.cuda.is_available():
    pytest.skip("there is no GPU here", allow_module_level=True)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("precision", ERROR)
def test_a_gpu_computes_what_float64_does(kind: str, precision: str) -> None:
    check_against_float64(kind, precision, "cuda")
