"""Keeps keys, tokens and passwords out of records, logs, tables and W&B.

By value: what the environment holds under a name such as ``HF_TOKEN`` or ``DB_PASS``, and the password of every address
in it. By form: what looks like a key, wherever it comes from. The keys of a record, numbers and the
words of ``conf`` are kept: a variable named like a secret may hold ``tiny_bert``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from hype_bench.choices import conf_folders

_NAME = re.compile(  # a word of a variable's name; TOKENIZER and MONKEY do not match
    r"[A-Z]*(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY)S?|KEYS?|(?:DB|PG|SSH)?PASS|PATS?|PWD"
)
_SHORTEST = 8
_PASSWORD_OF_ADDRESS = re.compile(r"://[^/:@\s]*:(.+)@[^@\s]+")  # whatever the password holds

_KEYS = (
    r"hf_[A-Za-z0-9]{20,}|wandb_v\d_\w{20,}|gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|sk-(?:[a-z]+\d*-)*[A-Za-z0-9]{20,}"
    r"|xox[a-z]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{35}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"
)
_FORMS = (  # of a secret and what stands before it; < begins what took the place of one
    (re.compile(rf"\b()(?:{_KEYS})"), "token"),
    (re.compile(r"(://[^\s/:@'\"]*:)(?!<)[^\s/'\"]+(?=@)"), "password"),
    (re.compile(r"(://)(?!<)[^\s/:@'\"]{20,}(?=@)"), "token"),
    (re.compile(r"(\bauthorization['\"]?\s*[:=]\s*['\"]?\w+\s+)(?!<)[\w.~+/=-]{8,}", re.IGNORECASE), "token"),
    (re.compile(r"(\bbearer\s+)(?!<)[\w.~+/=-]{16,}", re.IGNORECASE), "token"),
    (re.compile(r"([?&][\w-]*(?:token|key|secret|sig|signature|password)=)(?!<)[^\s&#'\"]+", re.IGNORECASE), "token"),
)


def scrub(text: str) -> str:
    """The text with ``<HF_TOKEN>`` in place of that variable's value, however it is escaped, and ``<token>`` or
    ``<password>`` in place of what looks like one."""
    return _replaced(text, _known(tuple(_secrets())))


def scrub_values(content: Any) -> Any:
    """The same for every string in dicts and lists, before they become JSON; keys are kept."""
    known = _known(tuple(_secrets()))
    seen: dict[str, str] = {}  # a plan of 100,000 runs repeats the same strings

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            if value not in seen:
                seen[value] = _replaced(value, known)
            return seen[value]
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, (list, tuple)) else value

    return walk(content)


_Known = tuple[re.Pattern[str] | None, dict[str, str]]  # what finds every form of a secret, and the variable of each


def _replaced(text: str, known: _Known) -> str:
    if len(text) < _SHORTEST:
        return text
    pattern, names = known
    if pattern:
        text = pattern.sub(lambda match: f"<{names[match[0]]}>", text)
    for form, what in _FORMS:
        text = form.sub(rf"\1<{what}>", text)
    return text


@cache
def _known(secrets: tuple[tuple[str, str], ...]) -> _Known:
    names = {form: name for name, secret in secrets for form in _escaped(secret)}
    longest_first = sorted(names, key=len, reverse=True)
    return (re.compile("|".join(map(re.escape, longest_first))) if names else None), names


def _secrets() -> Iterator[tuple[str, str]]:
    """Name and value of what the environment keeps secret."""
    for name, value in os.environ.items():
        if any(_NAME.fullmatch(word) for word in re.split(r"[^A-Z]+", name.upper())):
            secret = value.strip()
        elif address := _PASSWORD_OF_ADDRESS.search(value):
            secret = address[1]
        else:
            continue
        if len(secret) >= _SHORTEST and not _is_harmless(secret):
            yield name, secret


def _escaped(secret: str) -> set[str]:
    """As it stands in text, JSON, Python's repr, an address, and a quoted override."""
    return {
        secret,
        unquote(secret),
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        secret.replace("\\", "\\\\").replace("'", "\\'"),
    }


@cache
def _is_harmless(value: str) -> bool:
    """Whether it is a number, a file, or a word that everyone may read in ``conf``."""
    try:
        float(value)
        return True
    except ValueError:
        pass
    try:
        is_file = value[0] in "/~." and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long for a name; a NUL; nobody's home
        is_file = False
    return is_file or value in _words_of_conf()


@cache
def _words_of_conf() -> frozenset[str]:
    words: set[str] = set()
    for path in (path for folder in conf_folders() for path in folder.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        words |= {path.stem, *re.findall(r"[\w.+-]+", text), *re.findall(r"[\w./+-]+", text)}
    return frozenset(words)
