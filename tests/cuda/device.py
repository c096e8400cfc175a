"""A stand-in for a CUDA device: tensors that say they are on cuda:0 and hold values on the CPU.

Within :class:`Cuda` whatever asks for a CUDA device gets such tensors: every branch for CUDA runs, each operator is
counted, and operands of two devices are refused as a GPU refuses them. What it cannot show: CUDA's own kernels, memory,
streams and generators. ``guard.py``'s library must have been loaded before torch was imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import torch
import torch.utils._foreach_utils as foreach_utils
from torch import Tensor
from torch.nn import functional as F
from torch.utils._device import _device_constructors
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.cuda.counts import Counts, reason_to_wait
from tests.cuda.kernels import KERNELS
from tests.cuda.repeatable import refuse_what_does_not_repeat

DEVICE = torch.device("cuda:0")
COUNTS = Counts()
LONG_TIME = 20  # launches, fewer than any update has
aten = torch.ops.aten
_TAKE_INDICES_OF_THE_HOST = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
_DATA: Any = Tensor.data
_SDPA: Any = F.scaled_dot_product_attention
_pinned: set[int] = set()  # addresses of page-locked memory


class CudaTensor(Tensor):
    """Says that it is on cuda:0; its values are ``of_host``."""

    of_host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, values: Tensor) -> CudaTensor:
        tensor: CudaTensor = Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=int(values.storage_offset()),
            dtype=values.dtype,
            device=DEVICE,
        )
        tensor.of_host = values
        return tensor

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"CudaTensor({tuple(self.shape)}, {self.dtype})"

    def __deepcopy__(self, memo: Any) -> CudaTensor:
        copy = CudaTensor(self.of_host.clone())
        copy.requires_grad_(self.requires_grad)
        return copy

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        return torch.tensor(data, **{"dtype": self.dtype, "device": DEVICE, **kwargs})

    @property
    def data(self) -> Any:
        return _DATA.__get__(self)

    @data.setter
    def data(self, new: Any) -> None:
        _DATA.__set__(self, new)
        self.of_host = new.of_host

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return dispatch(func, args, kwargs or {})


class Cuda(TorchDispatchMode):
    """Within, there is a GPU."""

    def __enter__(self) -> Any:
        self.within = contextlib.ExitStack()
        self.within.enter_context(_one_gpu())
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.within.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


def _from_numbers(function: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
    """torch.tensor and the like: their C++ allocates on the device without asking a mode."""
    tensor: Tensor = function(*args, **kwargs)
    return tensor if device is None else tensor.to(device)


def _sdpa(
    query: Any,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """On the stand-in the memory-efficient kernel, which serves every mask and precision."""
    if not isinstance(query, CudaTensor):
        return _SDPA(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    bias = attn_mask
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            bias = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(~attn_mask, -torch.inf)
        bias = bias.expand(*query.shape[:-1], key.shape[-2])
    with torch.autocast("cuda", enabled=False):
        attend = aten._scaled_dot_product_efficient_attention
        return attend(query, key, value, bias, query.requires_grad, dropout_p, is_causal, scale=scale)[0]


class Event:
    """The host waits for one that was recorded a moment ago; a long time later it has happened."""

    def record(self) -> None:
        self.at = COUNTS.launched

    def synchronize(self) -> None:
        if COUNTS.launched - self.at < LONG_TIME:
            COUNTS.wait("torch.cuda.Event.synchronize")


@contextlib.contextmanager
def _one_gpu() -> Iterator[None]:
    """What ``torch.cuda`` says of the machine; the generator of the GPU is that of the CPU."""
    answers: dict[str, Any] = {
        "Event": Event,
        "_lazy_init": lambda: None,
        "_initialized": True,
        "current_device": lambda: 0,
        "device": lambda device=None: contextlib.nullcontext(),
        "device_count": lambda: 1,
        "get_device_capability": lambda device=None: (8, 0),
        "get_device_name": lambda device=None: "stand-in",
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "init": lambda: None,
        "is_available": lambda: True,
        "is_bf16_supported": lambda *_, **__: True,
        "is_initialized": lambda: True,
        "manual_seed_all": lambda seed: None,
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "set_device": lambda device: None,
        "set_rng_state": lambda state, device=None: torch.set_rng_state(state),
        "synchronize": lambda device=None: COUNTS.wait("torch.cuda.synchronize"),
    }
    _device_constructors()  # which ``with torch.device(...)`` reads once: the functions before they are replaced
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, answer))
        for function in (torch.tensor, torch.as_tensor):
            stack.enter_context(mock.patch.object(torch, function.__name__, partial(_from_numbers, function)))
        stack.enter_context(mock.patch.object(F, "scaled_dot_product_attention", _sdpa))
        stack.enter_context(mock.patch.object(torch, "inference_mode", torch.no_grad))  # which wrappers do not survive
        stack.enter_context(mock.patch.object(foreach_utils, "_foreach_supported_types", [Tensor, CudaTensor]))
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # Module.to cannot swap a CPU tensor's content
        try:
            yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwrites)


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operator: as ever on the CPU, a copy between the two, or a launch."""
    leaves = [*_leaves(args), *_leaves(kwargs.values())]
    device = next((torch.device(leaf) for leaf in (kwargs.get("device"), *leaves) if _is_device(leaf)), None)
    on_cuda = [leaf for leaf in leaves if isinstance(leaf, CudaTensor)]
    if func in (aten.is_pinned.default, aten._pin_memory.default):
        return _pin(func, args[0])
    if not on_cuda and (device is None or device.type != "cuda"):
        return _pinned_empty(func, args, kwargs) if kwargs.get("pin_memory") else func(*args, **kwargs)
    if func is aten._to_copy.default:
        return _to_copy(args[0], device, kwargs)
    if func is aten.copy_.default:
        return _copy_(*args, **kwargs)
    return _launch(func, args, kwargs, leaves)


