"""``hydra/launcher=gpus`` and ``ray_cluster``: Ray gives every run a GPU, or a fraction of one, and a fresh process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from omegaconf import DictConfig, OmegaConf

from hype_bench.launch.engines.engine import Engine, Job, replaced
from hype_bench.launch.engines.together import Together
from hype_bench.launch.errors import one_line
from hype_bench.options import UserError

_LOCAL = "local"
_PATIENCE = 20.0  # seconds for a cluster to answer


class Ray(Engine):
    """``ray.init`` and ``ray.remote`` among the options are the arguments of these functions."""

    extra = "ray"
    plugin = "hydra_ray_launcher"
    launcher = "RayLauncher"

    def check(self) -> None:
        for key in ("gpus_per_run", "cpus_per_run"):
            value = self.options[key]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or value < 0 or (value > 1 and value % 1):
                raise UserError(f"hydra.launcher.{key} must be a whole number or a fraction of 1, not {value!r}")
        if self.whole_number("runs_per_gpu", least=1) > 1 and self.options["gpus_per_run"] not in (0, 1):
            raise UserError(
                "hydra.launcher.runs_per_gpu shares one GPU among runs: leave out hydra.launcher.gpus_per_run="
                f"{self.options['gpus_per_run']:g}"
            )
        if self.address != _LOCAL:
            _check_reachable(self.address)

    @property
    def address(self) -> str:
        return str(self.options["ray"]["init"]["address"])

    def run(self, jobs: Mapping[int, Job]) -> dict[int, Exception]:
        ray = import_module("ray")  # an extra, which may not be installed
        options = OmegaConf.create({"init": {}, "remote": self.options["ray"]["remote"]})
        with self._connected(ray), replaced(ray, "get", _returning_errors(ray.get)):
            if self.options["runs_per_gpu"] == 1:
                return self.run_with_hydra(jobs, ray=options)
            return self._run_in_groups(jobs, options)

    def _run_in_groups(self, jobs: Mapping[int, Job], options: DictConfig) -> dict[int, Exception]:
        """As many jobs as share a GPU are one job of Ray's."""
        numbers = list(jobs)
        size = self.options["runs_per_gpu"]
        groups = [{n: jobs[n] for n in numbers[at : at + size]} for at in range(0, len(numbers), size)]
        task = Together(groups, self.task, self.hydra_context, self.config)
        first_jobs = {number: next(iter(group.values())) for number, group in enumerate(groups)}
        lost = self.run_with_hydra(first_jobs, task, ray=options)
        return {number: error for group, error in lost.items() for number in groups[group]}

    @contextmanager
    def _connected(self, ray: Any) -> Iterator[None]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unless the user asks for it
        try:
            ray.init(**self.options["ray"]["init"])
        except (OSError, RuntimeError, ValueError) as error:
            where = "Ray does not start here" if self.address == _LOCAL else f"no Ray cluster at {self.address}"
            raise UserError(f"{where}: {one_line(error)}") from error
        try:
            self._find_room(ray)
            yield
        finally:
            ray.shutdown()

    def _find_room(self, ray: Any) -> None:
        """Otherwise Ray waits for ever for a node that can take a job."""
        remote = self.options["ray"]["remote"]
        requested = {"GPU": remote["num_gpus"], "CPU": remote["num_cpus"]}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(all(node.get(kind, 0) >= amount for kind, amount in requested.items()) for node in nodes):
            return
        most = {kind: max([node.get(kind, 0) for node in nodes], default=0) for kind in requested}
        if self.address == _LOCAL and requested["GPU"] and not most["GPU"]:
            raise UserError("this machine has no GPU; hydra/launcher=joblib spreads the runs over its cores")
        where = "this machine" if self.address == _LOCAL else "the largest node of the cluster"
        needs, has = (
            " and ".join(f"{amount:g} {kind}s" for kind, amount in what.items()) for what in (requested, most)
        )
        raise UserError(f"a run needs {needs}, but {where} has {has}; see hydra.launcher.gpus_per_run")


def _returning_errors(get: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``ray.get`` that returns the error of a lost job instead of raising it, so that the others are awaited."""

    def wait(reference: Any) -> Any:
        try:
            return get(reference)
        except Exception as error:
            return error

    return wait


def _check_reachable(address: str) -> None:
    """Asks a cluster for its status, in a process that can be killed: without an answer ``ray.init`` waits for ever.

    Raises:
        UserError: it does not answer.
    """
    if address != "auto":
        _connect(address)
    if address.startswith("ray://"):  # Ray's client gives up by itself
        return
    command = [sys.executable, "-m", "ray.scripts.scripts", "status"]
    command += [] if address == "auto" else ["--address", address]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"no Ray cluster at {address}: no answer within {_PATIENCE:.0f} s") from None
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["unknown reason"])[-1].partition(". ")[0]
        raise UserError(f"no Ray cluster at {address}: {reason}")


def _connect(address: str) -> None:
    """Raises UserError if ``host:port`` or ``ray://host:port`` accepts no connection."""
    try:
        url = urlsplit(address if "//" in address else f"//{address}")
        socket.create_connection((url.hostname or "", url.port or 6379), timeout=_PATIENCE).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address}: {getattr(error, 'strerror', None) or error}") from error
