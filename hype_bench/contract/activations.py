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


@contextlib.contextmanager
def recorded_outputs(modules: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """The outputs of these modules by their index in ``modules``, of the first forward pass made within."""
    outputs: dict[int, Tensor] = {}

    def record(index: int, module: nn.Module, args: Any, output: Any) -> None:
        outputs.setdefault(index, first_of(output))

    with contextlib.ExitStack() as handles:
        for index, module in enumerate(modules):
            handles.callback(module.register_forward_hook(partial(record, index)).remove)
        yield outputs


@contextlib.contextmanager
def recorded_inputs(modules: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Their first arguments, likewise."""
    inputs: dict[int, Tensor] = {}

    def record(index: int, module: nn.Module, args: Any) -> None:
        inputs.setdefault(index, args[0])

    with contextlib.ExitStack() as handles:
        for index, module in enumerate(modules):
            handles.callback(module.register_forward_pre_hook(partial(record, index)).remove)
        yield inputs


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
