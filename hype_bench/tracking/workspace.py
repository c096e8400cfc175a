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
class Content:
    """What a workspace displays of an experiment.

    ``metrics``: as runs log them; ``media``: keys of the page and the figures in the run that carries the table;
    ``groups``: number of cells; ``elsewhere``: identities of its runs that were done for another experiment.
    """

    experiment: str
    project: str
    metrics: Sequence[str]
    media: Sequence[str]
    groups: int
    elsewhere: Sequence[str] = field(default=())


def workspace_of(content: Content, entity: str) -> Any:
    """The workspace, not saved. Runs are grouped by ``cell``: curves and bars are means over seeds with their spread.

    Raises:
        ImportError: wandb-workspaces is not installed.
    """
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    filters: list[Any] = [ws.Metric("Group") == content.experiment]
    if content.elsewhere:
        filters.append(ws.Metric("ID").isin(list(content.elsewhere)))
    return ws.Workspace(
        entity=entity,
        project=content.project,
        name=f"hype_bench {content.experiment}",
        sections=_sections(content),
        settings=ws.WorkspaceSettings(max_runs=max(10, min(content.groups, _MOST))),
        runset_settings=ws.RunsetSettings(
            filters=expr.Or(*filters),
            groupby=[ws.Config("cell")],
            order=[ws.Ordering(ws.Config("cell.value"), ascending=True)],  # unlike groupby, it adds no ".value" itself
            pinned_columns=[f"summary:{metric}" for metric in content.metrics],
        ),
    )


def _sections(content: Content) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    by_cell: dict[str, Any] = {"groupby": wr.Config("cell"), "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    rate = wr.Config("training.learning_rate")
    columns = [*map(wr.Config, ("cell", "method")), rate, *map(wr.SummaryMetric, content.metrics)]
    panels: dict[str, list[Any]] = {
        "Table": [wr.WeavePanelSummaryTable(table_name=PANEL), wr.MediaBrowser(media_keys=list(content.media))],
        "Scores: mean and spread over seeds": [
            wr.BarPlot(title=metric, metrics=[metric], max_bars_to_show=_MOST, **by_cell) for metric in content.metrics
        ],
        "Curves": [
            wr.LinePlot(title=title, x="update", y=[key], max_runs_to_show=_MOST, **by_cell)
            for title, key in [
                ("training loss", "train/loss"),
                *((f"dev {metric}", metric) for metric in content.metrics),
            ]
        ],
        "Search": [
            *(wr.ScatterPlot(x=rate, y=wr.SummaryMetric(metric), log_x=True) for metric in content.metrics),
            wr.ParallelCoordinatesPlot(columns=[wr.ParallelCoordinatesPlotColumn(metric=column) for column in columns]),
        ],
        "Runs side by side": [wr.RunComparer(diff_only="split")],
    }
    return [ws.Section(name=name, panels=charts, is_open=name != "Search") for name, charts in panels.items()]


def spec_of(workspace: Any) -> str:
    """JSON, as the package sends it."""
    return json.dumps(workspace._spec, indent=1) + "\n"


def save(workspace: Any, address: Path) -> str:
    """Saves a workspace, over the one saved before if ``address`` has its URL, and writes the URL there.

    Returns:
        The URL.
    """
    import wandb_workspaces.workspaces as ws

    if address.is_file():
        try:
            before = ws.Workspace.from_url(address.read_text(encoding="utf-8").strip())
            before.name, before.sections = workspace.name, workspace.sections
            before.settings, before.runset_settings = workspace.settings, workspace.runset_settings
            workspace = before
        except Exception:  # deleted, or of another account: saved as a new one
            pass
    workspace.save()
    address.write_text(f"{workspace.url}\n", encoding="utf-8")
    return str(workspace.url)
