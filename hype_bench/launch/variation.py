"""What a sweep varies, by which its runs are told apart: two noise scales are not both ``minilm rte hype_n seed 1``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write

from hype_bench.sweeps.grids import write
from hype_bench.tables.cells import compact

_IN_TITLE = ("model", "task", "method", "seed")  # of every run
_KEY = "hydra.job.config.override_dirname.exclude_keys"  # Hydra's own list of what does not tell jobs apart


def varying(jobs: Iterable[Sequence[str]]) -> set[str]:
    """The keys that have several values among the overrides of some jobs."""
    values: dict[str, set[str]] = defaultdict(set)
    for job in jobs:
        for override in job:
            key, _, value = override.partition("=")
            values[key].add(value)
    return {key for key, of_key in values.items() if len(of_key) > 1}


def note_what_varies(config: DictConfig, keys: Iterable[str], varied: Iterable[str]) -> None:
    """Tells every job of a sweep which of the overridden ``keys`` are the same in all of them.

    Args:
        config: of the sweep; a job's configuration begins with its overrides of Hydra, in whatever process it runs.
    """
    same = sorted({*keys, *_IN_TITLE} - ({*varied} - {*_IN_TITLE}))
    with read_write(config), open_dict(config):
        words = [word for word in config.hydra.overrides.hydra if not word.startswith(f"{_KEY}=")]
        config.hydra.overrides.hydra = [*words, f"{_KEY}=[{','.join(map(write, same))}]"]


def variation() -> str:
    """Of this job, ``scale=1e-4, learning_rate=3e-5``: what its sweep varies beside model, task, method and seed."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return ""
    same = HydraConfig.get().job.config.override_dirname.exclude_keys
    words = [str(word).partition("=") for word in HydraConfig.get().overrides.task]
    return ", ".join(f"{_short(key)}={compact(value)}" for key, _, value in words if key not in same)


def _short(key: str) -> str:
    return key.rpartition(".")[2].removeprefix("noise_")
