"""Noise on representations."""

from __future__ import annotations

import torch
from torch import Tensor


def perturb(hidden: Tensor, draw: Tensor, scale: float, distribution: str, support: str = "symmetric") -> Tensor:
    """Adds noise to hidden representations.

    Args:
        hidden: any shape.
        draw: same shape; N(0, 1) for ``distribution="normal"``, U[0, 1) for ``"uniform"``.
        scale: sigma of section 3; standard deviation of the normal law, half-width of the symmetric uniform one.
        support: for the uniform law, ``symmetric`` is U(-scale, scale) as the paper says (Algorithm 1, section 4.2);
            ``official_code`` is scale * U[0, 1) as the released code adds (mean scale / 2).

    Reference: Yuan et al. 2023, "HyPe: Better Pre-trained Language Model Fine-tuning with Hidden Representation
    Perturbation", ACL 2023, https://aclanthology.org/2023.acl-long.182
    """
    if distribution == "uniform" and support == "symmetric":
        draw = 2 * draw - 1
    return torch.add(hidden, draw, alpha=scale)
