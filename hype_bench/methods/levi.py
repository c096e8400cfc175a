"""LEVI (Roh et al., ICML 2024), as this project reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, UserError, choice, full, number, register
from hype_bench.contract.activations import first_of
from hype_bench.contract.freeze import train_only
from hype_bench.contract.objective import task_loss
from hype_bench.models.layers import Beside, encoder_layers, head_parameters, output_projection, pooler
from hype_bench.models.packing import compute_every_token
from hype_bench.models.unpacking import as_padded

_HEADS = 4


def adapted(
    view: Float[Tensor, "batch width"], task: Float[Tensor, "batch features"], *weights: Tensor
) -> Float[Tensor, "batch outputs"]:
    """The logits of one view, ``U relu(W [view; task] + w) + u`` for the weights W, w, U and u."""
    first, first_bias, second, second_bias = weights
    return F.linear(F.linear(torch.cat([view, task], -1), first, first_bias).relu(), second, second_bias)


def mean_of_losses(logits: list[Float[Tensor, "batch outputs"]], labels: Num[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The mean over views of the loss that each has by itself."""
    return torch.stack([task_loss(view, labels) for view in logits]).mean()


def pooled(
    states: Float[Tensor, "batch length width"], mask: Num[Tensor, "batch length"], how: str
) -> Float[Tensor, "batch width"]:
    """The mean over the real tokens, or the ``first`` or the ``last`` of them."""
    if how != "mean":
        order = mask.cumsum(1) if how == "first" else mask.flip(1).cumsum(1).flip(1)
        mask = mask * (order == 1)
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


@register("levi")
@dataclass(frozen=True)
class LEVI(Method):
    r"""LEVI: the head gives way to an ensemble of the encoder's layers, each beside a small model from scratch.

    This is a reading of the paper's abstract, not the paper's formulas: no code is public, and the text was not
    available here. From the abstract are a small task model, layers of the pre-trained one, and their ensemble, trained
    as one. All else is this project's choice, an option with a default: its results say nothing of the paper's. The
    logits of a view come from a network with one ReLU layer that reads the state of an encoder layer and the feature of
    the task model; those of the model are their mean.

    Args:
        views: evenly spaced layers of the encoder, the top one among them.
        pooling: `token`, the state of a text's first token (XLNet: the last), or `mean`, that of all tokens.
        task_layers, task_width: of the task model, a BERT with word embeddings of its own, without dropout.
        hidden: width of the ReLU layer.
        loss: `of_mean`, the task's loss of the mean logits; `mean_of`, the mean of the views' losses.
        encoder: `trained` with all else, or `frozen`. With `lora` named beside it, `trained` trains LoRA.

    Equation:
        z = \frac{1}{K} \sum_{k=1}^{K} \left( U_k \, \mathrm{ReLU}(W_k [h_{l_k}; s(x)] + w_k) + u_k \right)

    Reference:
        Roh, Liu, Gui and others 2024, *LEVI: Generalizable Fine-tuning via Layer-wise Ensemble of Different Views*,
        ICML 2024, https://proceedings.mlr.press/v235/roh24a.html; no public code

    Differences:
        Every option's value in the paper is unknown. The encoder's own head and pooler are not used and stay as they
        are; techniques that act on what the head reads are refused. Not available where the encoder has no stack of
        layers or its head reads all tokens.

    Cost:
        One pass per update through the encoder and the task model, most of which are word embeddings of all words.

    When it helps:
        The paper reports gains on other domains than that of the training data, for texts and pictures.
    """

    unmerged = "task model and views"
    needs_every_token = True
    replaces_head = True
    tiny_options: ClassVar[Mapping[str, Any]] = {"views": 2, "task_width": 32, "hidden": 16}
    views: int = number(3, least=1)
    pooling: str = choice("token", "token", "mean")
    task_layers: int = number(2, least=1)
    task_width: int = number(256, least=4)
    hidden: int = number(256, least=1)
    loss: str = choice("of_mean", "of_mean", "mean_of")
    encoder: str = choice("trained", "trained", "frozen")

    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.LAYER_OUTPUTS, Part.CRITERION})

    @property
    def exclusive(self) -> frozenset[Exclusive]:
        objective = {Exclusive.OBJECTIVE} if self.loss == "mean_of" else set()
        frozen = {Exclusive.TRAINED_WEIGHTS, Exclusive.TRAINED_ENTRIES} if self.encoder == "frozen" else set()
        return frozenset({Exclusive.OUTPUT_PROJECTION} | objective | frozen)

    def check(self, model: PreTrainedModel) -> None:
        output_projection(model)
        if self.views > len(encoder_layers(model)):
            raise UserError(f"levi.views must be at most {len(encoder_layers(model))}, the layers of this encoder")
        if self.task_width % _HEADS:
            raise UserError(f"levi.task_width must be a multiple of {_HEADS}, its attention heads")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        context.whole_vocabulary = True  # or ids would not mean the same words after the run
        compute_every_token(model)  # also when the run is over
        above = pooler(model)
        unused = head_parameters(model) | {*(above.parameters() if above is not None else ())}
        with context.own_randomness("levi", model):
            ensemble = _Ensemble(self, model).to(next(model.parameters()))
        model.add_module("levi", ensemble)
        own, trains_all = {*ensemble.parameters()}, self.encoder == "trained"
        train_only(model, context, lambda name, p: p in own or (trains_all and p not in unused))
        ensemble.attach(model, context)
        criterion = (lambda logits, labels: mean_of_losses(ensemble.logits, labels)) if self.loss == "mean_of" else None
        return Hooks(criterion=criterion, regression_criterion=criterion)


