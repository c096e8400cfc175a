"""The randomness of a run: noise of the techniques' own, and torch's generators saved and restored around it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from hype_bench.contract.lifetime import Lifetime
from hype_bench.contract.noise import NoiseSource, seed_of

Restore = Callable[[], None]
Replay = Callable[[], contextlib.AbstractContextManager[None]]


def save_generators(devices: Iterable[torch.device]) -> Restore:
    """Saves the state of torch's own generators, the CPU's and those of ``devices``; returns what restores it."""
    on_cpu = torch.get_rng_state()
    others = [device for device in devices if device.type not in ("cpu", "meta")]  # nothing is drawn on meta
    states = {device: torch.get_device_module(device).get_rng_state(device) for device in others}

    def restore() -> None:
        torch.set_rng_state(on_cpu)
        for device, state in states.items():
            torch.get_device_module(device).set_rng_state(state, device)

    return restore


@dataclass
class Randomness(Lifetime):
    """Where random numbers come from.

    Attributes:
        seed: the run's seed; randomness comes from :meth:`noise`, never from torch's own generator.
        sources: every noise source handed out.
    """

    seed: int = 0
    sources: list[NoiseSource] = field(default_factory=list)

    def noise(self, name: str, model: nn.Module | None = None) -> NoiseSource:
        """A source of the technique's own; with ``model``, every forward pass of it in training draws afresh."""
        source = NoiseSource(self.seed, name)
        self.sources.append(source)
        if model is not None:
            self.until_finish(model.register_forward_pre_hook(source.watch))
        return source

    @contextlib.contextmanager
    def rng_preserved(self, model: nn.Module) -> Iterator[None]:
        """Whatever is drawn within, all randomness goes on afterwards from where it was."""
        restore = self._save(model)
        try:
            yield
        finally:
            restore()

    def rng_snapshot(self, model: nn.Module) -> Replay:
        """Returns a context manager, to be entered as often as wanted, that replays randomness from this point: passes
        within draw the same dropout masks and the same noise as those that follow now. Afterwards it goes on from
        where it was."""
        rewind = self._save(model)

        @contextlib.contextmanager
        def replayed() -> Iterator[None]:
            with self.rng_preserved(model):
                rewind()
                yield

        return replayed

    @contextlib.contextmanager
    def own_randomness(self, name: str, model: nn.Module) -> Iterator[None]:
        """Within, torch's own generators start from a seed of the technique's; afterwards they are as before. For
        library code that takes no generator."""
        with self.rng_preserved(model):
            torch.manual_seed(seed_of(f"{self.seed}/{name}"))
            yield

    def _save(self, model: nn.Module) -> Restore:
        """Saves the generators of the model's devices and the noise sources; returns what restores them."""
        generators = save_generators({p.device for p in model.parameters()})
        forwards = self.forwards()

        def restore() -> None:
            generators()
            self.set_forwards(forwards)

        return restore

    def forwards(self) -> list[int]:
        """The number of the forward pass that each source is at."""
        return [source.forward for source in self.sources]

    def set_forwards(self, forwards: list[int]) -> None:
        for source, forward in zip(self.sources, forwards, strict=True):
            source.set_forward(forward)
