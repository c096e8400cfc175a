"""How much of HyPe's noise is left once hidden states are rounded to a precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hype_bench.analysis.measuring.by_layer import by_layer, layers_of
from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.contract.noise import NoiseSource
from hype_bench.contract.perturbation import perturb, rounded
from hype_bench.models.hidden_states import States, read_layers
from hype_bench.options import choice, number


def surviving_sums(
    hidden: Float[Tensor, "*shape"], noised: Float[Tensor, "*shape"], precision: str
) -> Float[Tensor, 5]:
    """Sums over the entries of hidden states, from which :func:`survival` follows.

    With e the noise in float32 and d what is left of it, the difference of both as operands of a matrix product in
    this precision: the number of entries, that of d different from 0, and the sums of d e, d d and e e.
    """
    noise = (noised - hidden).double()
    left = rounded(noised, precision).double() - rounded(hidden, precision).double()
    changed = (left != 0).double().sum()
    products = [(left * noise).sum(), left.square().sum(), noise.square().sum()]
    return torch.stack([changed.new_tensor(left.numel()), changed, *products])


def survival(sums: Float[Tensor, 5]) -> dict[str, float]:
    """The share of entries that noise still changes, and the cosine between the noise and what is left of it.

    Where nothing is left, the cosine is 0.
    """
    entries, changed, product, left, noise = sums.tolist()
    return {"changed": changed / entries, "cosine": product / (left * noise) ** 0.5 if left * noise else 0.0}


@dataclass(frozen=True)
class NoiseSurvival(Analysis):
    """How much of noise on the hidden states is left in a precision, layer by layer, on the run's own weights.

    HyPe adds noise to what enters a layer; the layer's matrix products then round it with the hidden state to their
    operands: 24 significant bits in fp32, 11 in tf32 and fp16, 8 in bf16. The score, ``changed``, is the share of
    entries that are another number with noise than without; ``cosine``, also in the record, is that between the noise
    and what is left of it: 1 if all of it arrives, near 0 if rounding makes it another noise. ``layer_0`` is noise on
    the embeddings, which enter the first layer; nothing enters a layer from the top one. The rounding is computed on
    hidden states in float32, so that it needs no device that has the precision.

    Args:
        precision: of the operands.
        scale: of the noise; 1e-5 is HyPe's.
        distribution: of the noise.

    Claim: noise of 1e-5 arrives in fp32 alone, so that precision is a part of the technique.

    Source: this project; Yuan et al. 2023, "HyPe", ACL, https://aclanthology.org/2023.acl-long.182, whose code trains
    in fp32

    Cost: the run, if its weights were not kept; one forward pass over the development set.
    """

    metric = "changed"
    needs_every_token = True
    precision: str = choice("bf16", "fp32", "tf32", "fp16", "bf16")
    scale: float = number(1e-5, above=0)
    distribution: str = choice("normal", "normal", "uniform")

    @torch.inference_mode()
    def measure(self, trained: Trained) -> Measured:
        split = trained.data.evaluation[0]
        top = layers_of(trained.model) - 1
        sums = torch.zeros(top, 5, dtype=torch.float64)
        source = NoiseSource(trained.run.seed, "noise_survival")

        def read(states: States) -> None:
            if states.layer < top:
                draw = source.draw(states.hidden, str(states.layer), self.distribution)
                noised = perturb(states.hidden, draw, self.scale, self.distribution)
                sums[states.layer] += surviving_sums(states.hidden, noised, self.precision).cpu()

        for _, batch in trained.batches(trained.tokens(split)):
            del batch["labels"]
            source.next_forward()
            read_layers(trained.model, batch, read)
        measured = by_layer([survival(of_layer) for of_layer in sums], len(split))
        every = list(measured.scores.values())
        means = {name: float(np.mean([scores[name] for scores in every])) for name in ("changed", "cosine")}
        measured.scores = {"layers": means, **measured.scores}
        measured.rows = {"layers": len(split), **measured.rows}
        return measured
