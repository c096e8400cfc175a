"""Intruder dimensions: leading directions of the trained weights that the pre-trained ones do not have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.models.layers import encoder_layers
from hype_bench.options import UserError, number
from hype_bench.stats.directions import leading_directions, stable_rank

THRESHOLDS = (0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Intruder(Analysis):
    """How many of the leading singular vectors of each weight matrix are new, in all and layer by layer.

    A left singular vector of a trained matrix is an intruder if its cosine with every left singular vector of the
    pre-trained matrix is below the threshold. The first score is their number over all linear maps of the layers. The
    facts have it for the thresholds 0.3, 0.5, 0.7 and 0.9, and of each matrix the norm of its change relative to its
    own and the change's stable rank; `arrays.npz` has cosines and singular values. Of two nearly equal singular values
    the vectors may turn freely and look like intruders: trust a count where there is a gap. In a matrix with more
    rows than columns a random direction scores lower than in one with more columns: compare like with like.
    `hype-bench scale-intruders` takes them out, wholly or in part.

    Args:
        k: how many leading vectors of each matrix are looked at.
        threshold: of the cosine.

    Claim: LoRA leaves several intruders at a low rank, full fine-tuning nearly none.

    Source: Shuttleworth, Andreas, Torralba and Sharma 2024, "LoRA vs Full Fine-tuning: An Illusion of Equivalence",
    https://arxiv.org/abs/2410.21228; code: reeceshuttle/intruder-dimensions, commit d4445a2. That loads the
    pre-trained weights in float16; here both are float32, decomposed in float64.

    Cost: the run, if its weights were not kept; two singular value decompositions of each matrix, on one core about 3
    minutes for a base model.
    """

    metric = "intruders"
    k: int = number(10, least=1)
    threshold: float = number(0.5, above=0, most=1)

    def measure(self, trained: Trained) -> Measured:
        before, after = (matrices(model) for model in (trained.start(), trained.model))
        if not after:
            raise UserError("analysis.intruder: the layers of this encoder hold no linear maps")
        directions = {name: leading_directions(before[name], end, self.k) for name, end in after.items()}
        cosines = {name: of.cosines for name, of in directions.items()}
        measured = Measured(scores={"encoder": {"intruders": _count(cosines, self.threshold)}})
        for layer in dict.fromkeys(name.split(".")[0] for name in cosines):
            of_layer = {name: values for name, values in cosines.items() if name.split(".")[0] == layer}
            measured.scores[layer] = {"intruders": _count(of_layer, self.threshold)}
        measured.facts = {
            "matrices": len(cosines),
            "below": {f"{threshold:g}": _count(cosines, threshold) for threshold in THRESHOLDS},
            "changes": {name: _change(before[name], end) for name, end in after.items()},
        }
        measured.arrays = {f"{name}.cosines": of.cosines for name, of in directions.items()}
        measured.arrays |= {f"{name}.singular_values": of.values for name, of in directions.items()}
        return measured


def matrices(model: PreTrainedModel) -> dict[str, NDArray[np.float64]]:
    """The weights of the linear maps of each layer: ``layer_1.attention.self.query`` -> (outputs, inputs)."""
    return {
        f"layer_{depth}.{name}": module.weight.detach().double().cpu().numpy()
        for depth, layer in enumerate(encoder_layers(model), 1)
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    }


def _count(cosines: dict[str, NDArray[np.float64]], threshold: float) -> int:
    return sum(int((values < threshold).sum()) for values in cosines.values())


def _change(start: NDArray[np.float64], end: NDArray[np.float64]) -> dict[str, float]:
    return {
        "relative_norm": float(np.linalg.norm(end - start) / np.linalg.norm(start)),
        "stable_rank": stable_rank(end - start),
    }
