"""Trackio behind the same calls: a SQLite file under the results folder, and ``trackio show`` to look at it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

from hype_bench.config import RunConfig
from hype_bench.runs.record import Label
from hype_bench.runs.secrets import scrub_values
from hype_bench.tracking.cell import cell_of
from hype_bench.tracking.fields import named


class TrackioTracker:
    """One run of Trackio, named by title and identity, so that a repeated run is one run."""

    def __init__(self, run: RunConfig, identity: str, label: Label) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(Path(run.results_dir, "trackio").resolve()))
        self.update = 0
        with redirect_stdout(StringIO()):  # it prints where it writes, for every run
            self.trackio: Any = import_module("trackio")  # an extra, which type checkers may not have
            config = {**run.as_dict(), "cell": cell_of(run.as_dict(), label), "identity": identity}
            self.session = self.trackio.init(
                project=run.tracker.project,
                name=f"{label.title} ({identity[:8]})",
                group=run.experiment,
                config=scrub_values(config),
                resume="allow",
                embed=False,
                auto_log_gpu=run.tracker.system,
                auto_log_cpu=run.tracker.system,
            )

    def log(self, row: dict[str, float]) -> None:
        self.update = int(row["update"])
        self.session.log(named(row), step=self.update)

    def finish(self, summary: Mapping[str, Any], status: str) -> None:
        with redirect_stdout(StringIO()):
            self.session.log(scrub_values({**summary, "status": status}), step=self.update)
            self.trackio.finish()
