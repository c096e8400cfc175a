"""Sweeps whose jobs run side by side: the numbers of one after another, jobs that fail or die, engines that are not
there. The engines are the real ones, but for SLURM, whose programs are played by a few lines of shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hype_bench.launch.engines import submitted
from hype_bench.launch.main import main
from hype_bench.models.tiny import build_tiny
from hype_bench.options import UserError
from tests.launch.test_seeds import AUTO

SHORT: tuple[str, ...] = (
    "task=demo_rte",
    "tracker=none",
    "method=hype_n",
    "training.max_steps=3",
    "training.learning_rate=1e-3",
)
SHORT = (*SHORT, "data.max_train_examples=64", "data.max_eval_examples=32", "-m")
FAILING = ("model=tiny_bert", "model.name_or_path=tiny:bert,./broken")  # see break_weights
EXPERIMENT = ("experiment=table1", "scope=smoke", "task=demo_rte", "method=vanilla", "-m")
ENGINES = {
    "joblib": ("hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "local": ("hydra_submitit_launcher", ["hydra.launcher.jobs_at_once=2"]),
    "gpus": ("hydra_ray_launcher", ["hydra.launcher.gpus_per_run=0"]),
    "slurm": ("hydra_submitit_launcher", ["hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=30"]),
}
# Found by every Python process that a sweep starts: training with seed 2 raises, with seed 3 it kills its process.
FAULTS = """
import importlib.abc, importlib.util, os, signal, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "hype_bench.training.loop":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_break(module):
            execute(module)
            fine_tune = module.fine_tune

            def breaks(run, *others):
                if run.seed == 2:
                    raise RuntimeError("a cosmic ray")
                if run.seed == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                fine_tune(run, *others)

            module.fine_tune = breaks

        spec.loader.exec_module = execute_and_break
        return spec

sys.meta_path.insert(0, Finder())
"""
# A cluster of one machine: each job of the array is started as SLURM would, and is in the queue until it ends.
PROGRAMS = {
    "sbatch": r"""
