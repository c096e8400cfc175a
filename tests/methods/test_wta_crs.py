"""WTA-CRS: the released code's choices and gradients, in both of its forms; what is kept, and for whom."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hype_bench.contract.compose import compose
from hype_bench.contract.objective import forward_of, objective
from hype_bench.contract.registry import build
from hype_bench.methods.wta_crs import WTACRS, probabilities, sampled
from hype_bench.models.packing import attach_packing
from hype_bench.options import UserError
from hype_bench.testing.test_ways_of_training import batches
from hype_bench.testing.tiny import batch_of, context_of, still, tiny
from tests.methods.toys import close, given_noise, hooked, linear, tensor

FORMS = {"later_epoch": "unbiased", "first_epoch": "official"}


class Layer(nn.Module):
    """An encoder of one layer with one map that is sampled."""

    base_model_prefix = "encoder"

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.encoder, layer = nn.Module(), nn.Module()
        layer.attention, layer.dense = nn.Identity(), module
        self.encoder.layer = nn.ModuleList([layer])
        self.config = SimpleNamespace(model_type="toy", num_hidden_layers=1, num_labels=2)

    @property
    def base_model(self) -> nn.Module:
        return self.encoder

    def forward(self, input_ids: Tensor, hidden: Tensor) -> Any:
        return SimpleNamespace(logits=self.encoder.layer[0].dense(hidden))


def draws_of(case: Any, form: str) -> tuple[Tensor, Tensor]:
    """Probabilities of the rows, and draws that lead to those of the file."""
    x, norms = tensor(case["x"]).flatten(0, 1), tensor(case["gradient_norms"]).flatten()
    p = probabilities(x.norm(dim=-1), norms if form == "later_epoch" else torch.zeros_like(norms))
    left = p.clone()
    left[case[form]["deterministic_indices"]] = 0
    ends = left.cumsum(0)
    middles = [(ends[i] - left[i] / 2) / ends[-1] for i in case[form]["stochastic_indices_drawn"]]
    places = [torch.zeros(()).double()] * (case[form]["k"] - len(middles)) + middles
    return p, torch.stack(places + [torch.full((), 0.5).double()] * (len(p) - len(places)))


@pytest.mark.parametrize("form", FORMS)
def test_rows_and_weights(form: str, parity: Callable[[str], Any]) -> None:
    case = parity("wta_crs")
    expected, (p, draws) = case[form], draws_of(case, form)
    never_met = torch.tensor(True) if form == "first_epoch" else None
    rows, weights = sampled(p, expected["k"], draws, never_met)
    winners = len(expected["deterministic_indices"])
    assert sorted(rows[:winners].tolist()) == expected["deterministic_indices"]
    assert rows[winners:].tolist() == expected["stochastic_indices_drawn"]
    x = tensor(case["x"]).flatten(0, 1)
    close((x[rows] * weights[:, None])[winners:], expected["stochastic_rows_scaled"])
    assert weights[:winners].tolist() == [1.0] * winners


@pytest.mark.parametrize("form", FORMS)
def test_gradients_over_two_epochs(form: str, parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The technique on one map: what it remembers of the first epoch decides on the second."""
    case = parity("wta_crs")
    given_noise(monkeypatch, lambda like, site: draws_of(case, form)[1])
    module = linear(case["weight"], [0.0] * 2)
    model: Any = Layer(module)
    method = WTACRS(ratio=case["sampling_ratio"], least_rows=1, estimator=FORMS[form])
    hooks = hooked(method, model, examples=5)
    x = tensor(case["x"]).requires_grad_()
    order = torch.tensor([4, 2])  # numbers of the two examples
    batch = {"input_ids": torch.ones(2, 6, dtype=torch.long), "hidden": x, "labels": order, "example_ids": order}

    def gradients(upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss, _ = hooks.loss(batch, forward_of(model), lambda batch, forward: (forward(batch).logits, None))
        of_input, of_weight = torch.autograd.grad((loss * upstream).sum(), [x, module.weight])
        return loss.detach(), of_input, of_weight

    if form == "later_epoch":
        gradients(torch.stack([tensor(case["gradient_norms"]), torch.zeros(2, 6).double()], -1))
        hooks.after_step(None)  # type: ignore[arg-type]
    output, of_input, of_weight = gradients(tensor(case["upstream"]))
    close(output, case[form]["output"])
    close(of_input, case[form]["grad_x"])
    close(of_weight, case[form]["grad_weight"])
    model.eval()
    exact = gradients(tensor(case["upstream"]))[2]
    close(exact, case["exact_grad_weight"])


def test_the_estimate_has_no_bias(parity: Callable[[str], Any]) -> None:
    """Over a grid of draws, which is their mean: each row's weights add up to 1."""
    p, _ = draws_of(parity("wta_crs"), "later_epoch")
    points, total = 4000, torch.zeros(12).double()
    for point in range(points):
        rows, weights = sampled(p, 6, torch.full((6,), (point + 0.5) / points).double())
        total.index_add_(0, rows, weights)
    torch.testing.assert_close(total / points, torch.ones(12).double(), atol=0.02, rtol=0)


def test_as_released_rows_without_a_winner_are_distinct() -> None:
    p = torch.full((8,), 1 / 8)
    rows, weights = sampled(p, 4, torch.linspace(0.1, 0.8, 8), torch.tensor(False))
    assert sorted(rows.tolist()) == [4, 5, 6, 7]
    assert weights.tolist() == [1.0] * 4


def kept(model: Any, batch: Any, ratio: float) -> int:
    """Bytes of all tensors that a forward pass keeps for the backward pass, parameters left out."""
    hooks = compose(build({"wta_crs": {"ratio": ratio}}), model, context_of(batches()[1]))
    tensors: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: tensors.append(saved) or saved, lambda saved: saved):
        hooks.loss(batch, forward_of(model), objective)
    hooks.finish()
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages = {saved.untyped_storage().data_ptr(): saved.untyped_storage().nbytes() for saved in tensors}
    return sum(size for place, size in storages.items() if place not in parameters)


