"""Builds guard.cpp: what lets a torch without CUDA differentiate tensors that say they are on cuda:0."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("guard.cpp")


def library() -> Path:
    """The library for the torch that is installed, built where it is not there yet. Load it before torch is imported.

    Raises:
        FileNotFoundError: there is no g++.
    """
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    torch = Path(spec.origin).parent
    name = f"hype_bench_cuda_guard_{importlib.metadata.version('torch')}_{SOURCE.stat().st_mtime_ns}.so"
    built = Path(tempfile.gettempdir()) / name
    if not built.exists():
        half_done = built.with_suffix(f".{os.getpid()}")  # another process may build it at the same time
        includes = [f"-I{torch}/include", f"-I{torch}/include/torch/csrc/api/include"]
        links = [f"-L{torch}/lib", f"-Wl,-rpath,{torch}/lib", "-lc10", "-ltorch_cpu"]
        compiler = ["g++", "-std=c++20", "-O1", "-shared", "-fPIC"]
        subprocess.run([*compiler, *includes, str(SOURCE), *links, "-o", str(half_done)], check=True)
        half_done.replace(built)
    return built
