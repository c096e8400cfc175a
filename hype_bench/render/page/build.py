"""Writes ``<results>/report/``: ``index.html``, which needs nothing beside it but the pages of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hype_bench import __version__
from hype_bench.config import METRICS
from hype_bench.output import inert
from hype_bench.render.page.experiment import experiment_context
from hype_bench.render.page.provenance import provenance
from hype_bench.render.page.run import run_context
from hype_bench.render.plots import KINDS
from hype_bench.render.report import Experiment, read_experiment
from hype_bench.runs.frame import tidy
from hype_bench.runs.record import Label
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import RunStatus, read_runs
from hype_bench.runs.writing import write_atomically, writing_to
from hype_bench.sweeps.planned import PlannedRun, plans
from hype_bench.tables.collapsed import collapsed

_HERE = resources.files("hype_bench.render.page")
_NOT_STARTED = "not started"
_ASSETS = ("page.css", "run.js", "uPlot.iife.min.js", "uPlot.min.css")  # beside the pages of the runs


@dataclass(frozen=True)
class Written:
    """``page``: the file to open; ``runs``: those that it shows; ``complaints``: about damaged files."""

    page: Path
    runs: list[RunStatus]
    complaints: list[str]


def write_report(results_dir: Path, names: Sequence[str], rule: str) -> Written:
    """The page of these experiments or, without a name, of all that have a plan and of all runs.

    Raises:
        UserError: an experiment has no plan, or the folder cannot be written to.
    """
    statuses = {run.identity: run for run in read_runs(results_dir)}
    experiments = [read_experiment(results_dir, name, rule) for name in names or plans(results_dir)]
    shown = _of(experiments) if names else statuses
    runs = [run for identity, run in statuses.items() if identity in shown]
    folder = results_dir / "report"
    templates = _templates()
    with writing_to(folder):
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        for name in _ASSETS:
            (folder / "runs" / name).write_text(_asset(name), encoding="utf-8")
        for run in runs:
            page = templates.get_template("run.html").render(run_context(run), version=__version__)
            (folder / "runs" / f"{run.identity}.html").write_text(scrub(page), encoding="utf-8")
        contexts = [experiment_context(experiment, statuses) for experiment in experiments]
        write_atomically(folder / "index.html", _index(templates, contexts, list(_run_rows(runs, experiments)), runs))
    complaints = [text for context in contexts for text in context["answer"]["complaints"]]
    return Written(folder / "index.html", runs, complaints)


def _of(experiments: Iterable[Experiment]) -> set[str]:
    return {run.identity for experiment in experiments for run in experiment.plan.runs}


def _index(
    templates: jinja2.Environment, experiments: list[dict[str, Any]], rows: list[list[Any]], runs: list[RunStatus]
) -> str:
    page = templates.get_template("index.html").render(
        experiments=experiments,
        runs=[[inert(value) if isinstance(value, str) else value for value in row] for row in rows],
        kinds=KINDS,
        provenance=provenance(runs),
        version=__version__,
    )
    return _with_libraries(scrub(page))


def _run_rows(runs: Sequence[RunStatus], experiments: Iterable[Experiment]) -> Iterator[list[Any]]:
    """What the table of all runs shows, row by row; ``index.html`` names its columns. Planned runs that have not
    started have no page."""
    planned = {run.identity: run for experiment in experiments for run in experiment.plan.once()}
    constant = _collapsed(runs)
    for run in sorted(runs, key=lambda run: run.title):
        label, record = run.about.label if run.about else planned.get(run.identity), run.record
        score = record.headline if record else None
        scale = 100 if record and record.label.metric in METRICS else 1
        number = None if score is None or score != score else scale * score
        seconds = sum(record.seconds.values()) if record else None
        planned.pop(run.identity, None)
        state = f"{run.state}{', collapsed' * (run.identity in constant)}"
        yield [run.identity, state, *_place(label), number, seconds, run.reason]
    for rest in planned.values():
        yield ["", _NOT_STARTED, *_place(rest), None, None, rest.problem]


def _collapsed(runs: Sequence[RunStatus]) -> set[str]:
    frame = tidy(runs)
    headlines = frame[frame.headline]
    return set(headlines.identity[collapsed(headlines, "")])


def _place(label: Label | PlannedRun | None) -> list[Any]:
    names = ("model", "task", "method", "seed", "metric")
    return [getattr(label, name, None if name == "seed" else "") for name in names]


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hype_bench.render.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: inert(value) if type(value) is str else value,
    )
    environment.globals["asset"] = lambda name: Markup(_asset(name))  # files of this package
    return environment


def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


def _with_libraries(page: str) -> str:
    """DataTables within the page, as itables ships it."""
    bundle = resources.files("itables") / "html"
    code = (bundle / "dt_bundle.js").read_text(encoding="utf-8")
    inert_code = code.replace("<!--", r"<\!--").replace("</script", r"<\/script")  # the page must not end in it
    page = page.replace("/*datatables.js*/", inert_code)
    return page.replace("/*datatables.css*/", (bundle / "dt_bundle.css").read_text(encoding="utf-8"))
