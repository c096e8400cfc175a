"""The command line as users type it: flags anywhere, and values that Hydra's grammar rejects."""

from __future__ import annotations

import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from hype_bench.config import Config, DataConfig, ModelConfig, TaskConfig
from hype_bench.launch.user_conf import with_user_conf
from hype_bench.options import UserError
from hype_bench.sweeps.grids import names_in

_PARTS = {"": Config, "data.": DataConfig, "task.": TaskConfig, "model.": ModelConfig}
_PATHS = {f"{part}{f.name}" for part, cls in _PARTS.items() for f in fields(cls) if "place" in f.metadata}
_CONFIG_DIR = re.compile(r"^(?:--config-dir|-cd)(?==|$)")
_WORD = re.compile(r"[^\[\]{}(),:'\"=\s]+(?:[ \t]+[^\[\]{}(),:'\"=\s]+)*")
_OPTION = re.compile(r"(?:method|analysis)\.[^.]+\..+")
_ONE_VALUE = re.compile(r"((?:method|analysis)\.[^=]+=)choice\(([^,]*|\[.*\])\)")
_SWEEPER = "hydra/sweeper"
UNTIL_DECIDED = "experiment.seeds.until=decided"
_AUTO = {"seed=auto": [UNTIL_DECIDED, "hydra/sweeper=grids"]}  # what is typed -> what it stands for
_BARE = re.compile(r"[A-Za-z0-9_/\-\\+.$%*@?| \t]+")  # what Hydra's grammar accepts without quotes


def parse(arguments: Sequence[str]) -> Namespace:
    """The arguments as Hydra's own parser reads them, flags and overrides in any order.

    Raises:
        UserError: an unknown flag, a flag without its value, or techniques that :func:`check_named_once` refuses.
    """

    def fail(message: str) -> NoReturn:
        raise UserError(f"{message}; see python run.py --help")

    parser = get_args_parser()
    parser.add_argument("--fail-fast", action="store_true")  # not one of Hydra's
    parser.error = fail  # type: ignore[method-assign]
    parsed = parser.parse_intermixed_args(list(arguments))
    words = [word for typed in parsed.overrides for word in _AUTO.get(typed, [typed])]
    parsed.overrides = [*map(quoted, words), *(["fail_fast=true"] if parsed.fail_fast else [])]
    check_named_once(parsed.overrides)
    if parsed.multirun:
        parsed.overrides = options_as_axes(parsed.overrides)
    return parsed


def in_hydra_order(arguments: Sequence[str]) -> list[str]:
    """The same in the only order that Hydra 1.3 accepts: all overrides, then the flags.

    Raises:
        UserError: as :func:`parse`.
    """
    parsed = parse(arguments)
    flags: list[str] = []
    for action in get_args_parser()._actions:
        value = getattr(parsed, action.dest, None)
        if action.option_strings and value not in (None, False):
            flags += [action.option_strings[0]] if value is True else [action.option_strings[0], str(value)]
    return [*parsed.overrides, *flags]


def only_prints(arguments: Sequence[str]) -> bool:
    """Whether the command line asks Hydra to print a configuration instead of running anything."""
    parsed = parse(with_user_conf(arguments))
    return any((parsed.cfg, parsed.info, parsed.hydra_help))


def overrides_to_plan(arguments: Sequence[str]) -> list[str]:
    """The overrides of a command line that is planned instead of run.

    Raises:
        UserError: a flag about running.
    """
    parsed = parse(with_user_conf([_CONFIG_DIR.sub("--conf", word) for word in arguments]))
    for flag in ("config_name", "config_path", "experimental_rerun", "package", "run", "shell_completion"):
        if getattr(parsed, flag):
            raise UserError(f"--{flag.replace('_', '-')} is a flag of run.py, not of plan")
    return options_as_axes(parsed.overrides)


