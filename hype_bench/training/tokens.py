"""A split as token numbers, made once: kept in memory for the next run of a sweep and on disk for the next sweep."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hype_bench.models.cache import cache_folder
from hype_bench.tasks.data import Split, fingerprint

_FORMAT = 1
_MEMORY: dict[str, Tokens] = {}  # the splits this process has seen


@dataclass(frozen=True)
class Tokens:
    """All token numbers of a split in one flat array; example i has ``ids[bounds[i]:bounds[i + 1]]``."""

    ids: NDArray[np.int32]
    types: NDArray[np.int8] | None
    bounds: NDArray[np.int64]
    labels: NDArray[Any]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.bounds)

    def __len__(self) -> int:
        return len(self.labels)


def tokenise(split: Split, tokenizer: Any, max_length: int) -> Tokens:
    """Tokenises a split, pairs truncated longest first to ``max_length`` tokens, or takes it from the cache."""
    specification = (tokenizer.backend_tokenizer.to_str(), tokenizer.model_input_names, max_length, _FORMAT)
    digest = hashlib.blake2b(repr(specification).encode(), digest_size=16)
    digest.update(fingerprint([split]).encode())
    key = digest.hexdigest()
    if key not in _MEMORY:
        _MEMORY[key] = _read(key) or _encode(key, split, tokenizer, max_length)
    return _MEMORY[key]


def _path(key: str) -> Path:
    return cache_folder() / "tokens" / f"{key}.npz"


def _read(key: str) -> Tokens | None:
    try:
        with np.load(_path(key)) as stored:
            arrays = dict(stored)
        return Tokens(arrays["ids"], arrays.get("types"), arrays["bounds"], arrays["labels"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent or broken: tokenise again


def _encode(key: str, split: Split, tokenizer: Any, max_length: int) -> Tokens:
    encoded = tokenizer(
        *split.texts,
        truncation=True,
        max_length=max_length,
        return_attention_mask=False,
        return_token_type_ids="token_type_ids" in tokenizer.model_input_names,
    )
    rows = encoded["input_ids"]
    bounds = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=bounds[1:])
    flat = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=bounds[-1])
    types = None
    if "token_type_ids" in encoded:
        types = np.fromiter((t for row in encoded["token_type_ids"] for t in row), dtype=np.int8, count=bounds[-1])
    tokens = Tokens(flat, types, bounds, split.labels)
    with contextlib.suppress(OSError):  # no room or no right to write: the next process does the work again
        _store(_path(key), tokens)
    return tokens


def _store(path: Path, tokens: Tokens) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"ids": tokens.ids, "bounds": tokens.bounds, "labels": tokens.labels}
    if tokens.types is not None:
        arrays["types"] = tokens.types
    handle, scratch = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, **arrays)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
