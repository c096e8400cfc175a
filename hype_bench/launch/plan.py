"""From an experiment to its runs: expanded, composed, checked and identified. Nothing is trained here."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from hype_bench.config import CONF, RunConfig
from hype_bench.launch.arguments import UNTIL_DECIDED, as_typed, check_named_once, swept_values
from hype_bench.launch.execute import check_planned, identify, identify_read, resolve_run
from hype_bench.launch.job import metric_of, task_label
from hype_bench.options import UserError, check_fields
from hype_bench.schema import SeedsConfig
from hype_bench.sweeps.grids import Axes, Point, expand, row_axes
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.sweeps.workload import workload_of

if TYPE_CHECKING:
    from hype_bench.contract.method import Method

    Resolved = tuple[RunConfig, dict[str, Method]]

_NO_AXES = ("experiment", "scope")  # they decide which points there are


def plan_of(arguments: Sequence[str]) -> tuple[Plan, Path]:
    """The plan of a command line and the results folder it names, without running anything.

    Raises:
        UserError: an invalid run. Hydra's own exceptions for what cannot be composed.
    """
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", overrides=list(arguments), run_mode=RunMode.MULTIRUN)
        return make_plan(loader, master, list(master.hydra.overrides.task)), Path(master.results_dir)


def make_plan(loader: ConfigLoader, master: DictConfig, arguments: Iterable[str]) -> Plan:
    """Every run of an experiment, checked.

    Args:
        loader: Hydra's, with the schema in its store.
        master: the configuration composed from ``arguments`` without their sweeps, Hydra's own node included.
        arguments: overrides as on the command line; those that are no axis of a grid apply to every run.

    Raises:
        UserError: an invalid run, before any is started. Missing data or weights are no error: the run is in the plan
            with its ``problem``.
    """
    arguments = list(arguments)
    parser = OverridesParser.create(config_loader=loader)
    fixed, given = _split(parser.parse_overrides(arguments))
    experiment: dict[str, Any] = OmegaConf.to_container(master.experiment, resolve=True)  # type: ignore[assignment]
    experiment["grids"] = [_with_choices(grid, parser) for grid in experiment["grids"]]
    scope: dict[str, Any] = OmegaConf.to_container(master.scope, resolve=True)  # type: ignore[assignment]
    least = _until_decided(experiment, given)
    points = expand(experiment, scope, given)
    if least:
        _check_no_search(points, experiment["search"])
    rows = row_axes(points, experiment["search"])
    composer = _Composer(loader, master, fixed, points)
    resolved = _resolver(composer)
    return Plan(
        name=experiment["name"],
        title=experiment["title"],
        scope=scope["name"],
        table=experiment["table"],
        search=experiment["search"],
        command=" ".join(["python run.py -m", *_typed(arguments)]),
        runs=[_planned(point, resolved, fixed, rows, experiment["search"]) for point in points],
        least=least,
    )


def _with_choices(grid: dict[str, Any], parser: OverridesParser) -> dict[str, Any]:
    """The grid with all choices of a group in the place of ``glob(*)``, which is Hydra's on the command line."""
    globs = [f"{axis}={values}" for axis, values in grid.items() if str(values).startswith("glob(")]
    return grid | {glob.get_key_element(): swept_values(glob) for glob in parser.parse_overrides(globs)}


def _until_decided(experiment: dict[str, Any], given: Axes) -> int:
    """Gives the axis of the seeds, unless the command line has, all that a rule for seeds allows; returns how many of
    them are run in any case, 0 for all.

    Raises:
        UserError: a limit is out of range.
    """
    seeds = SeedsConfig(**experiment["seeds"])
    check_fields("experiment.seeds.", seeds)
    if seeds.least > seeds.most:
        raise UserError(f"experiment.seeds.least={seeds.least} is above experiment.seeds.most={seeds.most}")
    if not seeds.until or "seed" in given:
        return 0
    given["seed"] = [str(seed) for seed in range(1, seeds.most + 1)]
    return seeds.least


def _check_no_search(points: Sequence[Point], search: list[str]) -> None:
    """Raises UserError if a row has the choice of several configurations: the best one would change with the seeds."""
    tried, rows = ({replace(p, values=p.without(["seed", *axes])) for p in points} for axes in ([], search))
    if len(tried) > len(rows):
        axis = search[0]
        raise UserError(
            f"seeds until it is decided need one configuration for each row: fix {', '.join(search)}, as in {axis}=..."
        )


def _typed(arguments: Iterable[str]) -> list[str]:
    return ["seed=auto" if word == UNTIL_DECIDED else as_typed(word) for word in arguments]


def _split(overrides: list[Override]) -> tuple[list[str], Axes]:
    """The overrides that define the grids, and the axes given beside them."""
    fixed: list[str] = []
    given: Axes = {}
    for override in overrides:
        key = override.get_key_element()
        if key.startswith(("+", "~")) or key.partition(".")[0] in _NO_AXES:
            if override.is_sweep_override():
                raise UserError(f"{key} cannot be swept; give one value")
            fixed.append(str(override.input_line))
        elif override.is_sweep_override():
            given[key] = swept_values(override)
        else:
            given[key] = [override.get_value_element_as_str()]
    return fixed, given


