"""An experiment in W&B: its table as one run, its workspace, and on demand the runs that had no tracker.

Without a key or a network the same is written under the results folder, to be sent later. The records stay what counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hype_bench.options import UserError
from hype_bench.render import table_csv
from hype_bench.render.comparisons import compare
from hype_bench.render.figure import figure
from hype_bench.render.report import Experiment, read_experiment, report
from hype_bench.render.text import CAPTION
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.secrets import scrub
from hype_bench.runs.writing import file_name, write_atomically, writing_to
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.beside_paper import PAPER, against_paper
from hype_bench.tables.cells import AVERAGE
from hype_bench.tracking.tracker import WandbTracker, open_run, open_session
from hype_bench.tracking.workspace import PANEL, Shown, save, spec_of, workspace_of

PAGE = "page"  # the key of the HTML page in the run that carries the table
_NO_WORKSPACE = "no workspace: pip install 'hype-bench[dashboards]' and publish again"


@dataclass(frozen=True)
class _Publication:
    """What is published, and lies in ``folder``; to whom in W&B.

    ``rows``: of the CSV; ``page``: HTML; ``figures``: block -> its file.
    """

    results_dir: Path
    project: str
    entity: str | None
    experiment: Experiment
    rows: list[dict[str, object]]
    page: str

    @property
    def plan(self) -> Plan:
        return self.experiment.plan

    @property
    def folder(self) -> Path:
        return self.results_dir / "publish" / self.plan.name

    @property
    def figures(self) -> dict[str, Path]:
        return {table.model: self.folder / f"{file_name(table.model)}.png" for table in self.experiment.tables}

    @property
    def identity(self) -> str:
        """Of the W&B run: publishing again updates it; a smaller scope has its own."""
        scope = "" if self.plan.scope == "paper" else f"-{self.plan.scope}"
        return f"table-{file_name(self.plan.name)}{scope}-{self.experiment.rule}"


@dataclass(frozen=True)
class _Sent:
    """What became of the run that carries the table. ``mode``: online, offline or disabled."""

    mode: str
    folder: Path
    entity: str
    url: str


def publish(
    results_dir: str | Path,
    name: str,
    rule: str = "paper",
    project: str = "hype_bench",
    entity: str | None = None,
    runs: bool = False,
) -> list[str]:
    """Sends an experiment's table and workspace to W&B, or writes what would be sent.

    Args:
        rule: a key of :data:`hype_bench.tables.selection.RULES`.
        project, entity: where the experiment's runs are.
        runs: also those of its runs that W&B has not seen, from their records.

    Returns:
        Lines to print: where everything is, and what is still to do.

    Raises:
        UserError: there is no plan of that name, records of two code formats, or W&B refuses.
    """
    publication = _read(Path(results_dir), name, rule, project, entity)
    _write(publication)
    figures = ", ".join(path.name for path in publication.figures.values())
    lines = [f"{publication.folder}: table.html, table.csv, {figures}"]
    try:
        with _staged(publication.results_dir):
            sent = _send_table(publication)
            lines += _send_runs(publication) if runs else []
            lines += _send_workspace(publication, sent)
    except UserError:
        raise
    except Exception as error:
        reason = scrub((str(error).splitlines() or [type(error).__name__])[0])
        raise UserError(f"W&B refuses it ({reason}); what would be sent is in {publication.folder}") from error
    return [*lines, _outcome(publication, sent)]


def _read(results_dir: Path, name: str, rule: str, project: str, entity: str | None) -> _Publication:
    experiment = read_experiment(results_dir, name, rule)
    baseline = None if experiment.plan.table is None else PAPER
    columns = compare(experiment.plan, experiment.results, baseline).columns
    rows = table_csv.cell_rows(experiment.tables, experiment.results, columns)
    page = scrub(report(experiment, "html", baseline, intervals=True).text)
    return _Publication(results_dir, project, entity, experiment, rows, page)


def _write(publication: _Publication) -> None:
    experiment, plan = publication.experiment, publication.plan
    paper = against_paper(plan, experiment.results) if plan.table is not None else {}
    scope = "" if plan.scope == "paper" else f", scope {plan.scope}"
    with writing_to(publication.folder):
        publication.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(publication.folder / "table.html", publication.page)
        write_atomically(publication.folder / "table.csv", scrub(table_csv.to_csv(publication.rows)))
        for table in experiment.tables:
            of_block = {place: cell for place, cell in paper.items() if place[0] == table.model}
            drawn = figure(table, of_block, scrub(f"{plan.name}{scope}: {table.model}"), f"paper, Table {plan.table}")
            drawn.savefig(publication.figures[table.model])


def _send_table(publication: _Publication) -> _Sent:
    import wandb

    plan, rule = publication.plan, publication.experiment.rule
    columns = table_csv.columns_of(publication.rows)
    table = wandb.Table(columns=[*columns])
    for row in publication.rows:
        table.add_data(*(scrub(value) if isinstance(value, str) else value for value in map(row.get, columns)))
    cells = [row for row in publication.rows if row["metric"] != AVERAGE]
    with open_session(
        publication.results_dir,
        {"experiment": plan.name, "rule": rule, "scope": plan.scope, "command": plan.command},
        project=publication.project,
        entity=publication.entity,
        id=publication.identity,
        group=plan.name,
        job_type="table",
        name=f"{plan.name}, rule {rule}",
        notes=CAPTION,
    ) as session:
        media = {_key(block): wandb.Image(str(path)) for block, path in publication.figures.items()}
        page = wandb.Html(publication.page, inject=False)
        session.log({PANEL: table, PAGE: page, **media})
        scored = sum(row["mean_fraction"] is not None for row in cells)
        session.summary.update({"cells": len(cells), "cells_with_a_score": scored})
        mode = "disabled" if session.disabled else "offline" if session.offline else "online"
        url = session.url if mode == "online" else ""
        return _Sent(mode, Path(session.sync_dir), session.entity, str(url))


def _send_runs(publication: _Publication) -> list[str]:
    """What has a folder of W&B beside it was mirrored before."""
    mirrored = {path.name.rpartition("-")[2] for path in (publication.results_dir / "wandb").glob("*run-*")}
    to_send = [
        name for name, status in publication.experiment.statuses.items() if status.record and name not in mirrored
    ]
    warnings: list[str] = []
    for name in to_send:
        if record := RunFolder.of(publication.results_dir, name).result():
            address: dict[str, Any] = {"project": publication.project, "entity": publication.entity}
            session = open_run(record.config, record.label, name, str(publication.results_dir), **address)
            tracker = WandbTracker(session, warnings)
            for row in [] if session.resumed else record.curve:
                tracker.log({key: float(value) for key, value in row.items()})
            tracker.finish(record.scores.to_json(), record.status)
    return [f"runs: {len(to_send)} from their records", *warnings]


def _send_workspace(publication: _Publication, sent: _Sent) -> list[str]:
    plan = publication.plan
    metrics = list(dict.fromkeys(run.metric for run in plan.runs))
    cells = {(run.model, run.task, run.method, *run.settings.items(), *run.configuration.items()) for run in plan.runs}
    records = {name: status.record for name, status in publication.experiment.statuses.items() if status.record}
    elsewhere = [name for name, record in records.items() if record.label.experiment != plan.name]
    media = [PAGE, *map(_key, publication.figures)]
    shown = Shown(plan.name, publication.project, metrics, media, len(cells), elsewhere)
    try:
        workspace = workspace_of(shown, sent.entity or publication.entity or "")
    except ImportError:
        return [_NO_WORKSPACE]
    write_atomically(publication.folder / "workspace.json", scrub(spec_of(workspace)))
    return [f"workspace: {save(workspace, publication.folder / 'workspace.url')}"] if sent.mode == "online" else []


def _outcome(publication: _Publication, sent: _Sent) -> str:
    if sent.mode == "online":
        return f"table: {sent.url}"
    again = f"hype-bench publish {publication.plan.name}"
    again += "" if publication.results_dir == Path("results") else f" --results-dir {publication.results_dir}"
    if sent.mode == "disabled":
        return f"WANDB_MODE=disabled: nothing was sent; without it: {again}"
    folder = publication.results_dir / "wandb"
    alone = f"the table alone: wandb sync {folder / sent.folder.name}"
    return f"offline: send it with wandb sync {folder} ({alone}), and then, for the workspace, {again} again"


@contextmanager
def _staged(results_dir: Path) -> Iterator[None]:
    """W&B keeps a copy of tables until they are sent, under the user's home: here it lies beside the offline run."""
    name = "WANDB_DATA_DIR"
    if name in os.environ:
        yield
        return
    os.environ[name] = str((results_dir / "wandb" / "data").resolve())
    try:
        yield
    finally:
        del os.environ[name]


def _key(block: str) -> str:
    return f"figure/{file_name(block)}"
