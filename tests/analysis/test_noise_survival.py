"""What rounding leaves of noise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hype_bench.analysis.noise_survival import NoiseSurvival, survival, surviving_sums
from tests.analysis.runs import finished


def test_entries_that_change_and_the_direction_that_is_left() -> None:
    """In bf16 the numbers around 1 are 2^-7 apart: noise of a quarter of that changes a quarter of them."""
    generator = torch.Generator().manual_seed(0)
    hidden = 1 + torch.rand(100_000, generator=generator) / 2
    noise = torch.full_like(hidden, 2**-9)
    scores = survival(surviving_sums(hidden, hidden + noise, "bf16"))
    assert scores["changed"] == pytest.approx(0.25, abs=0.01)
    assert scores["cosine"] == pytest.approx(0.5, abs=0.01)  # sqrt of the share: all that is left is jumps of 2^-7
    assert survival(surviving_sums(hidden, hidden + noise, "fp32")) == pytest.approx(
        {"changed": 1, "cosine": 1}, abs=1e-6
    )
    assert survival(surviving_sums(hidden, hidden, "fp16")) == {"changed": 0, "cosine": 0}


def test_a_run_has_the_layers_that_noise_enters(tmp_path: Path) -> None:
    trained = finished(tmp_path, NoiseSurvival())
    measured = {name: NoiseSurvival(precision=name).measure(trained) for name in ("fp32", "tf32", "fp16", "bf16")}
    assert list(measured["bf16"].scores) == ["layers", "layer_2", "layer_0", "layer_1"]
    changed = [of_one.scores["layers"]["changed"] for of_one in measured.values()]
    assert changed == sorted(changed, reverse=True)
    assert changed[0] > 0.95
    assert changed[-1] < 0.1
    again = NoiseSurvival(precision="bf16").measure(trained)
    assert again.scores == measured["bf16"].scores
