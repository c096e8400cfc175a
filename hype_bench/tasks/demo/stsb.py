"""demo_stsb: how alike are two sentences? 0.0 = nothing in common, 5.0 = the same in other words.

The second sentence tells the scene of the first after none, some or all of its facts were replaced or left
unsaid. The label is what the two have in common, each fact by its weight, with a little noise as from raters.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hype_bench.tasks.demo.lexicon import Action, chance, sentence
from hype_bench.tasks.demo.scene import Scene, alter, new_scene, tell

WEIGHTS = {"who": 1.0, "verb": 1.3, "thing": 1.4, "adjective": 0.3, "number": 0.4, "city": 0.6, "day": 0.5}
UNSAID = 0.5  # the share of its weight that a fact keeps when only one sentence has it
NOISE = 1.0  # the furthest that a rater strays


def draw(rng: Random, quantile: float) -> dict[str, Any]:
    """One example, with more facts changed the higher the quantile."""
    scene, action = new_scene(rng)
    other, other_action = new_scene(rng) if chance(rng, 0.15) else (scene, action)
    for fact in WEIGHTS:
        if chance(rng, 0.9 * quantile):
            other = _lose(rng, other, other_action, fact)
    if other.verb == action.verb and chance(rng, 0.5):
        other = other._replace(verb=action.synonym)
    label = _likeness(scene, other, action) + NOISE * (rng.random() + rng.random() - 1)
    return {
        "sentence1": sentence(tell(rng, scene)),
        "sentence2": sentence(tell(rng, other)),
        "label": round(min(5.0, max(0.0, label)), 1),
    }


def _lose(rng: Random, scene: Scene, action: Action, fact: str) -> Scene:
    """The scene with the fact replaced, or left unsaid where the sentence can do without."""
    if fact == "adjective" and chance(rng, 0.5):
        return scene._replace(adjective="")
    if fact == "city" and chance(rng, 0.5):
        return scene._replace(city="")
    if fact == "day" and chance(rng, 0.5):
        return scene._replace(day="")
    return alter(rng, scene, action, fact)


def _likeness(one: Scene, two: Scene, action: Action) -> float:
    """From 0 to 5: the weight of the facts that both sentences tell, out of all facts of the first."""
    shared = 0.0
    for fact, weight in WEIGHTS.items():
        first, second = getattr(one, fact), getattr(two, fact)
        if first == second or (fact == "verb" and second == action.synonym):
            shared += weight
        elif second == "":
            shared += UNSAID * weight
    return 5.0 * shared / sum(WEIGHTS.values())
