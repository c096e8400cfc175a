"""Jobs that share a process: each has its own configuration whenever its turn comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from hype_bench.config import CONF
from hype_bench.launch.engines.together import Together
from hype_bench.training.interleave import turns_of_this_thread


def test_every_job_of_a_group_has_its_number_and_its_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = dict[int, list[Any]]()

    def task(composed: DictConfig) -> None:
        number = HydraConfig.get().job.num
        turns_of_this_thread()["turns"].pass_on()  # type: ignore[attr-defined]
        seen[HydraConfig.get().job.num] = [number, composed.seed, list(HydraConfig.get().overrides.task)]
        if composed.seed == 4:
            raise RuntimeError("a cosmic ray")

    groups = [{0: ["seed=2"]}, {1: ["seed=3"], 2: ["seed=4"], 3: ["seed=5"]}]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["hydra.mode=MULTIRUN", "model=tiny_bert"], return_hydra_config=True)
        with open_dict(config):
            config.hydra.job.num = 1
        HydraConfig.instance().set_config(config)
        context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks())
        with pytest.raises(RuntimeError, match="a cosmic ray"):
            Together(groups, task, context, config)(config)
    assert seen == {number: [number, seed, [f"seed={seed}"]] for number, seed in ((1, 3), (2, 4), (3, 5))}