def _resolver(composer: _Composer) -> Callable[[Point], Resolved]:
    """Resolves points: those that differ only in the seed once, and every seed once."""

    @cache
    def without_seed(point: Point) -> Resolved:
        check_named_once(point.overrides)
        run, methods = resolve_run(composer(point))
        check_planned(run, methods)
        return run, methods

    seeds: dict[str | None, int] = {}

    def resolved(point: Point) -> Resolved:
        seed = dict(point.values).get("seed")
        if seed not in seeds:
            seeds[seed] = without_seed(point)[0].seed
        run, methods = without_seed(Point(point.without(["seed"])))
        return replace(run, seed=seeds[seed]), methods

    return resolved


def _planned(
    point: Point, resolved: Callable[[Point], Resolved], fixed: list[str], rows: list[str], search: list[str]
) -> PlannedRun:
    try:
        run, methods = resolved(point)
        is_default = resolved(Point(point.without(search))) == (run, methods)
    except UserError as error:
        raise UserError(f"{' '.join([*fixed, *point.overrides])}: {error}") from error
    name, reads, problem = "", "", ""
    try:
        name, reads = identify(run, methods), identify_read(run, methods)
    except UserError as error:
        problem = str(error)
    return PlannedRun(
        identity=name,
        block=point.block or run.model.label,
        model=run.model.label,
        task=task_label(run),
        metric=metric_of(run),
        method="+".join(run.methods),
        row=point.row or "",
        settings={} if point.row else point.settings(rows),
        configuration=point.settings(search),
        is_default=is_default,
        seed=run.seed,
        overrides=[*fixed, *point.overrides],
        problem=problem,
        analysis="".join(run.analysis),
        reads=reads,
        workload=workload_of(vars(run.training), vars(run.data), methods),
    )


class _Composer:
    """Hydra composes every choice of a group once (85 ms), a choice of each group together; points add the scalars.

    The result is what Hydra would compose, because a choice under ``conf`` sets its own group only; a test compares.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, fixed: list[str], points: Iterable[Point]) -> None:
        self.loader, self.master, self.fixed = loader, master, fixed
        self.is_group = cache(lambda key: bool(loader.get_group_options(key)))
        self.value = cache(lambda text: OverridesParser.create().parse_override(text).value())
        self.default = self._compose([])
        self.choices = self._compose_choices(points)
        self.copies: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[DictConfig, dict[str, str]]] = {}

    def __call__(self, point: Point) -> DictConfig:
        """The point's configuration, valid until the next call."""
        choices = {axis: value for axis, value in point.values if self.is_group(axis)}
        scalars = {axis: value for axis, value in point.values if not self.is_group(axis)}
        key = tuple(choices), tuple(scalars)
        if key not in self.copies:  # all points of a copy set the same keys, so nothing of the last one remains
            self.copies[key] = copy.deepcopy(self.default), {}
        composed, chosen = self.copies[key]
        for group, choice in choices.items():
            if chosen.get(group) != choice:  # to copy a group takes longer than all that follows
                composed[group] = self.choices[group, choice]
        chosen.update(choices)
        for axis, value in scalars.items():
            try:
                OmegaConf.update(composed, axis, self.value(f"{axis}={value}"))
            except (ConfigAttributeError, ConfigKeyError) as error:
                raise ConfigCompositionException(f"Could not override '{axis}'") from error  # as Hydra says it
        return composed

    def _compose_choices(self, points: Iterable[Point]) -> dict[tuple[str, str], DictConfig]:
        """(group, choice) -> what it sets."""
        values = dict.fromkeys(value for point in points for value in point.values if self.is_group(value[0]))
        of_groups: dict[str, list[tuple[str, str]]] = {}
        for group, choice in values:
            of_groups.setdefault(group, []).append((group, choice))
        composed = self._compose_techniques(of_groups.pop("method")) if "method" in of_groups else {}
        for together in itertools.zip_longest(*of_groups.values()):
            chosen = [choice for choice in together if choice is not None]
            config = self._compose([f"{group}={choice}" for group, choice in chosen])
            composed |= {(group, choice): config[group] for group, choice in chosen}
        return composed

    def _compose_techniques(self, choices: list[tuple[str, str]]) -> dict[tuple[str, str], DictConfig]:
        """All techniques at once: each has a node of its own, and a choice may be several of them."""
        parsed = {choice: self.value(f"method={choice[1]}") for choice in choices}
        names = {choice: value if isinstance(value, list) else [value] for choice, value in parsed.items()}
        every = dict.fromkeys(itertools.chain.from_iterable(names.values()))
        method = self._compose([f"method=[{','.join(every)}]"]).method
        return {choice: OmegaConf.create({n: method[n] for n in chosen}) for choice, chosen in names.items()}

    def _compose(self, choices: list[str]) -> DictConfig:
        composed = self.loader.load_sweep_config(self.master, [*self.fixed, *choices])
        with open_dict(composed):
            del composed["hydra"]
        OmegaConf.set_readonly(composed, False)
        composed.experiment.shared, composed.experiment.grids = {}, []  # long, and no run reads them
        _read_environment(composed)
        return composed


def _read_environment(composed: DictConfig) -> None:
    """Puts the values of environment variables in the place of their names, which OmegaConf would parse for every
    run."""
    for group in (composed.data, composed.tracker):
        written: Any = OmegaConf.to_container(group)
        for key in written:
            if re.fullmatch(r"\$\{oc\.env:[^${}]*\}", str(written[key])) and "${" not in str(group[key]):
                group[key] = group[key]
