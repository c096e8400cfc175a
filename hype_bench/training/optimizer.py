"""Parameter groups, three forms of Adam, and the schedule (HyPe paper, Appendix A; methods.md 0.4 and 1.5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hype_bench.config import TrainingSettings
from hype_bench.models.layers import is_layer_norm


def parameter_groups(model: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of the trainable parameters: those with weight decay, and biases and LayerNorm without.

    The same for every architecture. The Trainer of transformers 4.7 knew ``nn.LayerNorm`` alone, so that with it
    DeBERTa v1, whose LayerNorm is a class of its own, has decay on the gains (methods.md 1.5).
    """
    norms = {id(p) for m in model.modules() if is_layer_norm(m) for p in m.parameters()}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if "bias" in name or id(parameter) in norms else decayed).append(parameter)
    return [
        {"params": decayed, "lr": learning_rate, "weight_decay": weight_decay},
        {"params": plain, "lr": learning_rate, "weight_decay": 0.0},
    ]


def make_optimizer(groups: list[dict[str, Any]], settings: TrainingSettings) -> Optimizer:
    """``adamw``: torch's, fused; ``adamw_hf``: :class:`AdamWHF`; else :class:`AdamWithoutBiasCorrection`."""
    groups = [group for group in groups if group["params"]]
    own = {"adamw_hf": AdamWHF, "adam_without_bias_correction": AdamWithoutBiasCorrection}
    if settings.optimizer in own:
        return own[settings.optimizer](groups, settings.learning_rate, settings.adam_betas, settings.adam_epsilon)
    device = groups[0]["params"][0].device.type
    return torch.optim.AdamW(
        groups,
        settings.learning_rate,
        settings.adam_betas,
        settings.adam_epsilon,
        fused=device in ("cpu", "cuda"),
    )


class AdamWHF(Optimizer):
    """AdamW as transformers 4.7.0 wrote it, which the HyPe paper's numbers come from.

    epsilon is added before the bias correction: ``p -= lr * sqrt(1-b2^t)/(1-b1^t) * m / (sqrt(v) + eps)``, and the
    decay follows on the already updated parameter, ``p -= lr * wd * p``. With the paper's epsilon of 1e-5 and small
    gradients the first steps are half of torch's.

    Reference: Loshchilov and Hutter 2019, arXiv:1711.05101; methods.md 1.5.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step(parameters, group)

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for p in parameters:
            if not self.state[p]:
                self.state[p] = {"step": 0, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
            self.state[p]["step"] += 1
        gradients = [p.grad for p in parameters if p.grad is not None]
        first = [self.state[p]["exp_avg"] for p in parameters]
        second = [self.state[p]["exp_avg_sq"] for p in parameters]
        beta1, beta2 = group["betas"]
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        denominators = torch._foreach_sqrt(second)
        torch._foreach_add_(denominators, group["eps"])
        self._move(parameters, first, denominators, group)

    def _move(self, parameters: list[Tensor], first: list[Tensor], denominators: Any, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        steps = [self.state[p]["step"] for p in parameters]
        sizes = [-group["lr"] * math.sqrt(1 - beta2**t) / (1 - beta1**t) for t in steps]
        torch._foreach_addcdiv_(parameters, first, denominators, sizes)
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])


class AdamWithoutBiasCorrection(AdamWHF):
    """Adam as BERT was released with: ``p -= lr * (m / (sqrt(v) + eps) + wd * p)``, m and v as they are.

    Against the corrected form the first step is 3.16 times as large, the twelfth 6.57 times, the hundredth 3.24 times:
    the instability that Mosbach et al. and Zhang et al. found in fine-tuning.

    Reference: Devlin et al. 2019, arXiv:1810.04805; code: google-research/bert, commit eedf571, optimization.py; Zhang
    et al. 2021, "Revisiting Few-sample BERT Fine-tuning", arXiv:2006.05987
    """

    def _move(self, parameters: list[Tensor], first: list[Tensor], denominators: Any, group: dict[str, Any]) -> None:
        updates = torch._foreach_div(first, denominators)
        if group["weight_decay"]:
            torch._foreach_add_(updates, parameters, alpha=group["weight_decay"])
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])


@torch.no_grad()
def clip_gradients(parameters: list[Tensor], most_norm: float) -> float | Tensor:
    """Scales all gradients together so that their common Euclidean norm is at most ``most_norm``; returns
    the norm before. 0: no clipping.

    On a CPU by scalar products, and without a pass over gradients that need no scaling: torch's own function takes
    three times as long there.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients or gradients[0].device.type != "cpu":
        total = torch.nn.utils.get_total_norm(gradients)
        if most_norm:
            torch.nn.utils.clip_grads_with_norm_(parameters, most_norm, total)
        return total
    norm = math.sqrt(sum(float(torch.dot(g.flatten(), g.flatten())) for g in gradients))
    if 0 < most_norm < norm:
        torch._foreach_mul_(gradients, most_norm / (norm + 1e-6))
    return norm


def total_steps(examples: int, settings: TrainingSettings) -> int:
    """Updates of a run: ``max_steps``, or ceil(epochs * ceil(examples / batch size))."""
    if settings.max_steps is not None:
        return settings.max_steps
    assert settings.epochs is not None
    return math.ceil(settings.epochs * math.ceil(examples / settings.batch_size))


def warmup_steps(total: int, settings: TrainingSettings) -> int:
    """Warm-up updates: ``warmup_steps``, or ceil(warmup_ratio * total)."""
    if settings.warmup_steps is not None:
        return settings.warmup_steps
    assert settings.warmup_ratio is not None
    return math.ceil(settings.warmup_ratio * total)


def learning_rate_factor(done: int, total: int, warmup: int) -> float:
    """The factor on the learning rate after ``done`` updates: linear up to 1 at ``warmup``, linear down to 0.

    The first update has factor 0, as with transformers' ``get_linear_schedule_with_warmup``.
    """
    if done < warmup:
        return done / warmup
    return max(0.0, (total - done) / max(1, total - warmup))


def make_schedule(optimizer: Optimizer, total: int, warmup: int, phases: int = 1) -> LambdaLR:
    """:func:`learning_rate_factor`, once for each of several phases of ``total`` updates."""

    def factor(done: int) -> float:
        return learning_rate_factor(done - total * min(done // total, phases - 1), total, warmup)

    return LambdaLR(optimizer, factor)
