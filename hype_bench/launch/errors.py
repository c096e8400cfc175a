"""The errors of Hydra and OmegaConf, in one line that says what to do."""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
from collections.abc import Iterator
from typing import NoReturn

import yaml
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hype_bench.choices import choice_file, choices, groups, read_choice
from hype_bench.config import Config
from hype_bench.options import UserError
from hype_bench.output import say
from hype_bench.runs.secrets import scrub
from hype_bench.sweeps.display import display
from hype_bench.sweeps.grids import OPTIONAL

_COMPOSITION_ERRORS = (
    HydraException,
    OmegaConfBaseException,
    yaml.YAMLError,
    ValueError,
    OverflowError,
    AssertionError,
)
_IN_FILE = re.compile(r"In '(\S+)': \w+ raised while composing config:")


def fail(sentence: str, code: int) -> NoReturn:
    display.stop()
    say(f"error: {scrub(sentence)}", to=sys.stderr)
    raise SystemExit(code)


@contextlib.contextmanager
def composition_errors() -> Iterator[None]:
    """Turns the errors of Hydra and OmegaConf about a composition into a UserError."""
    try:
        yield
    except (*_COMPOSITION_ERRORS, AttributeError) as error:
        if _is_interrupt(error):
            raise KeyboardInterrupt from error
        if not isinstance(error, AttributeError):
            raise UserError(one_line(error)) from error
        # OmegaConf's, if it names a key: a mapping where null stands
        if not (key := re.search(r"full_key: (\S+)", str(error))):
            raise
        sentence = f"{key[1]} is null and takes no mapping here: write it in a YAML file of your own (--conf DIR)"
        raise UserError(sentence) from error


def _is_interrupt(error: BaseException | None) -> bool:
    """OmegaConf puts flags back while an interrupt passes, and one in fifty becomes an error of its own there."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


@contextlib.contextmanager
def value_errors() -> Iterator[None]:
    """Turns OmegaConf's errors about a value, such as an unresolvable ``${...}``, into a UserError."""
    try:
        yield
    except (OmegaConfBaseException, OverflowError) as error:
        raise UserError(one_line(error)) from error


def one_line(error: Exception) -> str:
    """Without the extra lines of Hydra and OmegaConf, with the nearest key for a misspelt one."""
    text = str(error.__cause__ or error) if "Error merging" in str(error) else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
        return f"{mark.name}, line {mark.line + 1}: not YAML: {error.problem}"
    if several := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'", text):
        return _sweep(*several[1].partition("=")[::2])
    if options := re.search(r"Could not (?:find|load) '([\w/]+)/([^'/]*)'", text):
        group, wrong = options.groups()
        known = sorted(getattr(error, "options", None) or choices(group))  # those of a --conf folder too
        those = "hype-bench methods lists them" if group == "method" else f"there are {', '.join(known)}"
        return f"there is no {group} {wrong!r}{_nearest(wrong, known)}; {those}"
    if key := re.search(r"Could not override '([^']+)'", text):
        return _no_key(key[1])
    full_key = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    first, *others = lines or [type(error).__name__]
    if (file := _IN_FILE.fullmatch(first)) and others:
        first = f"{others[0]} (in {file[1]})"
    return f"{full_key}: {first}" if full_key and full_key not in first else first


def _unreadable(override: str) -> str:
    key, is_set, value = override.partition("=")
    quoting = f"; a text with characters such as [ or = as '{key}=\"{value}\"'" if is_set else ""
    return f"cannot read {override!r}; write key=value, in quotes where the shell would change it{quoting}"


def _sweep(key: str, value: str) -> str:
    hint = f"; a list is written {key}=[{value}], a text with a comma '{key}=\"{value}\"'" if "(" not in value else ""
    return f"{key}={value} stands for several runs: add -m to run them{hint}"


def _no_key(key: str) -> str:
    if key in groups():
        return f"{key} is chosen by name, as in {key}=NAME; its options are set one by one, as in {key}.OPTION=VALUE"
    group, _, option = key.partition(".")
    name, _, option = option.partition(".")
    if group in OPTIONAL and option and choice_file(group, name):
        own = _options(group, name)
        if key in own:
            together = f" or method=[...,{name}]" if group == "method" else ""
            return f"{key} is an option of {name}, which is not chosen: {group}={name}{together}"
        return f"{name} has no option {option!r}{_nearest(key, own)}; it has {', '.join(own) or 'none'}"
    options = [option for each in OPTIONAL for choice in choices(each) for option in _options(each, choice)]
    return f"there is no key {key!r}{_nearest(key, [*groups(), *_keys(OmegaConf.structured(Config)), *options])}"


def _nearest(wrong: str, known: list[str]) -> str:
    near = [name for name in difflib.get_close_matches(wrong, known, n=2) if name != wrong]
    return f"; did you mean {near[0]}?" if near else ""


def _keys(node: DictConfig, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key in map(str, node):
        value = None if OmegaConf.is_missing(node, key) else node[key]
        name = f"{prefix}{key}"
        keys += _keys(value, f"{name}.") if isinstance(value, DictConfig) and value else [name]
    return keys


def _options(group: str, name: str) -> list[str]:
    return [f"{group}.{name}.{key}" for key in read_choice(group, name)]
