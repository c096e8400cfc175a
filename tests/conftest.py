"""What all tests share: an environment without network and with one thread, the parity numbers, a command line."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from beartype import BeartypeConf, beartype
from filelock import FileLock
from jaxtyping import install_import_hook

gc.disable()  # until all is imported and collected: most of it stays
gc.set_threshold(50_000, 20, 50)  # garbage is rare here, and looking for it took a twelfth of the time
# Arrays and tensors are held to the shapes of their annotations; an int is a float, as mypy has it.
# Not contract.noise and models.dropout: they are called so often that checking them slows every test that trains.
SHAPED = ["methods", "models.attention", "models.padded_attention", "models.segments"]
SHAPED += [
    f"contract.{name}"
    for name in ("ascent", "divergence", "linear_maps", "objective", "passes", "perturbation", "pruning")
]
install_import_hook("hype_bench.stats", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
install_import_hook([f"hype_bench.{name}" for name in SHAPED], "tests.conftest.check_shapes")
pytest.register_assert_rewrite(
    "hype_bench.testing", "tests.methods.by_hand", "tests.methods.noise_by_hand", "tests.models.float64"
)  # so that asserts say why
ROOT = Path(__file__).resolve().parents[1]
os.environ |= {
    "OMP_NUM_THREADS": "1",  # two test processes with two threads each wait for one another
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "WANDB_MODE": "offline",
    "HYPE_BENCH_CACHE": os.environ.get("HYPE_BENCH_TEST_CACHE", str(Path(tempfile.gettempdir()) / "hype_bench_tests")),
}
if "HYPE_BENCH_DATA" in os.environ:  # under a name that pytest's workers inherit and run.py does not read
    os.environ["HYPE_BENCH_TEST_DATA"] = os.environ.pop("HYPE_BENCH_DATA")
DATA_ROOT = os.environ.get("HYPE_BENCH_TEST_DATA")

WARM = pytest.StashKey[Path]()
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure(config: pytest.Config) -> None:
    """The server of the fixture ``warm`` ends with the process that began the tests, which holds a pipe open."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="warm")  # a short name: a socket's may have 100 characters
        os.mkfifo(Path(folder.name) / "held")
        held = os.open(Path(folder.name) / "held", os.O_RDWR)
        config.stash[WARM] = Path(folder.name)
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(lambda: os.close(held))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["warm"] = str(_warm_folder(node.config))


def _warm_folder(config: Any) -> Path:
    return Path(config.workerinput["warm"]) if hasattr(config, "workerinput") else config.stash[WARM]


