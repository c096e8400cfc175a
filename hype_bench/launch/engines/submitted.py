"""``hydra/launcher=slurm`` and ``local``: jobs that submitit hands to SLURM, or to processes of this machine."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from hype_bench.launch.engines.engine import Engine, Job, cores, replaced
from hype_bench.options import UserError
from hype_bench.sweeps.display import display

_PATIENCE = 30.0  # seconds for SLURM to answer
_ASK_SECONDS = 10.0
_ASKS = 2  # a job that ends may be in no queue before its result is seen


class Slurm(Engine):
    """One array of jobs. SLURM may requeue a job: it finds its record, or does its run again from the start."""

    extra = "slurm"
    plugin = "hydra_submitit_launcher"
    launcher = "SlurmLauncher"

    def check(self) -> None:
        self.whole_number("timeout_min", least=1)
        self.whole_number("array_parallelism", least=1)
        for program in ("sbatch", "srun", "sinfo", "squeue"):
            if shutil.which(program) is None:
                raise UserError(f"there is no {program} here: hydra/launcher=slurm starts on a login node of a cluster")
        wanted, partitions = self.options["partition"], set(_answer(["sinfo", "--noheader", "--format=%R"]).split())
        if wanted and not set(str(wanted).split(",")) <= partitions:
            raise UserError(f"SLURM has no partition {wanted!r}; there are {', '.join(sorted(partitions))}")

    def run(self, jobs: Mapping[int, Job]) -> dict[int, Exception]:
        from submitit.core.utils import FailedJobError
        from submitit.slurm.slurm import SlurmJob

        try:
            with _patient(), replaced(SlurmJob, "done", _done_by(_Queue())):
                return self.run_with_hydra(jobs, **self.options)
        except FailedJobError as error:
            reason = (str(error).strip().splitlines() or ["it does not say why"])[-1]
            raise UserError(f"SLURM refuses the jobs: {reason.removeprefix('sbatch: error: ')}") from error
        except KeyboardInterrupt:
            display.say("what SLURM has goes on; scancel ends it")
            raise


class Local(Engine):
    """Every job in a fresh process, a few at once."""

    extra = "slurm"
    plugin = "hydra_submitit_launcher"
    launcher = "LocalLauncher"

    def check(self) -> None:
        self.whole_number("timeout_min", least=1)
        self.whole_number("jobs_at_once", least=1)

    def run(self, jobs: Mapping[int, Job]) -> dict[int, Exception]:
        """submitit starts all that it is given at once: it gets a few at a time."""
        options = dict(self.options)
        at_once = options.pop("jobs_at_once")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(cores() // at_once, 1)))
        lost: dict[int, Exception] = {}
        with _patient(), _ended_with_us():
            for start in range(min(jobs), max(jobs) + 1, at_once):
                next_jobs = {number: job for number, job in jobs.items() if start <= number < start + at_once}
                lost |= self.run_with_hydra(next_jobs, **options)
        return lost


@contextmanager
def _ended_with_us() -> Iterator[None]:
    """An interrupt of the sweep ends the processes that run its jobs."""
    local = import_module("submitit.local.local")
    start, started = local.start_controller, []

    def start_and_keep(*arguments: Any, **options: Any) -> Any:
        started.append(start(*arguments, **options))
        return started[-1]

    try:
        with replaced(local, "start_controller", start_and_keep):
            yield
    finally:
        for process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


class _Queue:
    """Which jobs are over, as squeue has it: submitit asks sacct, which some clusters lack, every ten minutes."""

    def __init__(self) -> None:
        self.asked = float("-inf")
        self.gone: Counter[str] = Counter()  # job -> how often in succession it was in no queue
        self.waited_for: set[str] = set()

    def is_done(self, job: Any) -> bool:
        """Whether it left its result, or left the queue without one."""
        if job.paths.result_pickle.exists():
            return True
        self.waited_for.add(job.job_id)
        if time.monotonic() - self.asked > _ASK_SECONDS:
            self.asked = time.monotonic()
            command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
            with suppress(UserError):  # nothing is known: the jobs are waited for
                queued = set(_answer(command).split())
                self.gone = Counter({name: self.gone[name] + 1 for name in self.waited_for - queued})
        return self.gone[job.job_id] >= _ASKS


def _done_by(queue: _Queue) -> Callable[..., bool]:
    """What takes the place of submitit's ``Job.done``, a method."""
    return lambda job, force_check=False: queue.is_done(job)


@contextmanager
def _patient() -> Iterator[None]:
    """Every job is waited for, also after one that was lost."""
    from submitit import Job as Submitted
    from submitit.core.utils import UncompletedJobError

    results = Submitted.results

    def results_or_error(job: Any) -> list[Any]:
        try:
            return list(results(job))
        except UncompletedJobError as error:
            lost = RuntimeError(f"it left no result; what it printed is in {os.path.relpath(job.paths.stdout.parent)}")
            lost.__cause__ = error
            return [lost]
        except Exception as error:
            return [error]

    with replaced(Submitted, "results", results_or_error):
        yield


def _answer(command: list[str]) -> str:
    """What SLURM says.

    Raises:
        UserError: it does not answer.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True).stdout
    except subprocess.TimeoutExpired:
        raise UserError(f"SLURM did not answer within {_PATIENCE:.0f} s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or ["it does not say why"]
        raise UserError(f"SLURM does not answer: {lines[-1]}") from error
