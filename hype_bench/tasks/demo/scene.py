"""A scene, the facts of one plain sentence, and the ways to tell it, for demo_mrpc and demo_stsb."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from hype_bench.tasks.demo.lexicon import (
    ACTIONS,
    CITIES,
    DAYS,
    NUMBERS,
    Action,
    chance,
    participle,
    past,
    person,
    pick,
    pick_other,
    plural,
    whole,
)


class Scene(NamedTuple):
    """Who did what to how many of which things, where and when; an empty string is a fact left unsaid."""

    who: str
    verb: str
    thing: str
    adjective: str
    number: int
    city: str
    day: str


def new_scene(rng: Random) -> tuple[Scene, Action]:
    """A scene with every fact in it, and the action that it shows."""
    action = pick(rng, ACTIONS)
    number = 1 if chance(rng, 0.7) else whole(rng, 2, 9)
    thing, adjective = pick(rng, action.things), pick(rng, action.adjectives)
    scene = Scene(person(rng), action.verb, thing, adjective, number, pick(rng, CITIES), pick(rng, DAYS))
    return scene, action


def alter(rng: Random, scene: Scene, action: Action, fact: str) -> Scene:
    """The scene with one fact replaced by another of its kind; the verb becomes the action's rival."""
    if fact == "who":
        return scene._replace(who=person(rng, scene.who))
    if fact == "verb":
        return scene._replace(verb=action.rival)
    if fact == "thing":
        return scene._replace(thing=pick_other(rng, action.things, scene.thing))
    if fact == "adjective":
        return scene._replace(adjective=pick_other(rng, action.adjectives, scene.adjective))
    if fact == "number":
        return scene._replace(number=pick_other(rng, range(1, 10), scene.number))
    if fact == "city":
        return scene._replace(city=pick_other(rng, CITIES, scene.city))
    return scene._replace(day=pick_other(rng, DAYS, scene.day))


def tell(rng: Random, scene: Scene) -> str:
    """The scene in active or passive voice, with the time in front or behind."""
    things = f"{scene.adjective} {plural(scene.thing) if scene.number > 1 else scene.thing}".strip()
    what = f"{NUMBERS[scene.number] if scene.number > 1 else 'the'} {things}"
    be = "were" if scene.number > 1 else "was"
    core = pick(
        rng,
        (
            f"{scene.who} {past(scene.verb)} {what}",
            f"{scene.who} {past(scene.verb)} {what}",
            f"{what} {be} {participle(scene.verb)} by {scene.who}",
        ),
    )
    place = f" in {scene.city}" if scene.city else ""
    if not scene.day:
        return core + place
    return f"on {scene.day}, {core}{place}" if chance(rng, 0.4) else f"{core}{place} on {scene.day}"
