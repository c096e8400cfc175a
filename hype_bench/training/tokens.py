"""A split as token ids, computed once: kept in memory for the next run of a sweep and on disk for the next sweep."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import transformers
from numpy.typing import NDArray

from hype_bench.models.cache import cache_folder
from hype_bench.options import UserError
from hype_bench.tasks.data import Split, fingerprint

_FORMAT = 2
_SEAL = 16  # bytes at the end of a stored file
_MOST_BYTES = 1 << 29
_AT_ONCE = 10_000  # examples
_MEMORY: OrderedDict[str, Tokens] = OrderedDict()  # the splits of this process, the latest last


@dataclass(frozen=True)
class Tokens:
    """All token ids of a split in one flat array; example i has ``ids[bounds[i]:bounds[i + 1]]``."""

    ids: NDArray[np.int32]
    types: NDArray[np.int8] | None
    bounds: NDArray[np.int64]
    labels: NDArray[Any]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every example, (examples,)."""
        return np.diff(self.bounds)

    @property
    def nbytes(self) -> int:
        return self.ids.nbytes + self.bounds.nbytes + (0 if self.types is None else self.types.nbytes)

    def __len__(self) -> int:
        return len(self.labels)


def tokenise(split: Split, tokenizer: Any, max_length: int) -> Tokens:
    """Tokenises a split, pairs truncated longest first to ``max_length`` tokens, or takes it from the cache.

    Raises:
        UserError: an example has no token.
    """
    key = _key(split, tokenizer, max_length)
    if key not in _MEMORY:
        _MEMORY[key] = _read(key, split) or _make(key, split, tokenizer, max_length)
    _MEMORY.move_to_end(key)
    while len(_MEMORY) > 1 and sum(tokens.nbytes for tokens in _MEMORY.values()) > _MOST_BYTES:
        _MEMORY.popitem(last=False)
    tokens = _MEMORY[key]
    if (empty := np.flatnonzero(tokens.lengths == 0)).size:
        raise UserError(
            f"split {split.name}: row {split.rows[empty[0]]} has no token ({empty.size} of {len(tokens)} examples): "
            "drop the empty texts, or use a checkpoint whose tokenizer adds special tokens"
        )
    return tokens


def _key(split: Split, tokenizer: Any, max_length: int) -> str:
    """Everything that the token ids depend on."""
    rules = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else _saved(tokenizer)
    what = (type(tokenizer).__name__, rules, tokenizer.truncation_side, tokenizer.model_input_names, max_length)
    versions = (_FORMAT, transformers.__version__, tokenizers.__version__)
    digest = hashlib.blake2b(repr((what, versions)).encode(), digest_size=16)
    digest.update(fingerprint([split]).encode())
    return digest.hexdigest()


def _saved(tokenizer: Any) -> list[tuple[str, bytes]]:
    """The files that a tokenizer written in Python would save."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return [(path.name, path.read_bytes()) for path in files]


def _make(key: str, split: Split, tokenizer: Any, max_length: int) -> Tokens:
    lengths, ids, types = [], [], []
    with _as_loaded(tokenizer):
        for encoded in _encoded(split, tokenizer, max_length):
            rows = encoded["input_ids"]
            lengths += [len(row) for row in rows]
            ids.append(np.fromiter(chain.from_iterable(rows), dtype=np.int32))
            if "token_type_ids" in encoded:
                types.append(np.fromiter(chain.from_iterable(encoded["token_type_ids"]), dtype=np.int8))
    bounds = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=bounds[1:])
    tokens = Tokens(np.concatenate(ids), np.concatenate(types) if types else None, bounds, split.labels)
    with contextlib.suppress(OSError):  # disk full or read-only: the next process tokenises again
        _store(key, tokens)
    return tokens


def _encoded(split: Split, tokenizer: Any, max_length: int) -> Iterator[Any]:
    """What the tokenizer makes of some texts at a time: kilobytes an example, gigabytes for all of MNLI."""
    for start in range(0, max(len(split), 1), _AT_ONCE):
        yield tokenizer(
            *(column[start : start + _AT_ONCE] for column in split.texts),
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids="token_type_ids" in tokenizer.model_input_names,
        )


@contextlib.contextmanager
def _as_loaded(tokenizer: Any) -> Iterator[None]:
    """A call leaves its truncation and padding on a fast tokenizer, and ``save_pretrained`` would write them."""
    if not tokenizer.is_fast:
        yield
        return
    backend = tokenizer.backend_tokenizer
    truncation, padding = backend.truncation, backend.padding
    try:
        yield
    finally:
        backend.enable_truncation(**truncation) if truncation else backend.no_truncation()
        backend.enable_padding(**padding) if padding else backend.no_padding()


def _path(key: str) -> Path:
    return cache_folder() / "tokens" / f"{key}.npz"


def _seal(key: str, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_SEAL, key=key.encode()).digest()


def _read(key: str, split: Split) -> Tokens | None:
    """What is stored under this key, if it is complete and unchanged."""
    path = _path(key)
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError:
        return None
    body, seal = content[:-_SEAL], content[-_SEAL:]
    if seal != _seal(key, body):
        return None
    with np.load(io.BytesIO(body)) as stored:
        return Tokens(stored["ids"], stored.get("types"), stored["bounds"], split.labels)


def _store(key: str, tokens: Tokens) -> None:
    path = _path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"ids": tokens.ids, "bounds": tokens.bounds} | ({} if tokens.types is None else {"types": tokens.types})
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub reads the names as allow_pickle
    body = buffer.getvalue()
    handle, scratch = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(body + _seal(key, body))
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
