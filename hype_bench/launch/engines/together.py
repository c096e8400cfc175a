"""Jobs that share a GPU, and a process: their runs take turns, an update each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@dataclass(frozen=True)
class Together:
    """The task of a worker that gets a group of jobs as one, by its number.

    Attributes:
        task: what is done with each job.
        config: the sweep's, from which the jobs' are composed.
    """

    groups: Sequence[Mapping[int, Sequence[str]]]
    task: TaskFunction
    hydra_context: HydraContext
    config: DictConfig

    def __call__(self, composed: DictConfig) -> None:
        from hype_bench.models.silence import silence_transformers
        from hype_bench.training.interleave import interleave

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or Hydra takes it away when the first job ends
        group = self.groups[int(HydraConfig.get().job.num)]
        with silence_transformers():  # for as long as one of the runs needs it
            interleave([partial(self._run, *numbered) for numbered in group.items()], [_HYDRA])

    def _run(self, number: int, job: Sequence[str]) -> None:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = f"job_id_for_{number}", number
        run_job(self.task, config, "hydra.sweep.dir", "hydra.sweep.subdir", self.hydra_context).return_value  # noqa: B018  # raises its error


def _set_hydra(config: Any) -> None:
    HydraConfig.instance().cfg = config


_HYDRA = (lambda: HydraConfig.instance().cfg, _set_hydra)