def options_as_axes(overrides: Sequence[str]) -> list[str]:
    """The overrides of a sweep, with options of techniques and analyses that not all of its runs choose as axes of one
    value: grids leave an axis out where it has no meaning, Hydra would refuse the option for all."""
    named = dict(override.partition("=")[::2] for override in overrides)
    options = [key for key in named if _OPTION.fullmatch(key)]
    if not options or named.get(_SWEEPER, "grids") != "grids":
        return list(overrides)
    has_grids = named.get("experiment", "default") != "default"
    foreign = [key for key in options if has_grids or _is_foreign(key, named)]
    axes = [
        f"{key}=choice({value})" if key in foreign and not is_sweep(f"{key}={value}") else f"{key}{is_set}{value}"
        for key, is_set, value in (override.partition("=") for override in overrides)
    ]
    return [*axes, f"{_SWEEPER}=grids"] if foreign and not has_grids and _SWEEPER not in named else axes


def _is_foreign(option: str, named: Mapping[str, str]) -> bool:
    """Whether some of the runs that the command line names have the option and others do not."""
    group, name, _ = option.split(".", 2)
    choices = f"{group}={named.get(group, '')}"
    if not is_sweep(choices):
        return False
    has = [name in names_in(value) for value in swept_values(OverridesParser.create().parse_override(choices))]
    return any(has) and not all(has)


def is_sweep(override: str) -> bool:
    try:
        return OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:  # reported when it is composed
        return False


def as_typed(override: str) -> str:
    """Undoes :func:`options_as_axes`."""
    return _ONE_VALUE.sub(r"\1\2", override)


def swept_values(override: Override) -> list[str]:
    """The values of a sweep over one key, as on the command line.

    Raises:
        UserError: there are none, or any number.
    """
    if override.is_interval_sweep():
        raise UserError(f"{override.input_line} is an interval: hydra/sweeper=optuna chooses from it")
    swept = list(override.sweep_string_iterator())
    if not swept:
        raise UserError(f"{override.input_line} gives no values: there is nothing to run")
    return swept


def quoted(override: str) -> str:
    """An override with quotes where Hydra's grammar needs them: around non-ASCII letters and around values with
    characters of the grammar. The value of a path is always a text."""
    key, is_set, value = override.partition("=")
    if key in _PATHS and value.startswith("~"):
        value = str(Path(value).expanduser())
        override = f"{key}={value}"
    if not is_set or _is_valid(key, override):
        return override
    beyond = _WORD.sub(lambda word: word[0] if _BARE.fullmatch(word[0]) else _quote(word[0]), value)
    attempts = [beyond] if _has_parts(key, value) else [beyond, _quote(value)]
    return next((f"{key}={text}" for text in attempts if _is_valid(key, f"{key}={text}")), override)


def _has_parts(key: str, value: str) -> bool:
    """Whether quotes around the value would turn a list or a sweep into one text."""
    return "," in value or (value.startswith(("[", "{")) and key not in _PATHS)


def _is_valid(key: str, override: str) -> bool:
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return key not in _PATHS or parsed.is_sweep_override() or isinstance(parsed.value(), str | None)


def _quote(text: str) -> str:
    """In single quotes; backslashes are doubled only before a quote."""
    escaped = re.sub(r"(\\*)('|$)", lambda end: end[1] * 2 + ("\\'" if end[2] else ""), text)
    return f"'{escaped}'"


def check_named_once(overrides: Iterable[str]) -> None:
    """Hydra silently composes ``method=[hype_n,hype_n]`` as ``method=hype_n``.

    Raises:
        UserError: a technique is named twice, or a list stands for a name, on which Hydra crashes.
    """
    candidates = [override for override in overrides if "method" in override.partition("=")[0]]  # parsing takes long
    for override in OverridesParser.create().parse_overrides(candidates):
        if override.get_key_element() != "method":
            continue
        value = override.value()
        choices = value.list if isinstance(value, ChoiceSweep) else [value]
        for named in (choice for choice in choices if isinstance(choice, list)):
            if any(isinstance(name, (list, dict)) for name in named):
                raise UserError(f"{override.input_line} must name techniques, as in method=[hype_n,r_drop]")
            for name, count in Counter(map(str, named)).items():
                if count > 1:
                    raise UserError(f"{override.input_line} names {name} {count} times; name each technique once")