class _TaskModel(nn.Module):
    """The small model: ids and mask of a padded batch -> a feature for each text."""

    def __init__(self, method: LEVI, config: Any, pooling: str) -> None:
        super().__init__()
        self.pooling, width = pooling, method.task_width
        sizes: dict[str, Any] = {"num_hidden_layers": method.task_layers, "num_attention_heads": _HEADS}
        sizes |= {"hidden_size": width, "intermediate_size": 4 * width, "vocab_size": config.vocab_size}
        sizes["max_position_embeddings"] = max(512, getattr(config, "max_position_embeddings", 0))
        bert = BertConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        self.bert = BertModel(bert, add_pooling_layer=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Float[Tensor, "batch width"]:
        positions = (mask.cumsum(1) - 1).clamp_min(0)  # also of a text that is padded on the left
        hidden = torch.zeros(mask.shape, device=mask.device).masked_fill(mask == 0, torch.finfo(torch.float32).min)
        output = self.bert(ids, attention_mask=hidden[:, None, None], position_ids=positions)  # or it looks for padding
        return pooled(full(output.last_hidden_state), mask, self.pooling)


class _Ensemble(Beside):
    """The task model, and an adapting network for each view: from weights to the logits of the present pass."""

    def __init__(self, method: LEVI, model: PreTrainedModel) -> None:
        super().__init__()
        config: Any = model.config
        depth = len(encoder_layers(model))
        self.pooling = "mean" if method.pooling == "mean" else "last" if config.model_type == "xlnet" else "first"
        self.places = [round(depth * (view + 1) / method.views) - 1 for view in range(method.views)]
        self.task = _TaskModel(method, config, self.pooling)
        inputs = config.hidden_size + method.task_width
        self.first = nn.ModuleList(nn.Linear(inputs, method.hidden) for _ in self.places)
        self.second = nn.ModuleList(nn.Linear(method.hidden, config.num_labels) for _ in self.places)
        self.inputs, self.states, self.logits = dict[str, Any](), dict[int, Tensor](), list[Tensor]()

    def attach(self, model: PreTrainedModel, context: Context) -> None:
        """For good."""

        def start(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.inputs = {"input_ids": args[0], **kwargs} if args else kwargs

        def finish(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            if output.dim() != 2:
                raise UserError(f"levi cannot work for {model.config.model_type}: its head reads all tokens")
            return self._mean_logits(model)

        model.register_forward_pre_hook(start, with_kwargs=True)
        for place in self.places:
            encoder_layers(model)[place].register_forward_hook(partial(self._keep, place, context))
        output_projection(model).register_forward_hook(finish)

    def _keep(self, place: int, context: Context, module: nn.Module, args: Any, output: Any) -> None:
        if not context.recomputing:
            self.states[place] = first_of(output)

    def _mean_logits(self, model: PreTrainedModel) -> Tensor:
        padded, packing = as_padded(self.inputs, model), self.inputs.get("packing")
        ids = padded["input_ids"]
        mask = torch.ones_like(ids) if padded.get("attention_mask") is None else padded["attention_mask"]
        feature, self.logits = self.task(ids, mask), []
        for place, first, second in zip(self.places, self.first, self.second, strict=True):
            states = self.states.pop(place)
            if packing is not None:
                states = states[0][packing.sources]
            elif model.config.model_type == "xlnet":
                states = states.transpose(0, 1)
            view = pooled(full(states[:, : ids.shape[1]]), mask, self.pooling)
            self.logits.append(adapted(view, feature, *first.parameters(), *second.parameters()))
        return torch.stack(self.logits).mean(0)