@pytest.mark.parametrize("packed", [True, False])
def test_activations_are_really_kept_for_fewer_tokens(packed: bool) -> None:
    """22 tokens, of which 10 are kept: so much less for each column that is read by the maps of all layers but one."""
    model = still(tiny("bert"))
    if packed:
        attach_packing(model)
    batch = batches()[0 if packed else 1]
    size, inner = model.config.hidden_size, model.config.intermediate_size
    rows = 22 if packed else batch["input_ids"].numel()
    plain, few = kept(model, batch, 1.0), kept(model, batch, 0.3)
    layers = model.config.num_hidden_layers - 1
    overhead = layers * 3 * 10 * 8 * 2 + 5000  # which rows, and their weights
    of_attention = size if packed else 0  # torch's own attention keeps what it puts out
    saved = layers * (inner + size + of_attention) * (rows - 10) * 8
    assert plain - few >= saved - overhead > 0.5 * saved


def test_what_it_needs_to_know() -> None:
    hooks = hooked(WTACRS(), tiny("bert"), examples=2)
    with pytest.raises(UserError, match="wta_crs follows each example"):
        hooks.loss({key: value for key, value in batch_of(3).items() if key != "example_ids"}, forward_of(None))
    choices = {"input_ids": torch.ones(2, 3, 4, dtype=torch.long), "labels": torch.zeros(2).long()}
    model = tiny("bert").train()
    hooks = hooked(WTACRS(least_rows=1), model, examples=2)

    def forward(batch: Any) -> Any:
        return model(input_ids=batch["input_ids"].flatten(0, 1))

    with pytest.raises(UserError, match="not available for multiple choice"):
        hooks.loss(choices | {"example_ids": torch.arange(2)}, forward)
