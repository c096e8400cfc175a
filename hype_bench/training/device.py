"""The machine: device, arithmetic, and an allocator that does not return memory at every step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from hype_bench.options import UserError, check_device


def choose_device(name: str, precision: str) -> torch.device:
    """``auto`` takes a GPU if there is one.

    Raises:
        UserError: an unknown or absent device, or a precision that it does not have.
    """
    check_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device={name}: this machine has {torch.cuda.device_count()} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device=mps: this machine has no Metal device")
    if name == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    if precision in ("fp16", "tf32") and device.type != "cuda":
        raise UserError(f"training.precision={precision} needs a CUDA device, not {device.type}; use fp32 or bf16")
    return device


def set_up(device: torch.device, precision: str) -> None:
    """Sets process-wide arithmetic for one run: TF32 only if chosen, deterministic kernels, steady memory."""
    use_tf32(precision == "tf32")
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.cuda.set_device(device)
        torch.cuda.init()
        torch.cuda.reset_peak_memory_stats(device)
        torch.use_deterministic_algorithms(True, warn_only=True)
        deterministic: Any = torch.utils.deterministic
        deterministic.fill_uninitialized_memory = False  # or every torch.empty is a kernel more
        warnings.filterwarnings("ignore", "Memory Efficient attention defaults")  # ours sums in one order
        torch.backends.cuda.enable_cudnn_sdp(False)  # it would plan anew for every shape of a batch
    else:
        keep_memory()


def use_tf32(is_wanted: bool) -> None:
    """Whether float32 matrix products on CUDA may round their operands to TF32, from now on in this process.

    Of torch's two interfaces only the newer one is used: once they disagree, the older raises.
    """
    matmul = torch.backends.cuda.matmul
    matmul.fp32_precision = "tf32" if is_wanted else "none"  # none: as all backends, for which a Trainer may choose
    if not is_wanted and matmul.fp32_precision == "tf32":
        matmul.fp32_precision = "ieee"


def autocast_for(device: torch.device, precision: str) -> torch.autocast:
    """Matrix products in half precision if so chosen; else a context that does nothing."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def keep_memory() -> None:
    """Makes glibc keep freed memory: every activation is allocated again at the next update, and fresh pages cost a
    tenth of a CPU update. Does nothing elsewhere."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        trim_threshold, most_mmaps = -1, -4
        mallopt(most_mmaps, 0)  # or the gradient of the embedding table is mapped and unmapped at every update
        mallopt(trim_threshold, 2**31 - 1)


def peak_memory(device: torch.device) -> int:
    """Bytes: the peak of this run on a GPU, of this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(
        OSError
    ):  # on Linux getrusage also counts what the parent held when it started this process
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if peak := re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
            return int(peak[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe(device: torch.device) -> dict[str, object]:
    """The machine, for the record."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": device.type, "device_name": name, "threads": torch.get_num_threads(), "host": platform.node()}
