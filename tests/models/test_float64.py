"""Logits and gradients of whole models in fp32 and bf16, packed and padded, are those of float64."""

from __future__ import annotations

import pytest

from hype_bench.models.packing import FAMILIES
from tests.models.float64 import check_against_float64


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_cpu_computes_what_float64_does(kind: str, precision: str) -> None:
    check_against_float64(kind, precision, "cpu")
