"""Texts that do not fit the checkpoint are told before anything is trained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hype_bench.config import ModelConfig
from hype_bench.models.checkpoint import Checkpoint, locate
from hype_bench.options import UserError
from hype_bench.tasks.data import Split, TaskData
from hype_bench.training.fit import check_texts


def split(name: str, *columns: list[str]) -> Split:
    rows = np.arange(len(columns[0]))
    return Split(name, columns, labels=rows % 2, rows=rows)


WORDS = ["it is a good dog", "no way home"]
DATA = TaskData(split("train", WORDS), [split("validation", WORDS)], ["no", "yes"], fingerprint="f")
PAIRS = replace(DATA, train=split("train", WORDS, WORDS), evaluation=[split("validation", WORDS, WORDS)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny BERT, to be changed."""
    tiny = locate(ModelConfig(name="tiny_bert", checkpoint="tiny:bert", family="bert")).location
    return Path(shutil.copytree(tiny, tmp_path / "checkpoint"))


def at(folder: Path, **changes: Any) -> Checkpoint:
    """The checkpoint with something else in its configuration."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return locate(ModelConfig(name="m", checkpoint="c", name_or_path=str(folder)))


def test_a_checkpoint_that_fits_says_nothing(folder: Path) -> None:
    assert check_texts(at(folder), DATA, 256) == check_texts(at(folder), PAIRS, 256) == []


@pytest.mark.parametrize(("kind", "most"), [("bert", 256), ("roberta", 254), ("mpnet", 254), ("xlm-roberta", 254)])
def test_more_tokens_than_positions(folder: Path, kind: str, most: int) -> None:
    """RoBERTa and its kin use two rows fewer than their table has."""
    checkpoint = at(folder, model_type=kind, pad_token_id=0 if kind == "bert" else 1)
    check_texts(checkpoint, DATA, most)
    with pytest.raises(UserError, match=f"data.max_length={most + 1} is more than the {most} positions of this {kind}"):
        check_texts(checkpoint, DATA, most + 1)


@pytest.mark.parametrize("where", ["train", "test"])
def test_a_token_without_an_embedding(folder: Path, where: str) -> None:
    data = replace(DATA, test=[split("test", ["xyzzy"])])
    tokens = folder / "tokenizer.json"
    content = json.loads(tokens.read_text())
    size = len(content["model"]["vocab"])
    content["model"]["vocab"]["good" if where == "train" else "xyzzy"] = size  # the model's table ends before it
    tokens.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"\(split {where}\) the id {size}, but the model has embeddings for {size}"):
        check_texts(at(folder), data, 32)


def test_a_token_type_without_an_embedding(folder: Path) -> None:
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"type_id": 1', '"type_id": 2'))
    assert check_texts(at(folder), DATA, 32) == []
    with pytest.raises(UserError, match=r"token type 2 \(split train\), but the model has 2 types"):
        check_texts(at(folder), PAIRS, 32)


def test_no_room_for_text(folder: Path) -> None:
    with pytest.raises(UserError, match=r"data\.max_length=3 leaves no room for text beside 3 special tokens"):
        check_texts(at(folder), PAIRS, 3)


def test_texts_that_the_tokenizer_does_not_know(folder: Path) -> None:
    strange = ["☃ ☂", "☀ ☁ ☃"]
    with pytest.raises(UserError, match="knows none of the words"):
        check_texts(at(folder), replace(DATA, train=split("train", strange)), 32)
    (warning,) = check_texts(at(folder), replace(DATA, train=split("train", [*strange, "no"])), 32)
    assert warning == "83% of the words in the training texts are unknown to the tokenizer"
