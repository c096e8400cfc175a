"""One order for techniques whose order has no effect, so that what computes the same is one run."""

from __future__ import annotations

from collections.abc import Mapping

from hype_bench.contract.method import Method


def commute(first: Method, second: Method) -> bool:
    """Whether two techniques compute the same in both orders, bit for bit: they act on different parts of a run."""
    return not first.acts_on & second.acts_on


def canonical_order(methods: Mapping[str, Method]) -> dict[str, Method]:
    """The techniques, sorted by the first part of a run on which they act and then by name, as far as they commute.

    Two that do not commute stay in the order given: the first one named is outermost.
    """
    remaining, ordered = dict(methods), dict[str, Method]()
    while remaining:
        names = list(remaining)
        free = [
            name
            for place, name in enumerate(names)
            if all(commute(remaining[name], remaining[earlier]) for earlier in names[:place])
        ]
        first = min(free, key=lambda name: (min(remaining[name].acts_on, default=0), name))
        ordered[first] = remaining.pop(first)
    return ordered