def pytest_collection_finish() -> None:
    """What is imported stays: full collections, such as a Trainer's at its end, need not look at it each time."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Nor at what a file leaves behind, such as reports and caches: after 4,000 tests this took 0.3 s each time."""
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def check_shapes(function: Any) -> Any:
    """Checks signatures with shapes; what takes a model may be given a stand-in for one."""
    shaped = any(re.search(r"\[Tensor, ['\"]", str(annotation)) for annotation in function.__annotations__.values())
    if not shaped:
        return function
    from torch.compiler import is_compiling  # lazily: the process that shares the tests out needs no torch

    checked = beartype(conf=BeartypeConf(is_pep484_tower=True))(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (function if is_compiling() else checked)(*args, **kwargs)

    return call


@pytest.fixture(scope="session")
def parity() -> Callable[[str], Any]:
    """The numbers of a published implementation, by name."""
    return lambda name: json.loads((ROOT / "tests" / "parity" / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    if DATA_ROOT is None or not Path(DATA_ROOT).is_dir():
        pytest.skip("HYPE_BENCH_DATA is not set: no real data")
    return Path(DATA_ROOT)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs ``python run.py ...`` (or another program of the project) in a temporary folder."""

    def run(*arguments: str, program: str = "run.py", env: dict[str, str] | None = None, timeout: float = 240) -> Any:
        script = [str(ROOT / program)] if program.endswith(".py") else ["-m", program]
        return subprocess.run(
            [sys.executable, *script, *arguments],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Size -> a folder that can be full or read-only even for root."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: str) -> Path:
        script = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            ended = subprocess.run(script, capture_output=True)
        except OSError as error:
            pytest.skip(f"cannot mount a small disk: {error}")
        if ended.returncode:
            pytest.skip(f"cannot mount a small disk: {ended.stderr.decode().strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Started:
    """A running program of the fixture ``warm``."""

    def __init__(
        self, door: Path, program: str, arguments: Sequence[str], folder: Path, environment: dict[str, str]
    ) -> None:
        self.arguments, self.output = [program, *arguments], Path(tempfile.mkdtemp(dir=door.parent))
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(str(door))
        self.stream = self.connection.makefile("rw")
        request = {"program": program, "arguments": arguments, "folder": str(folder), "environment": environment}
        request |= {name: str(self.output / name) for name in ("output", "errors")}
        print(json.dumps(request), file=self.stream, flush=True)
        self.pid = int(self.stream.readline())

    def wait(self, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        with self.connection, self.stream:
            if not select.select([self.connection], [], [], timeout)[0]:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"{' '.join(self.arguments)} did not end within {timeout} s")
            code = int(self.stream.readline())
        texts = [(self.output / name).read_text() for name in ("output", "errors")]
        return subprocess.CompletedProcess(self.arguments, code, *texts)

    def until(self, is_so: Callable[[], object], timeout: float = 240) -> None:
        """Waits for what the program is to bring about before it ends."""
        give_up = time.monotonic() + timeout
        while not is_so():
            goes_on = not select.select([self.connection], [], [], 0.01)[0] and time.monotonic() < give_up
            assert goes_on or is_so(), f"{' '.join(self.arguments)} has ended, or not done it within {timeout} s"

    def kill(self) -> None:
        """As ``kill -9`` does."""
        with contextlib.suppress(ProcessLookupError):  # it had ended
            os.kill(self.pid, signal.SIGKILL)
        self.wait()


class Warm:
    """Starts ``run.py``, or another program, in processes that need not import anything (tests/warm.py)."""

    def __init__(self, door: Path, folder: Path) -> None:
        self.door, self.folder = door, folder

    def __call__(self, *arguments: str, timeout: float = 240, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.start(*arguments, **how).wait(timeout)

    def start(self, *arguments: str, program: str = "run.py", env: dict[str, str | None] | None = None) -> Started:
        """``env`` adds to the environment, and takes away what is None in it."""
        environment = {name: value for name, value in {**os.environ, **(env or {})}.items() if value is not None}
        return Started(self.door, program, arguments, self.folder, environment)


@pytest.fixture(scope="session")
def warm_door(pytestconfig: pytest.Config) -> Path:
    """The socket of the server that all test processes share: the first that needs it starts it."""
    folder = _warm_folder(pytestconfig)
    door, log = folder / "door", folder / "log"
    with FileLock(folder / "lock"):
        if not door.exists():
            command = [sys.executable, str(ROOT / "tests" / "warm.py"), str(folder)]
            appended = os.O_CREAT | os.O_APPEND | os.O_WRONLY
            output = [(os.POSIX_SPAWN_OPEN, number, log, appended, 0o600) for number in (1, 2)]
            server = os.posix_spawn(command[0], command, os.environ, file_actions=output)  # it may outlive this process
            while not door.exists():
                assert os.waitpid(server, os.WNOHANG) == (0, 0), log.read_text()
                time.sleep(0.02)
    return door


@pytest.fixture(scope="session")
def warm_in(warm_door: Path) -> Callable[[Path], Warm]:
    """``warm`` for a folder of one's own."""
    return lambda folder: Warm(warm_door, folder)


@pytest.fixture
def warm(warm_in: Callable[[Path], Warm], tmp_path: Path) -> Warm:
    """Runs ``python run.py ...`` (or another program) in a temporary folder as ``command`` does, but starts at once."""
    return warm_in(tmp_path)
