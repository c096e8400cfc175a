"""Which engine ``hydra.launcher.engine`` names."""

from __future__ import annotations

from hype_bench.launch.engines.engine import Engine
from hype_bench.launch.engines.on_ray import Ray
from hype_bench.launch.engines.processes import Joblib
from hype_bench.launch.engines.submitted import Local, Slurm

_ENGINES: dict[str, type[Engine]] = {"joblib": Joblib, "ray": Ray, "slurm": Slurm, "local": Local}


def choose(name: str) -> type[Engine]:
    return _ENGINES[name]
