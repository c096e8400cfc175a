"""A process with everything imported, which forks once per command: a command then starts in 0.1 s instead of 5 s.

    python tests/warm.py FOLDER     started once by the fixture ``warm`` in conftest.py

It listens at the socket ``door`` of the folder, and ends when nobody holds its pipe ``held`` open any more.

Over each connection come a program and its arguments, a folder, the environment and two files for the output; back
go the number of the process that runs it and, in the end, its exit code. That process is one of its own: it can be
killed or run out of disk, and its exit code and output are what a shell would see. Only what libraries read from
the environment when they are imported (``HF_HUB_OFFLINE``, ``OMP_NUM_THREADS``) is that of the whole session.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
import weakref
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def import_everything() -> None:
    import sklearn.metrics  # noqa: F401
    import tabulate  # noqa: F401
    import typer  # noqa: F401
    import wandb  # noqa: F401
    from transformers.models.auto import modeling_auto, tokenization_auto  # noqa: F401
    from transformers.models.bert import modeling_bert  # noqa: F401

    import hydra_plugins.hype_bench_grids  # noqa: F401
    import hype_bench.launch.callback
    import hype_bench.launch.main
    import hype_bench.render.page.build
    import hype_bench.render.text
    import hype_bench.training.loop  # noqa: F401
    from hype_bench.contract.registry import discover

    discover()
    compose_and_load()


def compose_and_load() -> None:
    """Fills what Hydra, its parser and transformers keep for a process: a third of a command as short as the tests'."""
    from hydra import compose, initialize_config_dir

    from hype_bench.config import CONF, resolve
    from hype_bench.models.checkpoint import locate
    from hype_bench.models.loading import load_classifier

    overrides = ["model=tiny_bert", "task=demo_rte", "method=[hype_n]", "training.learning_rate=1e-3", "tracker=none"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run = resolve(compose("config", overrides))
    load_classifier(locate(run.model), 2, 0.1, head_seed=0)


def serve(folder: Path) -> None:
    running: dict[int, tuple[int, socket.socket]] = {}  # by what becomes readable when the process ends
    with socket.socket(socket.AF_UNIX) as door, (folder / "held").open() as held:
        door.bind(str(folder / "door"))
        door.listen()
        while held.fileno() not in (ready := select.select([door.fileno(), held.fileno(), *running], [], [])[0]):
            for ended in running.keys() & set(ready):
                process, connection = running.pop(ended)
                answer(connection, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
                connection.close()
                os.close(ended)
            if door.fileno() in ready:
                connection, _ = door.accept()
                process = start(connection)
                running[os.pidfd_open(process)] = process, connection


def start(connection: socket.socket) -> int:
    """Starts one command and returns the number of its process."""
    with connection.makefile() as stream:
        request = json.loads(stream.readline())
    process = os.fork()
    if process == 0:
        become(**request)  # does not return
    answer(connection, process)
    return process


def answer(connection: socket.socket, number: int) -> None:
    """A number on a line of its own, to whoever still listens."""
    with contextlib.suppress(OSError):
        connection.sendall(f"{number}\n".encode())


def become(
    program: str, arguments: list[str], folder: str, environment: dict[str, str], output: str, errors: str
) -> None:
    for number, path in enumerate((os.devnull, output, errors)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, as CI may be, ignores it
    sys.argv = [str(ROOT / program), *arguments]
    code: object = 0
    try:
        if program.endswith(".py"):
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as Python ends: threads first
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))  # taking torch down takes longer than most commands


if __name__ == "__main__":
    gc.disable()  # what is imported stays
    import_everything()
    gc.enable()
    gc.freeze()  # or each command copies all pages when its garbage is collected, which takes seconds
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        finalizer.atexit = False  # nor does a command take down torch's operators
    serve(Path(sys.argv[1]))
