"""The factor on the loss of an fp16 run: gradients that techniques read or take themselves are without it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hype_bench.contract.objective import Batch, full

Backward = Callable[[list[Batch]], Tensor]  # the micro-batches of one update -> its loss; leaves gradients in .grad


@dataclass
class LossScale:
    """Loss scaling, as far as techniques have to do with it.

    Attributes:
        scaler: what multiplies the loss before each backward pass; None, or not enabled, where nothing does.
    """

    scaler: torch.amp.GradScaler | None = None

    def scaled(self, loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """What to differentiate in place of the loss."""
        return self.scaler.scale(loss) if self.scaler else loss

    def unscaled(self, gradient: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Of a gradient that a backward pass left elsewhere than on the model's parameters."""
        return full(gradient) / self._scale(gradient.device) if self._is_scaled else gradient

    def gradient(self, loss: Float[Tensor, ""], at: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The gradient of a loss of the technique's own, which the host does not scale: without a factor, fp16 would
        round it to 0."""
        (gradient,) = torch.autograd.grad(self.scaled(loss), at)
        return self.unscaled(gradient)

    def will_step(self, model: nn.Module) -> bool:
        """Whether the scaler will take the optimizer's step: it skips an update whose gradients overflowed."""
        return not self._is_scaled or bool(_norm(model.parameters()).isfinite())

    @contextlib.contextmanager
    def unscaled_passes(self, model: nn.Module, backward: Backward) -> Iterator[Backward]:
        """Yields ``backward`` so that the gradients it leaves in ``.grad`` are without the scale.

        Afterwards they have it again, for the host to remove. If a pass overflowed, they are not finite, so that the
        host skips the update and lowers the scale, even where a technique has thrown away the gradients of that pass.
        """
        if not self._is_scaled:
            yield backward
            return
        trained = [p for p in model.parameters() if p.requires_grad]
        scale = self._scale(trained[0].device)  # a power of two: nothing is rounded on the way
        overflow = torch.zeros_like(scale)  # not a number after a pass that overflowed

        def unscaled(micro_batches: list[Batch]) -> Tensor:
            _multiply(trained, scale)  # what earlier passes left
            loss = backward(micro_batches)
            _multiply(trained, 1 / scale)
            overflow.add_(0 * _norm(trained))
            return loss

        yield unscaled
        _multiply(trained, scale + overflow)

    @property
    def _is_scaled(self) -> bool:
        return self.scaler is not None and self.scaler.is_enabled()

    def _scale(self, device: torch.device) -> Float[Tensor, ""]:
        """On the device, without waiting for it."""
        return self.scaled(torch.ones((), device=device))


def _norm(parameters: Iterable[Tensor]) -> Float[Tensor, ""]:
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def _multiply(parameters: Iterable[Tensor], factor: Tensor) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    if gradients:
        torch._foreach_mul_(gradients, factor)
