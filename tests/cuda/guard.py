"""Builds guard.cpp: what lets a torch without CUDA differentiate tensors that say they are on cuda:0."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("guard.cpp")


def obstacle() -> str:
    """Why the stand-in is not available here; empty if it is."""
    if sys.platform != "linux":
        return "the stand-in for CUDA is built on Linux only"
    if (_torch() / "lib" / "libtorch_cuda.so").exists():
        return "this torch has a CUDA of its own, beside which there is no place for a stand-in"
    if shutil.which("g++") is None:
        return "there is no g++ to build the stand-in for CUDA"
    return ""


def library() -> Path:
    """The library for the torch that is installed, built if need be. Load it before torch is imported."""
    torch = _torch()
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


def _torch() -> Path:
    """The folder of torch, which is not imported."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
