"""What a technique may know of the run it acts on: its randomness, its length, its data, the pass that is on."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hype_bench.models.dropout import drop_, keep_mask
from hype_bench.options import UserError

_LOGGER = logging.getLogger("hype_bench")
Batch = dict[str, Any]  # keyword arguments of the model's forward call, "labels" among them


def seed_of(key: str) -> int:
    """A 64-bit seed from any text."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)


def remember_generators(devices: Iterable[torch.device]) -> Callable[[], None]:
    """Returns what turns torch's own generators, the CPU's and those of ``devices``, back to where they are now."""
    on_cpu = torch.get_rng_state()
    others = [device for device in devices if device.type not in ("cpu", "meta")]  # what is on meta draws nothing
    elsewhere = {device: torch.get_device_module(device).get_rng_state(device) for device in others}

    def turn_back() -> None:
        torch.set_rng_state(on_cpu)
        for device, state in elsewhere.items():
            torch.get_device_module(device).set_rng_state(state, device)

    return turn_back


class NoiseSource:
    """Random tensors of a technique's own, as a function of (seed, forward pass, site) and of nothing else.

    Data order and head are thus the same for every technique, and a forward pass that gradient checkpointing runs
    again draws what it drew before (:meth:`Context.checkpointed`). Passes in training alone count (:meth:`watch`):
    how often the model is scored in between changes nothing.
    """

    def __init__(self, seed: int, name: str) -> None:
        self.key = f"{seed}/{name}"
        self.forward = 0

    def next_forward(self) -> None:
        self.forward += 1

    def watch(self, model: nn.Module, args: Any) -> None:
        """A forward pre-hook of the model."""
        if model.training:
            self.next_forward()

    def seed(self, site: str) -> int:
        return seed_of(f"{self.key}/{self.forward}/{site}")

    def generator(self, site: str, device: torch.device) -> torch.Generator:
        return torch.Generator(device).manual_seed(self.seed(site))

    def normal(self, like: Tensor, site: str) -> Tensor:
        """N(0, 1) in the shape, dtype and device of ``like``."""
        return torch.empty_like(like).normal_(generator=self.generator(site, like.device))

    def uniform(self, like: Tensor, site: str) -> Tensor:
        """U[0, 1) in the shape, dtype and device of ``like``."""
        return torch.empty_like(like).uniform_(generator=self.generator(site, like.device))

    def draw(self, like: Tensor, site: str, distribution: str) -> Tensor:
        """:meth:`normal` or :meth:`uniform`, by name."""
        return self.normal(like, site) if distribution == "normal" else self.uniform(like, site)

    def keep(self, like: Tensor, p: float, site: str) -> Tensor | None:
        """1/p with probability ``p``, else 0, independently for every entry; None if every entry stays.

        On a CPU ``p`` is taken to the nearest multiple of 2^-16 and scaled by its own inverse, see ``keep_mask``.
        """
        if p == 1:
            return None
        if like.device.type == "cpu":
            return keep_mask(like, like.shape, 1 - p, self.seed(site))
        return torch.empty_like(like).bernoulli_(p, generator=self.generator(site, like.device)).div_(p)

    def keep_(self, values: Tensor, p: float, site: str) -> Tensor:
        """Multiplies by :meth:`keep` in place."""
        if values.device.type == "cpu" and values.is_contiguous() and p < 1:
            return drop_(values, 1 - p, self.seed(site))
        keep = self.keep(values, p, site)
        return values if keep is None else values.mul_(keep)


