"""Adapters of the peft library: put into a model, trained beside the head, merged into plain weights at the end."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel

from hype_bench.contract.context import Context
from hype_bench.contract.exclusive import Exclusive
from hype_bench.contract.freeze import train_only
from hype_bench.contract.lora_targets import target_maps
from hype_bench.contract.method import Hooks, Method, Weights
from hype_bench.contract.no_decay import without_decay
from hype_bench.contract.parts import Part
from hype_bench.models.layers import head_parameters


class Adapter(Method):
    """Base of techniques that are a configuration of peft's, with an option ``target``: which maps are adapted.

    Attributes:
        name: under which it is registered; its randomness belongs to it.
    """

    name: ClassVar[str]
    target: str
    wraps_weights = True
    capturable = True
    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS, Exclusive.LINEAR_MAPS, Exclusive.TRAINED_ENTRIES})

    @property
    def acts_on(self) -> frozenset[Part]:
        parts = frozenset({Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.LINEAR_MAPS})
        return parts | {Part.PARAMETER_GROUPS} if self.undecayed else parts

    @property
    def undecayed(self) -> str:
        """A part of the names of the parameters that weight decay would pull from what was learnt before to 0."""
        return ""

    def maps(self, model: PreTrainedModel) -> list[str]:
        """The names of the linear maps that are adapted.

        Raises:
            UserError: there are none.
        """
        return target_maps(self.name, model, self.target)

    def config(self, model: PreTrainedModel, context: Context) -> Any:
        """peft's configuration; importing peft takes seconds, so that it is imported here alone."""
        raise NotImplementedError

    def check(self, model: PreTrainedModel) -> None:
        self.maps(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        plain_weights = partial(merged, self.adapt(model, context))
        if not self.undecayed:
            return Hooks(plain_weights=plain_weights)
        held = {p for name, p in model.named_parameters() if self.undecayed in name}
        return Hooks(parameter_groups=lambda groups: without_decay(groups, held), plain_weights=plain_weights)

    def adapt(self, model: PreTrainedModel, context: Context) -> Any:
        """Puts the adapters into the model until the run ends, and freezes all but them and the head; returns peft's
        tuner."""
        from peft import PEFT_TYPE_TO_TUNER_MAPPING

        before, head = set(model.parameters()), head_parameters(model)
        trained = [p for p in model.parameters() if p.requires_grad]
        config = self.config(model, context)
        with context.own_randomness(self.name, model):
            tuner: Any = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](model, config, "default")
        for parameter in trained:  # the library freezes them; what this project's own rule freezes comes back
            parameter.requires_grad_(True)

        context.cleanup.callback(tuner.merge_and_unload)
        train_only(model, context, lambda name, p: p not in before or p in head)
        return tuner


def adapted_layers(tuner: Any) -> dict[str, Any]:
    """The adapted maps of a tuner, by the names that they have in the plain model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name: module for name, module in tuner.model.named_modules() if isinstance(module, BaseTunerLayer)}


@torch.no_grad()
def merged(tuner: Any, weights: Weights) -> Weights:
    """A model's state_dict with the adapters merged, under the names of the plain model."""
    layers = adapted_layers(tuner)
    inside = tuple(f"{name}." for name in layers)
    plain = {name: weight for name, weight in weights.items() if not name.startswith(inside)}
    for name, layer in layers.items():
        copy = deepcopy(layer)
        copy.merge()
        base: nn.Module = copy.get_base_layer()
        plain |= {f"{name}.{part}": weight for part, weight in base.state_dict().items()}
    return plain
