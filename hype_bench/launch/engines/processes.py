"""``hydra/launcher=joblib``: processes on the cores of this machine."""

from __future__ import annotations

from collections.abc import Mapping

from hype_bench.launch.engines.engine import Engine, Job, cores
from hype_bench.sweeps.display import display
from hype_bench.sweeps.outcomes import has_note


class Joblib(Engine):
    """joblib gives each process its share of the cores as threads, unless OMP_NUM_THREADS is set."""

    extra = "joblib"
    plugin = "hydra_joblib_launcher"
    launcher = "JoblibLauncher"
    echo = False  # the processes share the user's terminal

    def check(self) -> None:
        if self.options["n_jobs"] != -1:
            self.whole_number("n_jobs", least=1)

    def run(self, jobs: Mapping[int, Job]) -> dict[int, Exception]:
        """joblib gives up on all jobs when a process dies; what is left goes on one at a time, so that the job that
        kills its process harms no other."""
        processes = cores() if self.options["n_jobs"] == -1 else self.options["n_jobs"]
        try:
            return self.run_with_hydra(jobs, **self.options | {"n_jobs": processes})
        except Exception as error:
            left = {number: job for number, job in jobs.items() if not has_note(self.sweep, number)}
            display.say(f"warning: a process died ({type(error).__name__}); {len(left)} runs go on one at a time")
        lost: dict[int, Exception] = {}
        for number, job in left.items():
            try:  # at least two processes, or joblib would take this one
                lost |= self.run_with_hydra({number: job}, **self.options | {"n_jobs": max(processes, 2)})
            except Exception as error:
                lost[number] = error
        return lost
