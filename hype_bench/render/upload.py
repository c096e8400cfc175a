"""An experiment in W&B: its table as one run, its workspace, and on demand the runs that had no tracker.

Without a key or a network the same is written under the results folder, to be sent later. The records stay what counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hype_bench.options import UserError
from hype_bench.render import table_csv
from hype_bench.render.publication import Publication, publication
from hype_bench.render.report import Experiment
from hype_bench.render.text import CAPTION
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.secrets import scrub
from hype_bench.runs.writing import file_name, write_atomically
from hype_bench.tables.cells import AVERAGE
from hype_bench.tracking.fields import score_name, summary_of
from hype_bench.tracking.files import staged
from hype_bench.tracking.tracker import WandbTracker, open_run, open_session
from hype_bench.tracking.workspace import PANEL, Content, save, spec_of, workspace_of

PAGE = "page"  # the key of the HTML page in the run that carries the table
_NO_WORKSPACE = "no workspace: pip install 'hype-bench[dashboards]' and publish again"


@dataclass(frozen=True)
class _Destination:
    """``results_dir``: under which W&B writes; ``project``, ``entity``: where it sends."""

    results_dir: Path
    project: str
    entity: str | None


@dataclass(frozen=True)
class _Sent:
    """What became of the run that carries the table. ``mode``: online, offline or disabled."""

    mode: str
    folder: Path
    entity: str
    url: str


def publish(
    results_dir: str | Path,
    experiment: Experiment,
    project: str = "hype_bench",
    entity: str | None = None,
    runs: bool = False,
) -> list[str]:
    """Sends an experiment's table and workspace to W&B, or writes what would be sent.

    Args:
        project, entity: where the experiment's runs are.
        runs: also those of its runs that W&B has not seen, from their records.

    Returns:
        Lines to print: where everything is, and what is still to do.

    Raises:
        UserError: the results folder cannot be written to, or W&B refuses.
    """
    to = _Destination(Path(results_dir), project, entity)
    content = publication(to.results_dir, experiment)
    content.write()
    lines = [f"{content.folder}: {', '.join(['table.html', 'table.csv', *(p.name for p in content.figures.values())])}"]
    try:
        with staged(to.results_dir):
            sent = _send_table(content, to)
            lines += _send_runs(content, to) if runs else []
            lines += _send_workspace(content, to, sent)
    except UserError:
        raise
    except Exception as error:
        reason = scrub((str(error).splitlines() or [type(error).__name__])[0])
        raise UserError(f"W&B refuses it ({reason}); what would be sent is in {content.folder}") from error
    return [*lines, _outcome(content, to, sent)]


def _send_table(content: Publication, to: _Destination) -> _Sent:
    import wandb

    plan, rule = content.experiment.plan, content.experiment.rule
    columns = table_csv.columns_of(content.rows)
    table = wandb.Table(columns=[*columns])
    for row in content.rows:
        table.add_data(*map(row.get, columns))
    cells = [row for row in content.rows if row["metric"] != AVERAGE]
    with open_session(
        to.results_dir,
        {"experiment": plan.name, "rule": rule, "scope": plan.scope, "command": plan.command},
        project=to.project,
        entity=to.entity,
        id=_identity(content),
        group=plan.name,
        job_type="table",
        name=f"{plan.name}, rule {rule}",
        notes=CAPTION,
    ) as session:
        media = {_key(block): wandb.Image(str(path)) for block, path in content.figures.items()}
        page = wandb.Html(content.page, inject=False)
        session.log({PANEL: table, PAGE: page, **media})
        scored = sum(row["mean_fraction"] is not None for row in cells)
        session.summary.update({"cells": len(cells), "cells_with_a_score": scored})
        mode = "disabled" if session.disabled else "offline" if session.offline else "online"
        url = session.url if mode == "online" else ""
        return _Sent(mode, Path(session.sync_dir), session.entity, str(url))


def _identity(content: Publication) -> str:
    """Of the run that carries the table: publishing again updates it; a smaller scope has its own."""
    return f"table-{file_name(content.experiment.plan.key.replace('@', '-'))}-{content.experiment.rule}"


def _send_runs(content: Publication, to: _Destination) -> list[str]:
    """What has a folder of W&B beside it was mirrored before."""
    mirrored = {path.name.rpartition("-")[2] for path in (to.results_dir / "wandb").glob("*run-*")}
    to_send = [name for name, status in content.experiment.statuses.items() if status.record and name not in mirrored]
    warnings: list[str] = []
    for name in to_send:
        if record := RunFolder.of(to.results_dir, name).result():
            session = open_run(
                record.config, record.label, name, str(to.results_dir), project=to.project, entity=to.entity
            )
            errors = record.config.get("tracker", {}).get("errors", False)
            tracker = WandbTracker(session, warnings, to.results_dir / "runs" / name, errors)
            for row in [] if session.resumed else record.curve:
                tracker.log({key: float(value) for key, value in row.items()})
            tracker.finish(summary_of(record), record.status)
    return [f"runs: {len(to_send)} from their records", *warnings]


def _send_workspace(content: Publication, to: _Destination, sent: _Sent) -> list[str]:
    plan = content.experiment.plan
    metrics = list(dict.fromkeys(score_name(run.metric) for run in plan.runs))
    cells = {(run.model, run.task, run.method, *run.settings.items(), *run.configuration.items()) for run in plan.runs}
    records = {name: status.record for name, status in content.experiment.statuses.items() if status.record}
    elsewhere = [name for name, record in records.items() if record.label.experiment != plan.name]
    media = [PAGE, *map(_key, content.figures)]
    workspace_content = Content(plan.name, to.project, metrics, media, len(cells), elsewhere)
    try:
        workspace = workspace_of(workspace_content, sent.entity or to.entity or "")
    except ImportError:
        return [_NO_WORKSPACE]
    write_atomically(content.folder / "workspace.json", scrub(spec_of(workspace)))
    return [f"workspace: {save(workspace, content.folder / 'workspace.url')}"] if sent.mode == "online" else []


def _outcome(content: Publication, to: _Destination, sent: _Sent) -> str:
    if sent.mode == "online":
        return f"table: {sent.url}"
    again = f"hype-bench publish {content.experiment.plan.key}"
    again += "" if to.results_dir == Path("results") else f" --results-dir {to.results_dir}"
    if sent.mode == "disabled":
        return f"WANDB_MODE=disabled: nothing was sent; without it: {again}"
    folder = to.results_dir / "wandb"
    alone = f"the table alone: wandb sync {folder / sent.folder.name}"
    return f"offline: send it with wandb sync {folder} ({alone}), and then, for the workspace, {again} again"


def _key(block: str) -> str:
    return f"figure/{file_name(block)}"
