"""Three finished runs with weights, for what edits or measures them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

SWEEP = [
    "-m", "model=tiny_bert", "task=demo_rte", "tracker=none", "seed=1,2,3",
    "training.max_steps=3", "training.save=last", "data.max_train_examples=60", "data.max_eval_examples=40",
]  # fmt: skip


@pytest.fixture(scope="session")
def swept(warm_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("swept")
    ended = warm_in(place)(*SWEEP, "data.selection_examples=30")
    assert ended.returncode == 0, ended.stderr
    return Path(place)


@pytest.fixture
def place(swept: Path, tmp_path: Path) -> Path:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    return tmp_path
