"""A real SLURM of one node, started for the test from the system's packages (Debian: slurmctld slurmd munge)."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.launch.test_engines import FAILING, SHORT, break_weights, check, chosen

pytestmark = pytest.mark.slow

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol")
OPTIONS = ("hydra.launcher.gpus_per_node=0", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")
LONG = [word for word in SHORT if "max_steps" not in word] + ["training.max_steps=3000"]
CONFIGURATION = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2
MpiDefault=none
KillWait=2
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which a SLURM of this machine answers."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"no SLURM can be started here: {', '.join(missing) or 'only root may'}")
    folder = tmp_path / "slurm"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o400)
    controller, daemon = free_ports()
    host, cores = socket.gethostname(), os.cpu_count()
    text = CONFIGURATION.format(host=host, folder=folder, cores=cores, controller=controller, daemon=daemon)
    (folder / "slurm.conf").write_text(text)
    environment = {"PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munged = ["munged", "--foreground", "--force", *(f"--{key}={folder}/munge.{end}" for key, end in files.items())]
    started = [start(munged, environment)]
    try:
        wait_until((folder / "munge.socket").exists)
        started += [start([name, "-D"], environment) for name in ("slurmctld", "slurmd")]
        wait_until(lambda: "idle" in output_of(["sinfo", "--noheader", "--format=%T"], environment))
        yield environment
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=30)


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, env=os.environ | environment, stdin=silent, stdout=silent, stderr=silent)


def output_of(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=30, check=True
    ).stdout


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        with suppress(subprocess.CalledProcessError):  # SLURM does not answer yet
            if is_so():
                return
        assert time.monotonic() < until
        time.sleep(0.2)


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def test_an_array_of_a_real_slurm(warm: Any, slurm: dict[str, str], tmp_path: Path) -> None:
    break_weights(tmp_path)
    sweep = (*SHORT, *FAILING, "seed=1")
    check(warm(*sweep, *chosen("slurm"), *OPTIONS, env=slurm, timeout=300), warm, tmp_path, sweep, each=1)


def test_a_job_that_slurm_requeues_starts_its_run_again(warm: Any, slurm: dict[str, str], tmp_path: Path) -> None:
    """It is put back into the queue while it trains, which kills it there."""
    sweep = warm.start(*LONG, "model=tiny_bert", "seed=1", *chosen("slurm"), *OPTIONS, env=slurm)
    wait_until(lambda: any(tmp_path.glob("results/runs/*/run.json")))
    (begun,) = tmp_path.glob("results/runs/*/run.json")
    first = json.loads(begun.read_text())["started"]
    (job,) = output_of(["squeue", "--noheader", "--format=%A"], slurm).split()
    output_of(["scontrol", "requeue", job], slurm)
    wait_until(lambda: "PENDING" in output_of(["squeue", "--noheader", "--format=%T"], slurm))
    output_of(["scontrol", "update", f"JobId={job}", "StartTime=now"], slurm)  # SLURM would wait for two minutes
    ended = sweep.wait(timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 run: 1 done now" in ended.stdout
    assert json.loads(begun.read_text())["started"] > first
