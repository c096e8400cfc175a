"""The Fourier head (Gillman et al., 2024)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, UserError, full, number, register
from hype_bench.models.layers import output_projection

_FLOOR = 1e-5  # below each probability, as released

Series = Float[Tensor, "batch frequencies"]  # real or imaginary parts of the coefficients a_0, .., a_N


def centres(bins: int, like: Tensor) -> Float[Tensor, " bins"]:
    """The middles of equal bins of [-1, 1]."""
    return (2 * torch.arange(bins, dtype=like.dtype, device=like.device) + 1) / bins - 1


def bin_logits(real: Series, imaginary: Series, bins: int) -> Float[Tensor, "batch bins"]:
    """``log(p + 1e-5)``, with p proportional to ``|sum_k a_k exp(i pi k x)|^2`` at the centre x of each bin.

    That is the Fourier series whose coefficients are the :func:`autocorrelation`, in a form that rounding cannot make
    negative.

    Reference: Gillman et al. 2024, "Fourier Head: Helping Large Language Models Learn Complex Probability
    Distributions", arXiv:2410.22269
    """
    k = torch.arange(real.shape[-1], dtype=real.dtype, device=real.device)
    angles = math.pi * k[:, None] * centres(bins, real)
    cos, sin = angles.cos(), angles.sin()
    power = (real @ cos - imaginary @ sin).square() + (real @ sin + imaginary @ cos).square()
    return (power / power.sum(-1, keepdim=True) + _FLOOR).log()


def autocorrelation(real: Series, imaginary: Series) -> tuple[Series, Series]:
    """``c_k = sum_j a_{j + k} conj(a_j)``, in real arithmetic, which half precision and every device have."""
    size = real.shape[-1]
    re, im = (F.pad(part, (0, size - 1)).unfold(-1, size, 1) for part in (real, imaginary))  # [k, j] is a_{j + k}
    x, y = real[..., None], imaginary[..., None]
    return (re @ x + im @ y).squeeze(-1), (im @ x - re @ y).squeeze(-1)


def roughness(real: Series, imaginary: Series) -> Float[Tensor, ""]:
    """``2 sum_k 2 pi^2 k^2 |c_k|^2``, a mean over the batch: how much the series that is not yet normalised varies."""
    re, im = autocorrelation(real, imaginary)
    k = torch.arange(re.shape[-1], dtype=re.dtype, device=re.device)
    per_example: Tensor = (4 * math.pi**2 * k.square() * (re.square() + im.square())).sum(-1)
    return per_example.mean()


@register("fourier_head")
@dataclass(frozen=True)
class FourierHead(Method):
    r"""Fourier head: predicts a smooth density over bins of the target instead of a number.

    For a regression. The output projection gives the coefficients of a short Fourier series, from which follow
    probabilities of equal bins between the lowest and the highest label. They are trained by cross-entropy with the
    bin of the label; the prediction, which is scored, is the expectation of the bins' centres.

    Args:
        bins: how many there are; 25 is a choice of this project, for labels from 0 to 5; 64 to 550 in the paper's time
            series.
        frequencies: above 0, in the series; 8 is a choice of this project, 42 in the README's example.
        gamma: weight of the penalty on the series' roughness; 1e-6 in the paper's experiments.
        low, high: the range of the labels; null for the lowest and the highest label in the training data. Labels
            beyond it count to the outermost bins.

    Equation:
        -\log p_{b(y)} + \gamma \sum_{k=1}^{N} 4 \pi^2 k^2 |c_k|^2, \quad p_b \propto c_0 + 2 \, \mathrm{Re}
        \sum_{k=1}^{N} c_k e^{i \pi k x_b}, \quad c_k = \sum_j a_{j+k} \bar{a}_j, \quad \hat{y} = \sum_b p_b \, y_b

    Reference:
        Gillman, Aggarwal, Freeman, Singh and Sun 2024, *Fourier Head: Helping Large Language Models Learn Complex
        Probability Distributions*, ICLR 2025, https://arxiv.org/abs/2410.22269; code: nate-gillman/fourier-head, commit
        94fa374

    Differences:
        The released head classifies, as the last layer of a decoder or of a model of time series; that the expectation
        is the prediction is this project's. As released, the map starts at a hundredth of torch's usual scale, and 1e-5
        is added to every probability before the logarithm. The density is computed as a square, which is the same
        series and never negative; coefficients in float32 or wider. A label from 0 to 5 is met to within half a bin,
        0.1. A small subset of the training data may not have the ends of the scale: set `low` and `high` there.
        Techniques that compare outputs (R-Drop, R3F) compare expectations. Not available for classes, which have no
        order.

    Cost:
        One pass per update; a pass over the training data for the range of the labels.

    When it helps:
        The paper reports gains for time series and for actions of agents. A density can have two peaks, where
        annotators disagree. It has to be learnt, and fewer frequencies are learnt sooner: MiniLM, with 800 examples of
        STS-B, 3 epochs and one seed, reached a correlation of 46 with 12 frequencies in 50 bins, 55 with 8 in 25 and 71
        with 3 in 25, plain fine-tuning 79.
    """

    takes_classes = False
    unmerged = "head for bins"
    bins: int = number(25, least=2)
    frequencies: int = number(8, least=1)
    gamma: float = number(1e-6, least=0)
    low: float | None = number(None)
    high: float | None = number(None)

    exclusive = frozenset({Exclusive.OBJECTIVE, Exclusive.OUTPUT_PROJECTION, Exclusive.HEAD_LOSS})
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.LINEAR_MAPS, Part.CRITERION})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        output_projection(model)
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise UserError("fourier_head.low must be below fourier_head.high")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        head = _Head(self, *self._range(context))
        projection, source = output_projection(model), context.noise("fourier_head")
        outputs, width = 2 * (self.frequencies + 1), projection.in_features
        for name, shape in (("weight", (outputs, width)), ("bias", (outputs,))):
            drawn = source.uniform(projection.weight.detach().new_empty(shape), name)
            setattr(projection, name, nn.Parameter((2 * drawn - 1) / (100 * math.sqrt(width))))

        def predict(module: nn.Module, args: tuple[Tensor, ...], coefficients: Tensor) -> Tensor:
            if coefficients.dim() != 2:
                raise UserError(f"fourier_head cannot work for {model.config.model_type}: its head reads all tokens")
            return head.expectation(coefficients)

        projection.register_forward_hook(predict)  # and stays
        return Hooks(regression_criterion=head.loss)

    def _range(self, context: Context) -> tuple[float, float]:
        """The labels that the ends of [-1, 1] stand for."""
        low, high = self.low, self.high
        if low is None or high is None:
            labels = torch.cat([batch["labels"] for batch in context.needs("fourier_head", "batches")(None)])
            low = float(labels.min()) if low is None else low
            high = float(labels.max()) if high is None else high
        if low >= high:
            raise UserError(f"fourier_head needs labels that differ, and they go from {low:g} to {high:g}")
        context.facts["label_range"] = [low, high]
        return low, high


class _Head:
    """What becomes of the coefficients that the output projection computes, and what is known of the last pass."""

    def __init__(self, method: FourierHead, low: float, high: float) -> None:
        self.method, self.low, self.high = method, low, high
        self.series: tuple[Tensor, Tensor] | None = None
        self.logits = torch.empty(0)  # of the bins

    def expectation(self, coefficients: Float[Tensor, "batch coefficients"]) -> Float[Tensor, "batch 1"]:
        with torch.autocast(coefficients.device.type, enabled=False):
            real, imaginary = full(coefficients).chunk(2, -1)
            self.series, self.logits = (real, imaginary), bin_logits(real, imaginary, self.method.bins)
            place = self.logits.softmax(-1) @ centres(self.method.bins, self.logits)[:, None]
            return self.low + (place + 1) / 2 * (self.high - self.low)

    def loss(self, predictions: Float[Tensor, "batch 1"], labels: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Of the pass that has just made these predictions."""
        assert self.series is not None
        bins = ((labels - self.low) / (self.high - self.low) * self.method.bins).long().clamp(0, self.method.bins - 1)
        with torch.autocast(labels.device.type, enabled=False):
            loss = F.cross_entropy(self.logits, bins)
            return loss + self.method.gamma * roughness(*self.series) if self.method.gamma else loss
