"""Self-distillation for further pre-training (Lee et al., ICLR 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Batch, Context, Exclusive, Forward, Groups, Hooks, Loss, Method, full, number, register
from hype_bench.contract.activations import recorded_outputs
from hype_bench.contract.special_tokens import is_one_of, special_tokens
from hype_bench.contract.starting_point import StartingPoint
from hype_bench.models.masked_lm import MaskedLMHead, check_masked_lm
from hype_bench.models.unpacking import as_padded
from hype_bench.options import UserError

_IGNORED = -100  # the label of a position that is not to be predicted


def distillation(student: Float[Tensor, "batch width"], teacher: Float[Tensor, "batch width"]) -> Float[Tensor, ""]:
    """Squared distance of the first tokens' states, summed over the width, a mean over the batch.

    Reference: Lee et al. 2023, "Self-Distillation for Further Pre-training of Transformers", arXiv:2210.02871
    """
    return (full(student) - full(teacher)).square().sum(-1).mean()


def masked(
    ids: Int[Tensor, "batch length"],
    eligible: Bool[Tensor, "batch length"],
    draws: Float[Tensor, "batch length 3"],
    share: float,
    mask_token: int,
    words: int,
) -> tuple[Int[Tensor, "batch length"], Int[Tensor, " most"], Int[Tensor, " most"]]:
    """The input with words masked as in BERT, and which words are to be predicted where in the flattened input.

    Of the chosen tokens 80 % become the mask, 10 % a random word, 10 % stay. There are as many positions whatever is
    chosen, so that a GPU need not be asked; the others have a label that is ignored.

    Args:
        eligible: True at tokens that may be chosen.
        draws: uniform in [0, 1): whether a token is chosen, what becomes of it, and which word.
        words: of the vocabulary.
    """
    chance, fate, word = draws.flatten(0, 1).unbind(-1)
    most = math.ceil(share * len(chance) + 4 * math.sqrt(share * (1 - share) * len(chance)))  # four standard deviations
    chance = chance.masked_fill(~eligible.flatten(), 2.0)
    chances, places = chance.topk(min(most, len(chance)), largest=False)
    original, fate = ids.flatten()[places], fate[places]
    drawn = (word[places] * words).long().clamp_max(words - 1)
    replaced = torch.where(fate < 0.8, mask_token, torch.where(fate < 0.9, drawn, original))
    is_chosen = chances < share
    replaced = torch.where(is_chosen, replaced, original)
    return ids.flatten().index_copy(0, places, replaced).view_as(ids), places, original.where(is_chosen, _IGNORED)


@register("self_distillation")
@dataclass(frozen=True)
class SelfDistillation(Method):
    r"""Self-distillation: two further pre-trainings on the task's texts, one to teach the other; then fine-tuning.

    The first phase fills in masked words of the training texts and yields the teacher. The second begins again at the
    pre-trained weights and does the same, while the state of the first token, of the whole text, is kept close to the
    teacher's. The third fine-tunes. Optimizer and schedule start anew in each.

    Args:
        mask_share: of the tokens that are to be predicted; of these 80 % are masked, 10 % replaced by a random word.
        weight: of the distance from the teacher; 1 in the released code, where it has no name.

    Equation:
        \ell_{\mathrm{MLM}} + \lambda \, \frac{1}{B} \sum_i \left\| h_i - h^{\mathrm{teacher}}_i \right\|^2

    Reference:
        Lee, Kang, Lee, Hwang and Kawaguchi 2023, *Self-Distillation for Further Pre-training of Transformers*, ICLR
        2023, https://arxiv.org/abs/2210.02871; code: seanie12/self-distillation, commit 4f6436f (images only)

    Differences:
        The code for texts is not public; share and treatment of masked words are BERT's. Each phase has the updates,
        the learning rates, the warm-up and the clipping of the recipe, and the record counts all of them: compare it
        with vanilla of three times the epochs. In the released code pre-training has 20 000 updates without warm-up and
        without clipping. The distance is a sum over the width, as released, hundreds of times the loss of words at
        first, so that it alone decides where clipped gradients go. Texts are those of the training data. The head that
        predicts words is the architecture's own, tied to the embeddings, with the checkpoint's weights; sentence
        encoders have lost theirs, and begin with a fresh one, which a warning says. It is thrown away before
        fine-tuning, before which the classifier's head is not trained. Masked texts are padded. Not available for
        ELECTRA and XLNet, which were not pre-trained to fill in words. Terms of a loss that are named after it count in
        the third phase alone; what changes passes, gradients or weights acts in all.

    Cost:
        Three times the updates: of one pass, of two and one without gradients, of one. Two copies of the weights, and
        all rows of the embeddings are trained.

    Control:
        vanilla with 3 times the epochs: the updates of the other phases.

    When it helps:
        The paper reports gains for images and, of texts, for classification with few examples.
    """

    resumable = False  # the head that predicts words is no part of the model
    mask_share: float = number(0.15, above=0, below=1)
    weight: float = number(1.0, least=0)

    exclusive = frozenset({Exclusive.PHASES})

    @property
    def phases(self) -> int:
        return 3

    def check(self, model: PreTrainedModel) -> None:
        check_masked_lm(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        tokenizer = context.needs("self_distillation", "tokenizer")
        if tokenizer.mask_token_id is None:
            raise UserError("self_distillation masks words: the tokenizer needs a mask_token")
        with context.own_randomness("self_distillation", model):
            head = MaskedLMHead(model)
        if not head.is_pretrained:
            context.warn("the checkpoint has no head that predicts words: self_distillation begins with a fresh one")
        return Hooks.of(_Phases(self, model, head, context))


class _Phases:
    """Which phase it is, and the weights with which the run and the second phase began."""

    def __init__(self, method: SelfDistillation, model: PreTrainedModel, head: MaskedLMHead, context: Context) -> None:
        self.method, self.model, self.head, self.tokenizer = method, model, head, context.tokenizer
        self.source = context.noise("self_distillation")
        self.start, self.teacher = StartingPoint(model, context), StartingPoint(model, context)
        self.fresh = [p.detach().clone() for p in head.own]
        added = context.tokenizer.encode("")  # some tokenizers add tokens that they do not list as special
        self.special = [*special_tokens("self_distillation", context), *added]
        self.phase = 0

    def parameter_groups(self, groups: Groups) -> Groups:
        """Those of the head that predicts words beside the model's: matrices decay, vectors do not."""
        matrices, vectors = ([p for p in self.head.own if (p.dim() > 1) == is_matrix] for is_matrix in (True, False))
        return [*groups, {**groups[0], "params": matrices}, {**groups[0], "params": vectors, "weight_decay": 0.0}]

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        if self.phase == 2 or not self.model.training:
            return inner(batch, forward)
        self.start.keep()
        words, output = self._loss_of_words(batch, forward)
        if self.phase == 0:
            return words, output
        with self.teacher.restored():
            teacher = self._first_tokens(batch, forward)
        student = self._first_tokens(batch, forward)
        return words + self.method.weight * distillation(student, teacher), output

    @torch.no_grad()
    def next_phase(self, optimizer: Optimizer) -> None:
        """From the first phase to the second at the run's start; from there on to fine-tuning."""
        optimizer.state.clear()
        if self.phase == 0:
            self.teacher.keep()
            for weight, start in (*self.start.weights, *zip(self.head.own, self.fresh, strict=True)):
                weight.copy_(start)
        self.phase += 1

    def _loss_of_words(self, batch: Batch, forward: Forward) -> tuple[Tensor, Any]:
        """Mean cross-entropy of the words that were chosen, and the model's output on the masked texts."""
        padded = as_padded(batch, self.model)
        ids = padded["input_ids"]
        eligible = ~is_one_of(ids, self.special)
        if (mask := padded.get("attention_mask")) is not None:
            eligible &= mask.bool()
        self.source.next_forward()
        draws = self.source.uniform(torch.empty(*ids.shape, 3, device=ids.device), "words")
        changed, places, labels = masked(
            ids, eligible, draws, self.method.mask_share, self.tokenizer.mask_token_id, self.head.words
        )
        with recorded_outputs([self.model.base_model]) as states:
            output = forward(padded | {"input_ids": changed})
        logits = full(self.head(states[0].flatten(0, 1)[places]))
        total = F.cross_entropy(logits, labels, ignore_index=_IGNORED, reduction="sum")
        return total / (labels != _IGNORED).sum().clamp_min(1), output

    def _first_tokens(self, batch: Batch, forward: Forward) -> Tensor:
        """(batch, width): packed rows come out of the encoder as their first tokens."""
        with recorded_outputs([self.model.base_model]) as states:
            forward(batch)
        return states[0][:, 0]
