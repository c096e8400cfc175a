"""What analyses that measure something of every layer share: names of layers, and scores under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hype_bench.options import UserError
from hype_bench.runs.measured import Measured

if TYPE_CHECKING:  # torch comes with it, which who draws pictures need not wait for
    from transformers import PreTrainedModel

LAYER = "layer_"  # and its number: 0 for the embeddings


def layers_of(model: PreTrainedModel) -> int:
    """The layers of an encoder and, as layer 0, its embeddings."""
    from hype_bench.models.layers import encoder_layers

    return len(encoder_layers(model)) + 1


def by_layer(scores: Sequence[Mapping[str, float]] | Mapping[int, Mapping[str, float]], rows: int) -> Measured:
    """Scores of the layers under their names: the highest first, which the cell of a table shows, and the others from
    the embeddings up.

    Args:
        scores: layer -> metric -> value.
        rows: examples that they are from.
    """
    of_layer = dict(scores) if isinstance(scores, Mapping) else dict(enumerate(scores))
    top = max(of_layer)
    order = [top, *sorted(of_layer.keys() - {top})]
    names = [f"{LAYER}{layer}" for layer in order]
    return Measured(
        scores={name: dict(of_layer[layer]) for name, layer in zip(names, order, strict=True)},
        rows=dict.fromkeys(names, rows),
    )


def chosen_layers(option: str, chosen: str | Sequence[int], layers: int) -> list[int]:
    """The numbers of the layers that an option names.

    Args:
        option: its name, for the complaint.
        chosen: ``all``, or numbers from 0, the embeddings, up.
        layers: how many there are, embeddings included.

    Raises:
        UserError: there is no such layer, or none is chosen.
    """
    if chosen == "all":
        return list(range(layers))
    if isinstance(chosen, str) or not chosen:
        raise UserError(f"{option} must be all or a list of layers such as [0,6,12], not {chosen!r}")
    numbers = sorted(set(chosen))
    if missing := [number for number in numbers if not 0 <= number < layers]:
        raise UserError(f"{option}: there is no layer {missing[0]}; the layers are 0, the embeddings, to {layers - 1}")
    return numbers
