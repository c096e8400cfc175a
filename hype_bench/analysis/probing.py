"""What a frozen encoder's layers know of another task: a linear head on each (section 5.4 of the HyPe paper)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hype_bench.analysis.measuring.by_layer import by_layer, chosen_layers, layers_of
from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.heads import apply_heads, train_heads
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.choices import named_task
from hype_bench.config import RunConfig
from hype_bench.models.hidden_states import States, read_layers
from hype_bench.options import UserError, choice, number
from hype_bench.tasks.data import Split, TaskData, load
from hype_bench.tasks.metrics import score
from hype_bench.training.evaluation import to_predictions
from hype_bench.training.seeds import derive


@dataclass(frozen=True)
class Probing(Analysis):
    """Linear heads on the frozen layers of a run, trained on another task: what each layer still knows of it.

    One head per layer reads the state of the special token that the run's own head reads. The first score is that of
    the top layer; beside it stand ``layer_0``, the embeddings, and the layers below the top, in the metric of the
    probed task. The encoder runs once over each split, in float32; all heads of all layers then train together as one
    batched computation, in which each is what it would be alone.

    The paper names learning rate, epochs and batch size. The rest is this project's: Adam without weight decay, a rate
    that falls linearly to 0, heads that start from N(0, 0.02^2), the same in every layer, and states as they are.

    Args:
        task: the probed task: mrpc, stsb, rte or cola in the paper, or any other by its name.
        layers: `all`, or numbers from 0, the embeddings, up.
        pooling: what of a layer a head reads: `first`, the special token, or `mean`, of all tokens.
        learning_rate: of the heads, at the start.
        epochs: over the probed task's training data.
        batch_size: examples per update of the heads.

    Claim: the upper layers of an encoder trained with HyPe serve other tasks better than those of vanilla (Figure 3).

    Source: Yuan et al. 2023, "HyPe", ACL, section 5.4 and Figure 3, https://aclanthology.org/2023.acl-long.182, no
    published code; Aghajanyan et al. 2021, "Better Fine-Tuning by Reducing Representational Collapse", ICLR,
    https://arxiv.org/abs/2008.03156

    Cost: the run, if its weights were not kept; one forward pass over the probed task, and seconds for the heads.
    """

    needs_every_token = True
    task: str = "mrpc"
    layers: str | list[int] = "all"
    pooling: str = choice("first", "first", "mean")
    learning_rate: float = number(1e-3, above=0, most=1)
    epochs: int = number(3, least=1)
    batch_size: int = number(16, least=1)

    def title(self, name: str) -> str:
        return f"{name}.{self.task}"

    @property
    def metric(self) -> str:  # type: ignore[override]  # of the probed task
        return named_task(self.task).metric

    def check(self, run: RunConfig) -> None:
        try:
            named_task(self.task)
        except UserError as error:
            raise UserError(f"analysis.probing.task: {error}") from None

    def data(self, run: RunConfig) -> list[TaskData]:
        """Of the sizes that the run's own data have."""
        sizes = replace(run.data.drawn(run.seed), selection_examples=None, predict_test=False)
        return [load(named_task(self.task), sizes)]

    def measure(self, trained: Trained) -> Measured:
        (data,) = trained.further
        layers = chosen_layers("analysis.probing.layers", self.layers, layers_of(trained.model))
        train, test = (self._states(trained, split, layers) for split in (data.train, data.evaluation[0]))
        heads = train_heads(
            train,
            torch.from_numpy(data.train.labels).to(train.device),
            len(data.labels),
            self.learning_rate,
            self.epochs,
            self.batch_size,
            derive(trained.run.seed, "probing"),
        )
        labels = data.evaluation[0].labels
        logits = apply_heads(heads, test).float().cpu().numpy()
        scores = [score(self.metric, labels, to_predictions(of_layer)) for of_layer in logits]
        return by_layer(dict(zip(layers, scores, strict=True)), len(labels))

    @torch.inference_mode()
    def _states(self, trained: Trained, split: Split, layers: list[int]) -> Float[Tensor, "layers examples width"]:
        """What the heads read of every example, in data order."""
        tokens = trained.tokens(split)
        width = int(trained.model.config.hidden_size)
        kept = torch.empty(len(layers), len(tokens), width, device=trained.device)
        places = {layer: place for place, layer in enumerate(layers)}
        for indices, batch in trained.batches(tokens):
            del batch["labels"]

            def read(states: States, indices: NDArray[Any] = indices) -> None:
                if states.layer in places:
                    kept[places[states.layer], torch.from_numpy(indices)] = getattr(states, self.pooling)

            read_layers(trained.model, batch, read)
        return kept