cp "$1" {folder}/submitted.sh  # submitit moves the original as soon as this script ends
echo "Submitted batch job 7"
export SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_JOB_NODELIST=here
export SLURM_ARRAY_JOB_ID=7
for task in $(seq 0 $(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$1")); do
  touch {folder}/queued-7_$task
  (SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=$((8 + task)) bash {folder}/submitted.sh
   rm {folder}/queued-7_$task) >/dev/null 2>&1 </dev/null &
done
""",
    "srun": r"""
log=/dev/null
while [[ "$1" == --* ]]; do
  if [[ "$1" == --output ]]; then log="$2"; fi
  if [[ "$1" == --output || "$1" == --error ]]; then shift; fi
  shift
done
log="${log//%A/$SLURM_ARRAY_JOB_ID}"
log="${log//%a/$SLURM_ARRAY_TASK_ID}"
mkdir -p "$(dirname "$log")"
exec "$@" >"${log//%t/0}" 2>&1
""",
    "squeue": "ls {folder} | sed -n 's/^queued-//p'",
    "sinfo": "printf 'gpu\\nlong\\n'",
    "sacct": "exit 1",
}


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """An environment in which there is SLURM."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    for name, lines in PROGRAMS.items():
        (folder / name).write_text("#!/bin/bash\n" + lines.replace("{folder}", str(folder)))
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def break_weights(folder: Path) -> None:
    """Makes ``broken``, a model whose weights are half a file: found when they are loaded, within its run."""
    shutil.copytree(build_tiny("bert"), folder / "broken")
    os.truncate(folder / "broken" / "model.safetensors", 1000)


def chosen(engine: str) -> list[str]:
    """The words that choose an engine; the test is skipped where its extra is not installed."""
    plugin, options = ENGINES[engine]
    if find_spec(f"hydra_plugins.{plugin}") is None:
        pytest.skip(f"{plugin} is not installed")
    return [f"hydra/launcher={engine}", *options]


def numbers(results: Path) -> dict[str, Any]:
    records = {path.parent.name: json.loads(path.read_text()) for path in results.glob("runs/*/result.json")}
    kept = ("scores", "curve", "tokens", "updates", "label", "parts", "machine")
    return {name: {key: record[key] for key in kept} for name, record in records.items()}


def jobs(results: Path) -> list[str]:
    """How the jobs of the only sweep ended, by number."""
    paths = sorted(results.glob("sweeps/*/job-*.json"))
    assert [path.stem for path in paths] == [f"job-{number:06d}" for number in range(len(paths))]
    return [json.loads(path.read_text())["state"] for path in paths]


def check(ended: Any, warm: Any, tmp_path: Path, sweep: tuple[str, ...], each: int) -> None:
    """Of a sweep over a model that works and one that fails: every job ended, and the numbers are those of a sweep
    that runs one job after another in one process with as many threads."""
    assert ended.returncode == 1, ended.stdout + ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line.startswith("[")]
    assert [line.split()[0] for line in lines] == [f"[{number}/{2 * each}]" for number in range(1, 2 * each + 1)]
    assert f"{2 * each} runs: {each} done now, 0 done before, {each} failed" in ended.stdout
    assert re.search(r"^  failed: broken .*broken cannot be loaded as a model", ended.stdout, re.MULTILINE)
    assert "" not in ended.stdout + ended.stderr
    assert jobs(tmp_path / "results") == ["done"] * each + ["failed"] * each
    assert warm(*sweep, "results_dir=one_after_another").returncode == 1
    assert numbers(tmp_path / "results") == numbers(tmp_path / "one_after_another") != {}


def test_processes_of_joblib(warm: Any, tmp_path: Path) -> None:
    """What failed is there for ``hype-bench status``."""
    break_weights(tmp_path)
    sweep = (*SHORT, *FAILING, "seed=1")
    ended = warm(*sweep, *chosen("joblib"))
    assert ended.stderr == ""
    check(ended, warm, tmp_path, sweep, each=1)
    status = warm("status", program="hype_bench.cli").stdout
    assert "2 runs, 1 done, 1 failed" in status
    assert len(list(tmp_path.glob("results/runs/*/failure.txt"))) == status.count("failure.txt") == 1


@pytest.mark.slow
def test_local_jobs_of_an_experiment(warm: Any, tmp_path: Path) -> None:
    """The sweeper of experiments hands its jobs to any engine, and leaves out what is done."""
    break_weights(tmp_path)
    sweep = (*EXPERIMENT, *FAILING, "seed=1")
    check(warm(*sweep, *chosen("local")), warm, tmp_path, sweep, each=1)
    logs = [path.read_text() for path in tmp_path.glob("results/sweeps/*/local/*/*_log.out")]
    assert sorted(re.findall(r"^(\w+): (?:tiny_bert|broken) ", "".join(logs), re.MULTILINE)) == ["done", "failed"]
    again = warm(*EXPERIMENT, FAILING[0], "model.name_or_path=tiny:bert", "seed=1", *chosen("local"))
    assert "1 done before, 0 to do" in again.stdout


def check_two_runs_at_once(command: Any, tmp_path: Path, gpus_per_run: float) -> dict[str, Any]:
    """Of Ray's engine: both are done, and each has the numbers that it has alone, in which graphs would be captured;
    the records' numbers are returned."""
    words, engine = [*SHORT, "model=tiny_bert", "training.max_steps=40", "seed=1,2"], chosen("gpus")
    ended = command(*words, *engine, f"hydra.launcher.gpus_per_run={gpus_per_run}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    alone = command(*words, "results_dir=one_after_another")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    records = numbers(tmp_path / "results")
    assert records == numbers(tmp_path / "one_after_another")
    assert len(records) == 2
    return records


def test_ray_gives_every_run_a_process(warm: Any, tmp_path: Path) -> None:
    break_weights(tmp_path)
    sweep = (*SHORT, *FAILING, "seed=1")
    check(warm(*sweep, *chosen("gpus")), warm, tmp_path, sweep, each=1)


def test_two_runs_of_ray_at_once(warm: Any, tmp_path: Path) -> None:
    check_two_runs_at_once(warm, tmp_path, gpus_per_run=0)


def test_ray_gives_runs_that_take_turns_a_process(warm: Any, tmp_path: Path) -> None:
    break_weights(tmp_path)
    sweep = (*SHORT, *FAILING, "seed=1,2")
    check(warm(*sweep, *chosen("gpus"), "hydra.launcher.runs_per_gpu=3"), warm, tmp_path, sweep, each=2)
    records = [json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/result.json")]
    assert {record["facts"]["runs_at_once"] for record in records} == {3}


@pytest.mark.slow
def test_an_array_of_slurm(warm: Any, cluster: dict[str, str], tmp_path: Path) -> None:
    """What sbatch is given, and what comes of it."""
    break_weights(tmp_path)
    sweep = (*SHORT, *FAILING, "seed=1")
    check(warm(*sweep, *chosen("slurm"), env=cluster), warm, tmp_path, sweep, each=1)
    script = (tmp_path / "cluster" / "submitted.sh").read_text()
    asked = {match[1]: match[2] for match in re.finditer(r"^#SBATCH --([\w-]+)=?(.*)$", script, re.MULTILINE)}
    wanted = {"partition": "gpu", "time": "30", "requeue": "", "array": "0-1%2", "gpus-per-node": "1"}
    assert asked.items() >= wanted.items()
    (sweep_folder,) = tmp_path.glob("results/sweeps/*")
    assert asked["output"].startswith(str(sweep_folder / "slurm"))


@pytest.mark.slow
def test_a_requeued_job_finds_its_record(warm: Any, cluster: dict[str, str], tmp_path: Path) -> None:
    assert warm(*SHORT, "model=tiny_bert", "seed=1,2", *chosen("slurm"), env=cluster).returncode == 0
    records = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/runs/*/result.json")}
    again = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "8", "SLURM_NTASKS": "1"}
    script = ["bash", str(tmp_path / "cluster" / "submitted.sh")]
    subprocess.run(script, env={**os.environ, **cluster, **again}, check=True, timeout=120, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in records} == records
    (note,) = tmp_path.glob("results/sweeps/*/job-000000.json")
    assert json.loads(note.read_text())["skipped"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_job_that_dies_harms_no_other(
    engine: str, command: Any, warm: Any, cluster: dict[str, str], tmp_path: Path
) -> None:
    """One raises, one kills its process, two are well: each is told as what it is, and only two are to do again."""
    start = command if engine == "joblib" else warm  # joblib ends its processes when Python ends as it should
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "sitecustomize.py").write_text(FAULTS)
    sweep = (*SHORT, "model=tiny_bert", "seed=1,2,3,4", *chosen(engine))
    ended = start(*sweep, env={**cluster, "PYTHONPATH": str(tmp_path / "faults")}, timeout=240)
    assert ended.returncode == 1
    assert "4 runs: 2 done now, 0 done before, 2 failed" in ended.stdout
    assert "seed 2: a cosmic ray (traceback: " in ended.stdout
    (trace,) = tmp_path.glob("results/sweeps/*/job-000002.txt")
    assert re.search(rf"failed: seed=3: its worker ended: .*\(see {trace.relative_to(tmp_path)}\)", ended.stdout)
    assert jobs(tmp_path / "results") == ["done", "failed", "failed", "done"]
    assert "4 runs: 2 done now, 2 done before, 0 failed" in warm(*SHORT, "model=tiny_bert", "seed=1,2,3,4").stdout


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_rounds_of_seeds(engine: str, warm: Any, cluster: dict[str, str], tmp_path: Path) -> None:
    """Every round of ``seed=auto`` goes through the engine: five seeds of both techniques, then two more one by one."""
    ended = warm(*AUTO, *chosen(engine), env=cluster, timeout=500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "14 runs: 14 done now, 0 done before, 0 failed" in ended.stdout
    assert jobs(tmp_path / "results") == ["done"] * 14
    seeds = {(record["label"]["method"], record["label"]["seed"]) for record in numbers(tmp_path / "results").values()}
    assert seeds == {(method, seed) for method in ("vanilla", "bitfit") for seed in range(1, 8)}


def refused(ended: Any, tmp_path: Path) -> str:
    """The one line of a sweep in which nothing was begun."""
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert ended.stdout == ""
    assert not list(tmp_path.glob("results/runs/*"))
    (line,) = ended.stderr.splitlines()
    return str(line)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_extra_that_is_not_installed(engine: str, monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hype_bench.launch.engines.engine.find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["run.py", *SHORT, "seed=1,2", f"hydra/launcher={engine}"])
    with pytest.raises(SystemExit) as end:
        main()
    printed = capsys.readouterr()
    extra = {"local": "slurm", "gpus": "ray"}.get(engine, engine)
    line = f"error: hydra/launcher={engine} needs more packages: pip install 'hype-bench[{extra}]'\n"
    assert (end.value.code, printed.err, printed.out) == (2, line, "")


def test_slurm_that_is_not_there(warm: Any, cluster: dict[str, str], tmp_path: Path) -> None:
    words = (*SHORT, "seed=1,2", *chosen("slurm"))
    assert "there is no sbatch here" in refused(warm(*words, env={"PATH": str(tmp_path)}), tmp_path)
    wrong = warm(*words, "hydra.launcher.partition=cpu", env=cluster)
    assert refused(wrong, tmp_path) == "error: SLURM has no partition 'cpu'; there are gpu, long"
    (tmp_path / "cluster" / "sinfo").write_text("#!/bin/bash\necho 'Unable to contact slurm controller' >&2; exit 1")
    complaint = refused(warm(*words, env=cluster), tmp_path)
    assert complaint == "error: SLURM does not answer: Unable to contact slurm controller"


def test_slurm_that_refuses(warm: Any, cluster: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "cluster" / "sbatch").write_text("#!/bin/bash\necho 'sbatch: error: Invalid account' >&2; exit 1")
    ended = warm(*SHORT, "seed=1,2", *chosen("slurm"), env=cluster)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("error: SLURM refuses the jobs: Invalid account\n")


def test_slurm_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitted, "_PATIENCE", 0.1)
    with pytest.raises(UserError, match="did not answer within"):
        submitted._answer(["sleep", "10"])


def test_a_job_that_left_the_queue_without_a_result_is_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers: Iterator[str | UserError] = iter(
        ["7_0\n7_1\n", UserError("no answer"), "7_1\n", "7_0\n7_1\n", "7_1\n", "7_1\n"]
    )

    def answer(command: list[str]) -> str:
        if isinstance(reply := next(answers), UserError):
            raise reply
        return reply

    monkeypatch.setattr(submitted, "_answer", answer)
    monkeypatch.setattr(submitted, "_ASK_SECONDS", -1.0)
    queue, job = submitted._Queue(), SimpleNamespace(job_id="7_0", paths=SimpleNamespace(result_pickle=tmp_path / "x"))
    assert [queue.is_done(job) for _ in range(6)] == [False] * 5 + [True]
    (tmp_path / "x").touch()
    assert submitted._Queue().is_done(job)


def test_a_ray_cluster_that_is_not_there(warm: Any, tmp_path: Path) -> None:
    chosen("gpus")  # or skips
    words = (*SHORT, "seed=1,2", "hydra/launcher=ray_cluster")
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        complaint = refused(warm(*words, f"hydra.launcher.ray.init.address={address}"), tmp_path)
        assert complaint == f"error: no Ray cluster at {address}: Connection refused"


def test_a_machine_without_a_gpu(warm: Any, tmp_path: Path) -> None:
    ended = warm(*SHORT, "seed=1,2", *chosen("gpus"), "hydra.launcher.gpus_per_run=1", env={"CUDA_VISIBLE_DEVICES": ""})
    complaint = refused(ended, tmp_path)
    assert complaint == "error: this machine has no GPU; hydra/launcher=joblib spreads the runs over its cores"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("hydra/launcher=joblib hydra.launcher.n_jobs=0", "n_jobs must be a whole number of at least 1, not 0"),
        ("hydra/launcher=local hydra.launcher.jobs_at_once=many", "jobs_at_once must be a whole number"),
        (
            "hydra/launcher=gpus hydra.launcher.runs_per_gpu=2 hydra.launcher.gpus_per_run=0.5",
            "runs_per_gpu shares one GPU among runs: leave out hydra.launcher.gpus_per_run=0.5",
        ),
        ("hydra/launcher=slrm", "there is no hydra/launcher 'slrm'; did you mean slurm?"),
        ("hydra/launcher=submitit_slurm", "there is no hydra/launcher 'submitit_slurm'"),  # which Hydra would know
    ],
)
def test_options_that_cannot_be(words: str, complaint: str, warm: Any, tmp_path: Path) -> None:
    if words.startswith("hydra/launcher=gpus"):
        chosen("gpus")  # or skips
    assert complaint in refused(warm(*SHORT, "seed=1,2", *words.split()), tmp_path)


def test_an_engine_is_for_sweeps(warm: Any, tmp_path: Path) -> None:
    complaint = refused(warm(*SHORT[:-1], "hydra/launcher=slurm"), tmp_path)
    assert complaint == "error: hydra/launcher=slurm is for sweeps: add -m"
