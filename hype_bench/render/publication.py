"""An experiment in W&B: its table as one run, its workspace, and on demand the runs that had no tracker.

Without a key or a network the same is written under the results folder, to be sent later. The records stay what counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from hype_bench.options import UserError
from hype_bench.render.figure import figure
from hype_bench.render.lines import Line, lines_of, to_csv
from hype_bench.render.report import Tabulated, report, tabulate
from hype_bench.render.text import CAPTION
from hype_bench.runs.folder import RunFolder, file_name, write_atomically, writing_to
from hype_bench.runs.secrets import scrub
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.beside_paper import PAPER
from hype_bench.tables.cells import AVERAGE
from hype_bench.tracking.tracker import WandbTracker, open_run, open_session
from hype_bench.tracking.workspace import PANEL, Shown, save, spec_of, workspace_of

PAGE = "page"  # the key of the HTML page in the run that carries the table
_NO_WORKSPACE = "no workspace: pip install 'hype-bench[dashboards]' and publish again"


@dataclass(frozen=True)
class _Made:
    """What is published, and lies in ``folder``. ``figures``: block -> its file."""

    table: Tabulated
    lines: list[Line]
    page: str
    folder: Path
    figures: dict[str, Path]

    @property
    def plan(self) -> Plan:
        return self.table.plan

    @property
    def identity(self) -> str:
        """Of the W&B run: publishing again updates it; a smaller scope has its own."""
        scope = "" if self.plan.scope == "paper" else f"-{self.plan.scope}"
        return f"table-{file_name(self.plan.name)}{scope}-{self.table.rule}"


@dataclass(frozen=True)
class _Where:
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
    made, where = _make(Path(results_dir), name, rule), _Where(Path(results_dir), project, entity)
    said = [f"{made.folder}: table.html, table.csv, {', '.join(path.name for path in made.figures.values())}"]
    try:
        with _staged(where.results_dir):
            sent = _send_table(made, where)
            said += _send_runs(made, where) if runs else []
            said += _send_workspace(made, where, sent)
    except UserError:
        raise
    except Exception as error:
        reason = scrub((str(error).splitlines() or [type(error).__name__])[0])
        raise UserError(f"W&B does not take it ({reason}); what would be sent is in {made.folder}") from error
    return [*said, _outcome(made, where, sent)]


def _make(results_dir: Path, name: str, rule: str) -> _Made:
    table = tabulate(results_dir, name, rule)
    plan = table.plan
    page = scrub(report(table, "html", compare=None if plan.table is None else PAPER, intervals=True).text)
    lines = lines_of(plan, table.tables, table.found)
    folder = results_dir / "publish" / name
    figures = {block: folder / f"{file_name(block)}.png" for block in dict.fromkeys(line.block for line in lines)}
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "table.html", page)
        write_atomically(folder / "table.csv", scrub(to_csv(lines)))
        for block, path in figures.items():
            _draw([line for line in lines if line.block == block and line.metric != AVERAGE], plan, path)
    return _Made(table, lines, page, folder, figures)


def _draw(lines: Sequence[Line], plan: Plan, path: Path) -> None:
    scope = "" if plan.scope == "paper" else f", scope {plan.scope}"
    title = scrub(f"{plan.name}{scope}: {lines[0].block}")
    figure(lines, title, f"paper, Table {plan.table}").savefig(path)


def _send_table(made: _Made, where: _Where) -> _Sent:
    import wandb

    plan = made.plan
    table = wandb.Table(columns=[field.name for field in fields(Line)])
    for line in made.lines:
        table.add_data(*(scrub(value) if isinstance(value, str) else value for value in astuple(line)))
    cells = [line for line in made.lines if line.metric != AVERAGE]
    with open_session(
        where.results_dir,
        {"experiment": plan.name, "rule": made.table.rule, "scope": plan.scope, "command": plan.command},
        project=where.project,
        entity=where.entity,
        id=made.identity,
        group=plan.name,
        job_type="table",
        name=f"{plan.name}, rule {made.table.rule}",
        notes=CAPTION,
    ) as session:
        media = {_key(block): wandb.Image(str(path)) for block, path in made.figures.items()}
        page = wandb.Html(made.page, inject=False)
        session.log({PANEL: table, PAGE: page, **media})
        scored = sum(line.mean is not None for line in cells)
        session.summary.update({"cells": len(cells), "cells_with_a_score": scored})
        mode = "disabled" if session.disabled else "offline" if session.offline else "online"
        url = session.url if mode == "online" else ""
        return _Sent(mode, Path(session.sync_dir), session.entity, str(url))


def _send_runs(made: _Made, where: _Where) -> list[str]:
    """What has a folder of W&B beside it was mirrored before."""
    mirrored = {path.name.rpartition("-")[2] for path in (where.results_dir / "wandb").glob("*run-*")}
    to_send = [name for name, status in made.table.statuses.items() if status.record and name not in mirrored]
    warnings: list[str] = []
    for name in to_send:
        if record := RunFolder.of(where.results_dir, name).result():
            label, config = record["label"], record["config"]
            session = open_run(config, label, name, str(where.results_dir), project=where.project, entity=where.entity)
            tracker = WandbTracker(session, warnings)
            for row in [] if session.resumed else record.get("curve", []):
                tracker.log({key: float(value) for key, value in row.items()})
            tracker.finish({key: float(value) for key, value in record["scores"].items()}, record["status"])
    return [f"runs: {len(to_send)} from their records", *warnings]


def _send_workspace(made: _Made, where: _Where, sent: _Sent) -> list[str]:
    plan = made.plan
    metrics = list(dict.fromkeys(run.metric for run in plan.runs))
    cells = {(run.model, run.task, run.method, *run.settings.items(), *run.configuration.items()) for run in plan.runs}
    records = {name: status.record for name, status in made.table.statuses.items() if status.record}
    elsewhere = [name for name, record in records.items() if record["label"].get("experiment") != plan.name]
    media = [PAGE, *map(_key, made.figures)]
    shown = Shown(plan.name, where.project, metrics, media, len(cells), elsewhere)
    try:
        workspace = workspace_of(shown, sent.entity or where.entity or "")
    except ImportError:
        return [_NO_WORKSPACE]
    write_atomically(made.folder / "workspace.json", scrub(spec_of(workspace)))
    return [f"workspace: {save(workspace, made.folder / 'workspace.url')}"] if sent.mode == "online" else []


def _outcome(made: _Made, where: _Where, sent: _Sent) -> str:
    if sent.mode == "online":
        return f"table: {sent.url}"
    again = f"hype-bench publish {made.plan.name}"
    again += "" if where.results_dir == Path("results") else f" --results-dir {where.results_dir}"
    if sent.mode == "disabled":
        return f"WANDB_MODE=disabled: nothing was sent; without it: {again}"
    folder = where.results_dir / "wandb"
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
