"""The engines of sweeps, where Hydra looks for plugins: ``hydra/launcher=joblib``, ``gpus``, ``ray_cluster``, ``slurm``
and ``local``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class EngineLauncher(Launcher):
    """One of Hydra's launchers, with the checks of ``hype_bench.launch.engines``."""

    def __init__(self, engine: str, **options: Any) -> None:
        self.engine = engine
        self.options = {key: _plain(value) for key, value in options.items()}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Raises UserError where no job could be started."""
        from hype_bench.launch.engines.choose import choose  # lazily: Hydra imports every plugin

        self.chosen = choose(self.engine)(config.hydra.runtime.choices["hydra/launcher"], self.options)
        self.chosen.setup(hydra_context, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.chosen.launch(job_overrides, initial_job_idx)


class HypeBenchPresets(SearchPathPlugin):
    """After all plugins are loaded, and before Hydra composes: ``hydra/launcher`` offers only our presets, which check
    before they start. joblib's own would be merged into ``conf/hydra/launcher/joblib.yaml``; submitit's and Ray's fail
    with many lines. Optuna's own sweeper would minimise the score. Other applications keep them. Plug-ins add their
    choices."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        ours = sys.modules.get("hype_bench.config")  # not imported: other applications must not pay for it
        if ours and any((entry.path or "").endswith(str(ours.CONF)) for entry in search_path.get_path()):
            from hype_bench.plugins import conf_folders, data_folder

            launchers = ConfigStore.instance().repo["hydra"]["launcher"]
            for name in launchers.keys() - {"basic.yaml"}:
                del launchers[name]
            ConfigStore.instance().repo["hydra"]["sweeper"].pop("optuna.yaml", None)
            for folder in conf_folders():
                search_path.append("hype_bench", f"file://{folder}")  # by its path: nothing is imported
            OmegaConf.register_new_resolver("package", data_folder, replace=True)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