@dataclass
class Context:
    """What a technique may know of the run it acts on, and where it leaves what the record should say.

    Attributes:
        seed: the run's seed; randomness comes from :meth:`noise`, never from torch's own generator.
        precision: fp32, tf32, bf16 or fp16.
        updates: how many the run will have, if that is known; ``warmup`` of them raise the learning rate.
        examples: of the training data.
        batches: one shuffled pass over the training data, in batches of the given size, or of the run's own.
        progress: shows how far a long preparation is: what, how much is done, how much there is.
        facts: numbers for the record, such as a measured fraction.
        warnings: sentences for the record and the user; each is said once.
        cleanup: what undoes the technique; run in reverse order when the run ends.
        sources: every noise source handed out.
        present: what the pass that is on is like, see :meth:`during`.
        again: whether gradient checkpointing is computing a part of an earlier pass once more.
    """

    seed: int = 0
    precision: str = "fp32"
    updates: int | None = None
    warmup: int = 0
    examples: int | None = None
    batches: Callable[[int | None], Iterable[Batch]] | None = None
    progress: Callable[[str, int, int | None], None] = lambda what, done, total: None
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    cleanup: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    sources: list[NoiseSource] = field(default_factory=list)
    present: dict[str, Any] = field(default_factory=dict)
    again: bool = False

    def noise(self, name: str, model: nn.Module | None = None) -> NoiseSource:
        """A source of the technique's own; with ``model``, every forward pass of it in training draws afresh."""
        source = NoiseSource(self.seed, name)
        self.sources.append(source)
        if model is not None:
            self.until_finish(model.register_forward_pre_hook(source.watch))
        return source

    def until_finish(self, handle: torch.utils.hooks.RemovableHandle) -> None:
        """Takes a hook off when the run ends."""
        self.cleanup.callback(handle.remove)

    def needs(self, technique: str, what: str) -> Any:
        """``updates`` or ``batches``, for a technique that cannot do without.

        Raises:
            UserError: whoever set up this context did not say.
        """
        value = getattr(self, what)
        if value is None:
            raise UserError(f"{technique} needs to know the run's {what}: give {what}=... where it is attached")
        return value

    @contextlib.contextmanager
    def during(self, **present: Any) -> Iterator[None]:
        """Within, :attr:`present` has these values, also when gradient checkpointing runs the pass again later."""
        before = dict(self.present)
        self.present.update(present)
        try:
            yield
        finally:
            self.present = before

    def without_hidden_noise(self) -> contextlib.AbstractContextManager[None]:
        """Silences techniques that add noise to hidden states, for a pass that another technique wants clean."""
        return self.during(hidden_noise=False)

    def checkpointed(self) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
        """``context_fn`` of ``torch.utils.checkpoint``: what is run again in the backward pass sees the state of its
        own forward pass, also when the objective has made another pass meanwhile."""
        then = self._state()

        @contextlib.contextmanager
        def as_it_was() -> Iterator[None]:
            now = self._state()
            self._restore(*then)
            self.again = True
            try:
                yield
            finally:
                self._restore(*now)
                self.again = False

        return contextlib.nullcontext(), as_it_was()

    def _state(self) -> tuple[dict[str, Any], list[int]]:
        return dict(self.present), [source.forward for source in self.sources]

    def _restore(self, present: dict[str, Any], forwards: list[int]) -> None:
        self.present = dict(present)
        for source, forward in zip(self.sources, forwards, strict=True):
            source.forward = forward

    @contextlib.contextmanager
    def aside(self, model: nn.Module) -> Iterator[None]:
        """Whatever is drawn within, afterwards all randomness goes on from where it was."""
        resume = self._randomness(model)
        try:
            yield
        finally:
            resume()

    def bookmark(self, model: nn.Module) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """Returns what plays randomness again from this point on, as often as it is entered: the passes within draw
        the same dropout masks and the same noise as those that follow now. Afterwards it goes on from where it was."""
        start = self._randomness(model)

        @contextlib.contextmanager
        def replayed() -> Iterator[None]:
            with self.aside(model):
                start()
                yield

        return replayed

    @contextlib.contextmanager
    def own_randomness(self, name: str, model: nn.Module) -> Iterator[None]:
        """Within, torch's own generators start from a seed of the technique's; afterwards they are as before. For
        library code that takes no generator."""
        with self.aside(model):
            torch.manual_seed(seed_of(f"{self.seed}/{name}"))
            yield

    def _randomness(self, model: nn.Module) -> Callable[[], None]:
        """Returns what turns back to this point the generators of the model's devices and the noise sources."""
        generators, forwards = remember_generators({p.device for p in model.parameters()}), self._state()[1]

        def turn_back() -> None:
            generators()
            self._restore(self.present, forwards)

        return turn_back

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def log_warnings(self) -> None:
        """For a host that keeps no record."""
        for sentence in self.warnings:
            _LOGGER.warning(sentence)
