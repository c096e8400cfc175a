"""CUDA kernels that have no twin on the CPU, computed on CPU tensors: dropout, attention, a softmax of halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def native_dropout(x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    keep = torch.rand(x.shape) >= p if train else torch.ones(x.shape, dtype=torch.bool)
    return x * keep / (1 - p if train else 1), keep


def native_dropout_backward(upstream: Tensor, keep: Tensor, scale: float) -> Tensor:
    return upstream * keep * scale


def softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return torch.softmax(x.float() if half_to_float else x, dim)


def softmax_backward(upstream: Tensor, output: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    return aten._softmax_backward_data(upstream, output, dim, output.dtype).to(dtype)


def log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return torch.log_softmax(x.float() if half_to_float else x, dim)


def log_softmax_backward(upstream: Tensor, output: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    return aten._log_softmax_backward_data(upstream, output, dim, output.dtype).to(dtype)


def probabilities(q: Tensor, k: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """softmax(scale q k^T + bias) of (..., heads, tokens, width), in float32, and its log-sum-exp; 0 where a query sees
    no key, as in torch since 2.5."""
    scores = scale * (q.float() @ k.float().mT)
    if bias is not None:
        scores = scores + bias.float()
    return aten._safe_softmax(scores, -1), scores.logsumexp(-1)


def new_seed(p: float) -> Tensor:
    """Of a dropout mask, from torch's generator, which only dropout moves."""
    return torch.randint(2**40, ()) if p else torch.zeros((), dtype=torch.int64)


def keep_mask(shape: torch.Size, p: float, seed: Tensor, part: int) -> Tensor | float:
    """0 or 1 / (1 - p), a function of the seed and the sequence's number; 1 without dropout."""
    if p == 0:
        return 1.0
    generator = torch.Generator().manual_seed(int(seed) + part)
    return (torch.rand(shape, generator=generator) >= p) / (1 - p)


def attend(q: Tensor, k: Tensor, v: Tensor, weights: Tensor, keep: Tensor | float) -> Tensor:
    return ((weights * keep).to(q.dtype).float() @ v.float()).to(q.dtype)


def attend_backward(
    up: Tensor, q: Tensor, k: Tensor, v: Tensor, weights: Tensor, keep: Tensor | float, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    up, kept = up.float(), weights * keep
    of_weights = (up @ v.float().mT) * keep
    of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdim=True)) * scale
    dq, dk, dv = of_scores @ k.float(), of_scores.mT @ q.float(), kept.mT @ up
    return dq.to(q.dtype), dk.to(q.dtype), dv.to(q.dtype)


def sdpa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """aten::_scaled_dot_product_efficient_attention on (batch, heads, tokens, width)."""
    _refuse(is_causal, "is_causal")
    seed = new_seed(dropout_p)
    weights, log_sum = probabilities(q, k, bias, q.shape[-1] ** -0.5 if scale is None else scale)
    output = attend(q, k, v, weights, keep_mask(weights.shape, dropout_p, seed, 0))
    return output.transpose(1, 2).contiguous().transpose(1, 2), log_sum, seed, torch.zeros((), dtype=torch.int64)


def sdpa_backward(
    up: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    out: Tensor,
    log_sum: Tensor,
    seed: Tensor,
    offset: Tensor,
    dropout_p: float,
    wanted: list[bool],
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor | None, ...]:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    weights, _ = probabilities(q, k, bias, scale)
    keep = keep_mask(weights.shape, dropout_p, seed, 0)
    return (*attend_backward(up, q, k, v, weights, keep, scale), None)


def efficient_attention_backward(
    up: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    out: Tensor,
    cu_q: Tensor | None,
    cu_k: Tensor | None,
    longest_q: int,
    longest_k: int,
    log_sums: Tensor,
    dropout_p: float,
    seed: Tensor,
    offset: Tensor,
    custom_mask_type: int,
    bias_requires_grad: bool,
    *,
    scale: float | None = None,
    num_splits_key: int | None = None,
    window_size: int | None = None,
    shared_storage_dqdkdv: bool = False,
) -> tuple[Tensor, ...]:
    """aten::_efficient_attention_backward on (batch, tokens, heads, width)."""
    _refuse(cu_q is not None or cu_k is not None or custom_mask_type != 0, "packed rows or causal masks")
    _refuse(bias_requires_grad or bool(window_size), "the gradient of a bias, or a window")
    _refuse((longest_q, longest_k) != (q.shape[1], k.shape[1]), "other lengths than its operands have")
    _refuse(log_sums.shape[-1] == 0, "a backward pass without log_sumexp")
    up, q, k, v, out = (x.transpose(1, 2) for x in (up, q, k, v, out))
    gradients = sdpa_backward(
        up, q, k, v, bias, out, log_sums, seed, offset, dropout_p, [True, True, True, False], scale=scale
    )
    return (*(g.transpose(1, 2) for g in gradients[:3] if g is not None), torch.empty(0))


def _refuse(condition: bool, what: str) -> None:
    if condition:
        raise NotImplementedError(f"the stand-in for efficient attention does not take {what}")


KERNELS: dict[Any, Callable[..., Any]] = {
    aten.native_dropout.default: native_dropout,
    aten.native_dropout_backward.default: native_dropout_backward,
    aten._softmax.default: softmax,
    aten._softmax_backward_data.default: softmax_backward,
    aten._log_softmax.default: log_softmax,
    aten._log_softmax_backward_data.default: log_softmax_backward,
    aten._scaled_dot_product_efficient_attention.default: sdpa,
    aten._scaled_dot_product_efficient_attention_backward.default: sdpa_backward,
    aten._efficient_attention_backward.default: efficient_attention_backward,
}
