"""Randomness that is played replayed or set aside: on every device of the model, and the noise of all techniques."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hype_bench.contract.context import Context

DEVICES = ("cuda:1", "cuda:3", "mps:0", "cpu")


class Counters:
    """A device module whose generators are counters, one a device."""

    def __init__(self) -> None:
        self.states: dict[str, int] = dict.fromkeys([*DEVICES, "cuda:0"], 0)

    def get_rng_state(self, device: torch.device) -> int:
        return self.states[str(device)]

    def set_rng_state(self, state: int, device: torch.device) -> None:
        self.states[str(device)] = state

    def draw(self) -> tuple[float, ...]:
        """A number of torch's on the CPU, and where the generators of the model's other devices are."""
        elsewhere = [name for name in DEVICES if name != "cpu"]
        for name in elsewhere:
            self.states[name] += 1
        return (float(torch.rand(())), *(self.states[name] for name in elsewhere))


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Counters:
    module = Counters()
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    return module


def model() -> Any:
    """Weights on several devices, none of them the current one."""
    return SimpleNamespace(parameters=lambda: (SimpleNamespace(device=torch.device(name)) for name in DEVICES))


def test_a_snapshot_replays_and_then_goes_on(counters: Counters) -> None:
    """As often as it is entered, and however many passes are within."""
    torch.manual_seed(0)
    expected = [counters.draw() for _ in range(4)]
    torch.manual_seed(0)
    counters.states |= dict.fromkeys(DEVICES, 0)
    replayed = Context().rng_snapshot(model())
    assert [counters.draw(), counters.draw()] == expected[:2]
    for count in (3, 1):
        with replayed():
            assert [counters.draw() for _ in range(count)] == expected[:count]
    assert [counters.draw(), counters.draw()] == expected[2:]


def test_a_snapshot_replays_the_noise_of_every_technique() -> None:
    context, like = Context(), torch.empty(5)
    sources = [context.noise("one"), context.noise("other")]
    replayed = context.rng_snapshot(torch.nn.Linear(1, 1))

    def forward() -> torch.Tensor:
        for source in sources:
            source.next_forward()
        return torch.stack([source.normal(like, "site") for source in sources])

    first, second = forward(), forward()
    with replayed():
        assert torch.equal(forward(), first)
    assert not any(torch.equal(forward(), past) for past in (first, second))


def test_a_technique_s_own_randomness_leaves_the_others_alone(counters: Counters) -> None:
    torch.manual_seed(0)
    first = [counters.draw(), counters.draw()]
    torch.manual_seed(0)
    counters.states |= dict.fromkeys(DEVICES, 0)
    assert counters.draw() == first[0]
    within = []
    for _ in range(2):
        with Context(seed=4).own_randomness("fisher", model()):
            within.append(float(torch.rand(())))
            counters.draw()
    assert within[0] == within[1]
    assert counters.draw() == first[1]
    assert counters.states["cuda:0"] == 0


def test_what_fails_within_leaves_randomness_as_it_was(counters: Counters) -> None:
    before = torch.get_rng_state()

    def fails() -> None:
        with Context().rng_preserved(model()):
            counters.draw()
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fails()
    assert torch.equal(torch.get_rng_state(), before)
    assert set(counters.states.values()) == {0}