def _is_device(leaf: Any) -> bool:
    return isinstance(leaf, torch.device)


def _to_copy(source: Tensor, device: torch.device | None, kwargs: dict[str, Any]) -> Tensor:
    waits = not kwargs.get("non_blocking", False)
    copied = aten._to_copy.default(_values(source), **kwargs | {"device": torch.device("cpu"), "non_blocking": False})
    if isinstance(source, CudaTensor) and device is not None and device.type == "cpu":
        COUNTS.copy("to the host", waits)
        return copied
    if not isinstance(source, CudaTensor):
        COUNTS.copy(f"from {_memory(source)} of the host", waits)
        return CudaTensor(copied)
    COUNTS.launch(aten._to_copy.default, (source,), [source, copied])
    return CudaTensor(copied)


def _copy_(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    _values(target).copy_(_values(source))
    if not isinstance(target, CudaTensor):
        COUNTS.copy("to the host", not non_blocking)
    elif not isinstance(source, CudaTensor):
        COUNTS.copy(f"from {_memory(source)} of the host", not non_blocking)
    else:
        COUNTS.launch(aten.copy_.default, (target, source), [target, source])
    return target


def _launch(func: Any, args: Any, kwargs: dict[str, Any], leaves: Iterable[Any]) -> Any:
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if func not in _TAKE_INDICES_OF_THE_HOST:
        _refuse_two_devices(func, tensors)
    refuse_what_does_not_repeat(func, args, kwargs)
    if reason := reason_to_wait(func, args, kwargs):
        COUNTS.wait(reason)
    values = _map(_values, args), {name: _map(_values, value) for name, value in kwargs.items()}
    if "device" in kwargs:
        values[1]["device"] = torch.device("cpu")
    values[1].pop("pin_memory", None)
    result = KERNELS.get(func, func)(*values[0], **values[1])
    if torch.Tag.inplace_view in func.tags and func is not aten.set_.source_Tensor:
        with no_dispatch():  # the shape of the wrapper changes as that of its values did
            func(*args, **kwargs)
    written = [at for at, argument in enumerate(func._schema.arguments) if argument.is_write]
    results = [] if written else [leaf for leaf in _leaves((result,)) if isinstance(leaf, Tensor)]
    COUNTS.launch(func, args, [*tensors, *results])
    if written and not func._schema.returns:
        return None
    if "out" in kwargs:
        return kwargs["out"]
    return args[written[0]] if written and _in_place(func) else _map(_on_cuda, result)


def _in_place(func: Any) -> bool:
    return bool(func._schema.name.endswith("_"))


def _refuse_two_devices(func: Any, tensors: Iterable[Tensor]) -> None:
    """A single number of the host is passed by value."""
    of_host = [tuple(t.shape) for t in tensors if not isinstance(t, CudaTensor) and t.dim()]
    if of_host:
        raise RuntimeError(f"Expected all tensors to be on the same device: {func} on cuda:0 and {of_host} on cpu")


def _memory(source: Tensor) -> str:
    return "pinned memory" if source.untyped_storage().data_ptr() in _pinned else "pageable memory"


def _pin(func: Any, source: Tensor) -> Any:
    if func is aten.is_pinned.default:
        return source.untyped_storage().data_ptr() in _pinned
    pinned = source.clone()
    _pinned.add(pinned.untyped_storage().data_ptr())
    return pinned


def _pinned_empty(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    pinned: Tensor = func(*args, **kwargs | {"pin_memory": False})
    _pinned.add(pinned.untyped_storage().data_ptr())
    return pinned


def _leaves(tree: Iterable[Any]) -> Iterator[Any]:
    for leaf in tree:
        if isinstance(leaf, list | tuple):
            yield from leaf
        else:
            yield leaf


def _map(change: Callable[[Any], Any], tree: Any) -> Any:
    """As ``torch.utils._pytree.tree_map``, which takes a third of the time of everything here."""
    if isinstance(tree, list | tuple):
        return type(tree)([_map(change, leaf) for leaf in tree])
    return change(tree)


def _values(leaf: Any) -> Any:
    return leaf.of_host if isinstance(leaf, CudaTensor) else leaf


def _on_cuda(leaf: Any) -> Any:
    return CudaTensor(leaf) if isinstance(leaf, Tensor) and not isinstance(leaf, CudaTensor) else leaf
