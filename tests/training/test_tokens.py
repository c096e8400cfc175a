"""Token numbers: the same whatever ran before and whatever lies in the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from hype_bench.config import ModelConfig
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_tokenizer
from hype_bench.options import UserError
from hype_bench.tasks.data import Split
from hype_bench.training import tokens as module
from hype_bench.training.tokens import Tokens, tokenise


def split(name: str, texts: list[str]) -> Split:
    return Split(name, (texts,), labels=np.arange(len(texts)), rows=10 + np.arange(len(texts)))


TRAIN = split("train", ["a cat sat on the mat", "no", "the long way home again"])
DEV = split("dev", ["it is a dog", "yes and no"])


def tokenizer() -> Any:
    return load_tokenizer(locate(ModelConfig(name="t", checkpoint="tiny:bert", family="bert")))


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """An empty cache and an empty memory; gives the files that are stored."""
    monkeypatch.setenv("HYPE_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_MEMORY", type(module._MEMORY)())
    return lambda: sorted((tmp_path / "hype_bench" / "tokens").glob("*"))


def same(a: Tokens, b: Tokens) -> bool:
    types = (a.types is None and b.types is None) or np.array_equal(a.types, b.types)  # type: ignore[arg-type]
    return np.array_equal(a.ids, b.ids) and types and np.array_equal(a.bounds, b.bounds)


def test_one_file_a_split_whatever_was_encoded_before(stored: Callable[[], list[Path]], tmp_path: Path) -> None:
    for number, order in enumerate([(TRAIN, DEV), (DEV, TRAIN), (TRAIN, DEV, TRAIN)]):
        module._MEMORY.clear()
        used = tokenizer()
        for texts in order:
            tokenise(texts, used, 16)
        used.save_pretrained(tmp_path / str(number))
    assert len(stored()) == 2
    saved = {(tmp_path / str(number) / "tokenizer.json").read_bytes() for number in range(3)}
    tokenizer().save_pretrained(tmp_path / "unused")
    assert saved == {(tmp_path / "unused" / "tokenizer.json").read_bytes()}


@pytest.mark.parametrize("columns", [1, 2])
def test_a_few_texts_at_a_time_give_the_same_tokens(
    columns: int, stored: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [" ".join(["cat"] * (1 + number % 5)) for number in range(7)]
    pairs = Split("train", (texts, texts[::-1])[:columns], np.arange(7), np.arange(7))
    whole = tokenise(pairs, tokenizer(), 8)
    for path in stored():
        path.unlink()
    module._MEMORY.clear()
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    assert same(tokenise(pairs, tokenizer(), 8), whole)
    assert len(whole) == 7


def test_truncation_and_padding_of_the_checkpoint_are_put_back(stored: Callable[[], list[Path]]) -> None:
    used = tokenizer()
    used.backend_tokenizer.enable_truncation(7, strategy="only_first", direction="left")
    used.backend_tokenizer.enable_padding(length=9, pad_id=0, pad_token="[PAD]")
    before = used.backend_tokenizer.to_str()
    assert tokenise(TRAIN, used, 16).lengths.tolist() == tokenise(TRAIN, tokenizer(), 16).lengths.tolist()
    assert used.backend_tokenizer.to_str() == before


@pytest.mark.parametrize("kind", ["other tokens", "cut", "empty", "no archive", "of another key"])
def test_a_stored_file_that_is_not_what_was_written_is_made_again(kind: str, stored: Callable[[], list[Path]]) -> None:
    right = tokenise(TRAIN, tokenizer(), 16)
    (path,) = stored()
    whole = path.read_bytes()
    if kind == "other tokens":
        with path.open("wb") as stream:
            np.savez(stream, ids=right.ids * 0 + 7, types=cast(Any, right.types), bounds=right.bounds)
    elif kind == "of another key":
        tokenise(DEV, tokenizer(), 16)
        path.write_bytes(next(other for other in stored() if other != path).read_bytes())
    else:
        path.write_bytes({"cut": whole[:-100], "empty": b"", "no archive": b"x" * 200}[kind])
    module._MEMORY.clear()
    assert same(tokenise(TRAIN, tokenizer(), 16), right)
    module._MEMORY.clear()
    assert len(path.read_bytes()) == len(whole)
    assert same(tokenise(TRAIN, tokenizer(), 16), right)


def test_the_key_holds_what_the_numbers_depend_on(stored: Callable[[], list[Path]]) -> None:
    def left(used: Any) -> None:
        used.truncation_side = "left"

    def no_types(used: Any) -> None:
        used.model_input_names = ["input_ids", "attention_mask"]

    def one_more(used: Any) -> None:
        used.add_tokens(["catsat"])

    plain = tokenise(TRAIN, tokenizer(), 5)
    for number, change in enumerate((left, no_types, one_more), 2):
        changed = tokenizer()
        change(changed)
        tokens = tokenise(TRAIN, changed, 5)
        assert len(stored()) == number
        assert same(tokens, plain) == (change is one_more)
    assert tokenise(TRAIN, tokenizer(), 6).lengths.max() == 6


def test_memory_of_tokens_is_bounded(stored: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    first = tokenise(TRAIN, tokenizer(), 16)
    monkeypatch.setattr(module, "_MOST_BYTES", first.nbytes + 8)
    latest = tokenise(DEV, tokenizer(), 16)
    assert list(module._MEMORY.values()) == [latest]
    again = tokenise(TRAIN, tokenizer(), 16)
    assert again is not first
    assert same(again, first)


def test_a_text_without_tokens_is_told(stored: Callable[[], list[Path]]) -> None:
    from tokenizers import processors

    bare = tokenizer()
    bare.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    empty = split("train", ["one", "", "two", " "])
    for _ in range(2):  # the second time from the cache
        with pytest.raises(UserError, match="split train: row 11 has no token \\(2 of 4 examples\\)"):
            tokenise(empty, bare, 16)


def test_a_tokenizer_written_in_python(stored: Callable[[], list[Path]]) -> None:
    from transformers import CanineTokenizer

    first = tokenise(TRAIN, CanineTokenizer(), 8)
    assert first.lengths.max() == 8
    module._MEMORY.clear()
    assert same(tokenise(TRAIN, CanineTokenizer(), 8), first)
    assert len(stored()) == 1
