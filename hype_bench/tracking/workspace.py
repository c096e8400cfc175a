"""A W&B workspace for an experiment: its table, its scores by cell, its curves, its search, its runs side by side.

Needs the package wandb-workspaces (extra ``dashboards``), and a network to save it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PANEL = "table"  # the key of the table in the run that carries it
_MOST = 100  # groups in a panel


@dataclass(frozen=True)
class Shown:
    """What a workspace shows of an experiment.

    ``metrics``: as runs log them; ``media``: keys of the page and the figures in the run that carries the table;
    ``groups``: number of cells; ``elsewhere``: identities of its runs that were done for another experiment.
    """

    experiment: str
    project: str
    metrics: Sequence[str]
    media: Sequence[str]
    groups: int
    elsewhere: Sequence[str] = field(default=())


def workspace_of(shown: Shown, entity: str) -> Any:
    """The workspace, not saved. Runs are grouped by ``cell``: curves and bars are means over seeds with their spread.

    Raises:
        ImportError: wandb-workspaces is not installed.
    """
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    ours: list[Any] = [ws.Metric("Group") == shown.experiment]
    if shown.elsewhere:
        ours.append(ws.Metric("ID").isin(list(shown.elsewhere)))
    return ws.Workspace(
        entity=entity,
        project=shown.project,
        name=f"hype_bench {shown.experiment}",
        sections=_sections(shown),
        settings=ws.WorkspaceSettings(max_runs=max(10, min(shown.groups, _MOST))),
        runset_settings=ws.RunsetSettings(
            filters=expr.Or(*ours),
            groupby=[ws.Config("cell")],
            order=[ws.Ordering(ws.Config("cell.value"), ascending=True)],  # unlike groupby, it adds no ".value" itself
            pinned_columns=[f"summary:{metric}" for metric in shown.metrics],
        ),
    )


def _sections(shown: Shown) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    by_cell: dict[str, Any] = {"groupby": wr.Config("cell"), "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    rate = wr.Config("training.learning_rate")
    columns = [*map(wr.Config, ("cell", "method")), rate, *map(wr.SummaryMetric, shown.metrics)]
    panels: dict[str, list[Any]] = {
        "Table": [wr.WeavePanelSummaryTable(table_name=PANEL), wr.MediaBrowser(media_keys=list(shown.media))],
        "Scores: mean and spread over seeds": [
            wr.BarPlot(title=metric, metrics=[metric], max_bars_to_show=_MOST, **by_cell) for metric in shown.metrics
        ],
        "Curves": [
            wr.LinePlot(title=title, x="update", y=[key], max_runs_to_show=_MOST, **by_cell)
            for title, key in [("training loss", "loss"), *((f"dev {metric}", metric) for metric in shown.metrics)]
        ],
        "Search": [
            *(wr.ScatterPlot(x=rate, y=wr.SummaryMetric(metric), log_x=True) for metric in shown.metrics),
            wr.ParallelCoordinatesPlot(columns=[wr.ParallelCoordinatesPlotColumn(metric=column) for column in columns]),
        ],
        "Runs side by side": [wr.RunComparer(diff_only="split")],
    }
    return [ws.Section(name=name, panels=found, is_open=name != "Search") for name, found in panels.items()]


def spec_of(workspace: Any) -> str:
    """JSON, as the package sends it."""
    return json.dumps(workspace._spec, indent=1) + "\n"


def save(workspace: Any, note: Path) -> str:
    """Saves a workspace, over the one saved before if ``note`` has its address, and notes the address there.

    Returns:
        The address.
    """
    import wandb_workspaces.workspaces as ws

    if note.is_file():
        try:
            before = ws.Workspace.from_url(note.read_text(encoding="utf-8").strip())
            before.name, before.sections = workspace.name, workspace.sections
            before.settings, before.runset_settings = workspace.settings, workspace.runset_settings
            workspace = before
        except Exception:  # removed there, or another account's: it is saved anew
            pass
    workspace.save()
    note.write_text(f"{workspace.url}\n", encoding="utf-8")
    return str(workspace.url)
