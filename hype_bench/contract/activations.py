"""What goes into a module and what comes out of it, in training, whatever form it has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from hype_bench.contract.lifetime import Lifetime
from hype_bench.models.segments import CurrentSegments

Change = Callable[[Tensor], Tensor | None]  # None leaves the tensor as it is
Recording = contextlib.AbstractContextManager[dict[int, Tensor]]


def change_input(module: nn.Module, change: Change) -> RemovableHandle:
    """The module reads ``change(x)`` for its first argument x in training, until the handle is removed."""

    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        changed = change(args[0]) if module.training else None
        return None if changed is None else (changed, *args[1:])

    return module.register_forward_pre_hook(hook)


def change_output(module: nn.Module, change: Change) -> RemovableHandle:
    """The module returns ``change(x)`` for x in training, until the handle is removed; x is its output, or the first
    of several in a tuple."""

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        changed = change(first_of(output)) if module.training else None
        if changed is None:
            return None
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return module.register_forward_hook(hook)


def recorded_outputs(modules: Sequence[nn.Module]) -> Recording:
    """The outputs of these modules by their index in ``modules``, of the first forward pass made within."""
    return _recorded(
        modules, lambda module, keep: module.register_forward_hook(lambda m, args, out: keep(first_of(out)))
    )


def recorded_inputs(modules: Sequence[nn.Module]) -> Recording:
    """Their first arguments, likewise."""
    return _recorded(modules, lambda module, keep: module.register_forward_pre_hook(lambda _, args: keep(args[0])))


@contextlib.contextmanager
def _recorded(
    modules: Sequence[nn.Module], listen: Callable[[nn.Module, Callable[[Tensor], None]], RemovableHandle]
) -> Iterator[dict[int, Tensor]]:
    tensors: dict[int, Tensor] = {}

    def keep(index: int, tensor: Tensor) -> None:
        tensors.setdefault(index, tensor)

    with contextlib.ExitStack() as handles:
        for index, module in enumerate(modules):
            handles.callback(listen(module, partial(keep, index)).remove)
        yield tensors


def listeners(model: nn.Module) -> int:
    """How many hooks read or change what goes into the model's modules and comes out of them."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def first_of(output: Any) -> Tensor:
    """The hidden states that a layer or an encoder returns, alone or first of several."""
    hidden: Tensor = output[0] if isinstance(output, tuple | ModelOutput) else output
    return hidden


def current_segments(model: PreTrainedModel, context: Lifetime) -> CurrentSegments:
    """Which example each position belongs to in the current forward pass, until the run ends."""
    segments = CurrentSegments(model)
    context.until_finish(model.register_forward_pre_hook(segments.watch, with_kwargs=True))
    return segments
