"""``run.py`` in processes of its own on a GPU: one, and two at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.launch.test_engines import check_two_runs_at_once

if not torch.cuda.is_available():
    pytest.skip("there is no GPU here", allow_module_level=True)


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_fresh_process_on_one_device(device: str, command: Any) -> None:
    short = ("tracker=none", "training.max_steps=3", "data.max_eval_examples=8")
    ended = command("model=tiny_bert", "task=demo_rte", f"device={device}", *short)
    assert ended.returncode == 0, ended.stderr


def test_a_device_that_is_not_there(command: Any) -> None:
    ended = command("model=tiny_bert", f"device=cuda:{torch.cuda.device_count()}")
    assert ended.returncode == 2
    assert "CUDA device" in ended.stderr


def test_two_runs_of_ray_share_the_card(command: Any, tmp_path: Path) -> None:
    for record in check_two_runs_at_once(command, tmp_path, gpus_per_run=0.5).values():
        assert record["updates"] == 40
        assert record["machine"]["device"] == "cuda"
        assert record["machine"]["device_name"] == torch.cuda.get_device_name()
