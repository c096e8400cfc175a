"""The sweeper of experiments, where Hydra looks for plugins: ``hydra/sweeper=grids``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridsSweeper(Sweeper):
    """Expands the union of an experiment's grids, checks every run before the first starts, skips finished runs and
    gives the rest to the launcher."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config, self.task_function = hydra_context, config, task_function

    def sweep(self, arguments: list[str]) -> Any:
        """Plans, notes what is done, and runs the rest; then more seeds, if the experiment wants a decision.

        Raises:
            UserError: a run of the experiment is invalid, or the results folder cannot be written to.
        """
        from hype_bench.launch.plan import make_plan  # lazily: Hydra imports every plugin
        from hype_bench.launch.start import rounds
        from hype_bench.launch.variation import note_what_varies, varying

        assert self.hydra_context is not None  # setup has set both
        assert self.config is not None
        plan = make_plan(self.hydra_context.config_loader, self.config, arguments)
        jobs = [run.overrides for run in plan.runs]
        keys = {word.partition("=")[0] for job in jobs for word in job}
        note_what_varies(self.config, keys, varying(jobs))
        launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=self.task_function, config=self.config
        )
        ended: list[Any] = []
        for first, to_do in rounds(plan, Path(self.config.results_dir), Path(self.config.hydra.sweep.dir)):
            if to_do:
                ended += launcher.launch([run.overrides for run in to_do], initial_job_idx=first)
        return ended
