"""What every layer of an encoder puts out, layer by layer in one forward pass, without padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.models.layers import encoder_layers
from hype_bench.models.segments import CurrentSegments


@dataclass(frozen=True)
class States:
    """The hidden states of one layer for a batch: its tokens in one row, one example after the other.

    layer: 0 for the embeddings, and then the transformer layers from 1 up.
    hidden: what the layer puts out.
    examples: the index of each token's example in the batch, in rising order.
    count: how many examples there are.
    last_is_first: whether an example's special token, which the head reads, is its last (XLNet).
    """

    layer: int
    hidden: Float[Tensor, "tokens width"]
    examples: Int[Tensor, " tokens"]
    count: int
    last_is_first: bool = False

    @cached_property
    def lengths(self) -> Int[Tensor, " examples"]:
        """Tokens of every example."""
        return torch.bincount(self.examples, minlength=self.count)

    @property
    def first(self) -> Float[Tensor, "examples width"]:
        """The states of the special token that the head reads."""
        ends = self.lengths.cumsum(0)
        return self.hidden[ends - 1 if self.last_is_first else ends - self.lengths]

    @property
    def mean(self) -> Float[Tensor, "examples width"]:
        """The mean of the states of all tokens, special ones included."""
        sums = self.hidden.new_zeros(self.count, self.hidden.shape[1]).index_add(0, self.examples, self.hidden)
        return sums / self.lengths[:, None]


def read_layers(model: PreTrainedModel, batch: Mapping[str, Any], read: Callable[[States], None]) -> Any:
    """Runs the model on a batch and gives what each layer puts out to ``read``, the embeddings first.

    One layer at a time, so that what is not kept need not fit into memory. A packed row must compute every token of
    the top layer (``models.packing.compute_every_token``). The embeddings are what the first layer takes.

    Args:
        batch: keyword arguments of the forward call, padded or packed.

    Returns:
        The model's output.

    Raises:
        UserError: the encoder has no single stack of layers.
    """
    layers, segments = encoder_layers(model), CurrentSegments(model)

    def take(layer: int, hidden: Tensor) -> None:
        of = segments(hidden)
        ids, mask = of.ids, of.mask
        if segments.length_first:
            hidden, ids, mask = hidden.transpose(0, 1), ids.t(), mask.t()
        real = (hidden.flatten(0, 1), ids.flatten()) if of.packed else (hidden[mask], ids[mask])
        read(States(layer, *real, of.examples, last_is_first=segments.length_first))

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        take(0, args[0])

    def behind(layer: int, module: nn.Module, args: Any, output: Any) -> None:
        take(layer, output if isinstance(output, Tensor) else output[0])

    handles = [model.register_forward_pre_hook(segments.watch, with_kwargs=True)]
    handles.append(layers[0].register_forward_pre_hook(before))
    handles += [layer.register_forward_hook(partial(behind, n)) for n, layer in enumerate(layers, 1)]
    try:
        return model(**batch)
    finally:
        for handle in handles:
            handle.remove()
