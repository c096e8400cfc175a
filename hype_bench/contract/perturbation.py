"""Noise on representations, and how much of it survives the precision."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hype_bench.contract.context import Context

_SWALLOWED = 0.5  # below this fraction of changed entries the user is warned


def perturb(
    hidden: Float[Tensor, "*shape"],
    draw: Float[Tensor, "*shape"],
    scale: float,
    distribution: str,
    support: str = "symmetric",
) -> Float[Tensor, "*shape"]:
    """Adds noise to hidden representations.

    Args:
        draw: N(0, 1) for ``distribution="normal"``, U[0, 1) for ``"uniform"``.
        scale: sigma of section 3; standard deviation of the normal law, half-width of the symmetric uniform one.
        support: for the uniform law, ``symmetric`` is U(-scale, scale) as the paper says (Algorithm 1, section 4.2);
            ``official_code`` is scale * U[0, 1) as the released code adds (mean scale / 2).

    Reference: Yuan et al. 2023, "HyPe: Better Pre-trained Language Model Fine-tuning with Hidden Representation
    Perturbation", ACL 2023, https://aclanthology.org/2023.acl-long.182
    """
    if distribution == "uniform" and support == "symmetric":
        draw = 2 * draw - 1
    return torch.add(hidden, draw, alpha=scale)


def changed_fraction(before: Float[Tensor, "*shape"], after: Float[Tensor, "*shape"], precision: str) -> float:
    """The fraction of entries that still differ once they are operands of a matrix product in this precision."""
    return float((rounded(before, precision) != rounded(after, precision)).double().mean())


def rounded(x: Float[Tensor, "*shape"], precision: str) -> Float[Tensor, "*shape"]:
    """As an operand of a matrix product in this precision.

    fp32 keeps 24 significant bits; tf32 rounds operands to 11, fp16 to 11, bf16 to 8.
    """
    if precision == "tf32":
        return _round_to_tf32(x)
    return x.to({"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision])


def _round_to_tf32(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    bits = x.float().contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def record_changed_fraction(
    site: str, before: Float[Tensor, "*shape"], after: Float[Tensor, "*shape"], scale: float, context: Context
) -> None:
    """Records :func:`changed_fraction` of a site on its first use; warns if most of the noise is lost at the first."""
    fractions = context.facts.setdefault("noise_changed_fraction", {})
    if site in fractions:
        return
    precision = _of_operands(before, context.precision)
    fractions[site] = fraction = changed_fraction(before.detach(), after.detach(), precision)
    if fraction < _SWALLOWED and len(fractions) == 1:
        context.warn(
            f"noise of scale {scale:g} changes only {fraction:.1%} of the hidden entries in {precision}; "
            "in fp32 nearly all (precision is part of this method)"
        )


def _of_operands(hidden: Tensor, precision: str) -> str:
    """The run's precision, unless autocast or the model's own dtype say that it is half of it."""
    autocast = torch.is_autocast_enabled(hidden.device.type)
    dtype = torch.get_autocast_dtype(hidden.device.type) if autocast else hidden.dtype
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype, precision)
