"""What happens around a sweep, whichever launcher runs its jobs: the bar, the table, the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from hype_bench.runs.folder import RunFolder
from hype_bench.runs.status import DIVERGED, DONE, RUNNING, read_run
from hype_bench.sweeps.display import display
from hype_bench.sweeps.outcomes import read, wait_for


class SweepCallback(Callback):
    """Named in ``conf/config.yaml``; Hydra calls it in the process that started the sweep."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        jobs = 1
        for override in overrides:
            if override.is_sweep_override():
                jobs *= len(list(override.sweep_string_iterator()))
        display.start_sweep(jobs)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints the table of the sweep's runs and the failures.

        Raises:
            SystemExit: with code 1 if any run failed; a diverged run is a finding, not a failure.
        """
        from hype_bench.tables.table import build_tables
        from hype_bench.tables.text import to_text

        results = Path(config.results_dir)
        ended = read(Path(config.hydra.sweep.dir))
        if any(job.state == RUNNING for job in ended):
            display.say("waiting for runs that another sweep is at")
        ended = [wait_for(job, results) if job.state == RUNNING else job for job in ended]
        display.stop()
        names = dict.fromkeys(job.identity for job in ended if job.identity)
        runs = [read_run(RunFolder.of(results, name)) for name in names]
        print()
        print(to_text(build_tables(runs)))
        skipped = sum(job.skipped for job in ended)
        failures = [job for job in ended if job.state not in (DONE, DIVERGED)]
        now = len(ended) - skipped - len(failures)
        print(f"{len(ended)} runs: {now} done now, {skipped} done before, {len(failures)} failed")
        for job in failures:
            print(f"  failed: {job.title}: {job.reason}")
        if failures:
            raise SystemExit(1)
