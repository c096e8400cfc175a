"""demo_mrpc: do the two sentences say the same? 1 = equivalent, 0 = not_equivalent, 62 % equivalent.

Each phenomenon tells some facts twice, in other words and another order; for a pair that is not equivalent a
fact is changed in between, so that both kinds of pairs share about as many words.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hype_bench.tasks.demo.lexicon import (
    DAYS,
    DEALINGS,
    DOINGS,
    MONTHS,
    PORTABLE,
    chance,
    participle,
    past,
    person,
    pick,
    pick_other,
    sentence,
    whole,
)
from hype_bench.tasks.demo.scene import alter, new_scene, tell

Pair = tuple[str, str]


def doing(rng: Random, same: bool) -> Pair:
    """A predicate in other words; or its opposite or its negation, or somebody else."""
    who, deed, day = person(rng), pick(rng, DOINGS), pick(rng, DAYS)
    first = f"{who} {deed.past} on {day}"
    told = pick(rng, (deed.synonym, deed.synonym, deed.past))
    if not same and chance(rng, 0.2):
        who = person(rng, who)
    elif not same:
        another = pick_other(rng, DOINGS, deed).past
        told = pick(rng, (deed.rival, f"did not {deed.base}", f"did not {deed.base}", another))
    return first, pick(rng, (f"on {day}, {who} {told}", f"{who} {told} on {day}", f"{who} {told} last {day}"))


def work(rng: Random, same: bool) -> Pair:
    """A deed retold with a synonym, another voice or order; or with two facts changed."""
    scene, action = new_scene(rng)
    scene = scene._replace(adjective="", city="")
    other = scene
    if not same:
        fact = pick(rng, ("who", "verb", "verb", "thing"))
        other = alter(rng, scene, action, fact)
        other = alter(rng, other, action, pick_other(rng, ("who", "thing", "number", "day"), fact))
    if other.verb == action.verb and chance(rng, 0.8):
        other = other._replace(verb=action.synonym)
    return tell(rng, scene), tell(rng, other)


def dealing(rng: Random, same: bool) -> Pair:
    """Two people in active or passive voice; the hard negatives swap them."""
    agent = person(rng)
    patient = person(rng, agent)
    verb, synonym = pick(rng, DEALINGS)
    month = pick(rng, MONTHS)
    first = f"{agent} {past(verb)} {patient} in {month}"
    if not same:
        if chance(rng, 0.4):
            agent, patient = patient, agent
        else:
            patient, month = person(rng, agent, patient), pick(rng, MONTHS)
    return first, pick(
        rng,
        (
            f"{patient} was {participle(pick(rng, (verb, synonym)))} by {agent} in {month}",
            f"in {month}, {patient} was {participle(verb)} by {agent}",
            f"in {month}, {agent} {past(synonym)} {patient}",
        ),
    )


def trade(rng: Random, same: bool) -> Pair:
    """A sale seen by the seller and by the buyer; or with the two swapped, or at another price."""
    seller = person(rng)
    buyer, thing, price = person(rng, seller), pick(rng, PORTABLE), 10 * whole(rng, 2, 30)
    first = f"{seller} sold the {thing} to {buyer} for {price} dollars"
    if not same:
        change = pick(rng, ("people", "price", "thing"))
        if change == "people":
            seller, buyer = buyer, seller
        price = price + 10 * whole(rng, 1, 9) if change == "price" else price
        thing = pick_other(rng, PORTABLE, thing) if change == "thing" else thing
    second = pick(
        rng,
        (
            f"{buyer} bought the {thing} from {seller} for {price} dollars",
            f"{buyer} paid {seller} {price} dollars for the {thing}",
            f"for {price} dollars, {seller} sold {buyer} the {thing}",
        ),
    )
    return (first, second) if chance(rng, 0.7) else (second, first)


def figures(rng: Random, same: bool) -> Pair:
    """A rise or a fall in other words; or another number, month or direction."""
    what, place = pick(rng, MEASURES), pick(rng, FIRMS)
    percent, month, up = whole(rng, 2, 40), pick(rng, MONTHS), chance(rng, 0.5)
    first = f"{what} at the {place} {pick(rng, UP if up else DOWN)} by {percent} percent in {month}"
    if not same:
        change = pick(rng, ("percent", "month", "up", "up"))
        percent = percent + whole(rng, 1, 20) if change == "percent" else percent
        month = pick_other(rng, MONTHS, month) if change == "month" else month
        up = up != (change == "up")
    moved, noun = pick(rng, UP if up else DOWN), pick(rng, ("rise", "increase") if up else ("fall", "drop"))
    return first, pick(
        rng,
        (
            f"in {month}, the {place}'s {what} {moved} by {percent} percent",
            f"the {place} saw {what} {noun} by {percent} percent in {month}",
            f"the {place} said its {what} {moved} {percent} percent in {month}",
        ),
    )


def sequence(rng: Random, same: bool) -> Pair:
    """Before turned into after; or the order of events turned round, or an event replaced."""
    first = person(rng)
    second, deed = person(rng, first), pick(rng, DOINGS)
    then = pick_other(rng, DOINGS, deed)
    told = f"{first} {deed.past} before {second} {then.past}"
    earlier, later = f"{first} {deed.past}", f"{second} {then.synonym if same else then.rival}"
    if not same and chance(rng, 0.3):
        earlier, later = f"{second} {then.past}", f"{first} {deed.past}"
    orders = f"{later} after {earlier}", f"before {later}, {earlier}", f"after {earlier}, {later}"
    return told, pick(rng, orders)


def speech(rng: Random, same: bool) -> Pair:
    """Who said what about whom, with the frame in front or behind; or denied, or with the two swapped."""
    speaker = person(rng)
    other, deed = person(rng, speaker), pick(rng, DOINGS)
    first, told = f"{speaker} said that {other} {deed.past}", pick(rng, (deed.synonym, deed.past))
    if not same and chance(rng, 0.4):
        return first, f"{speaker} {pick(rng, ('denied', 'doubted', 'hoped'))} that {other} {told}"
    if not same and chance(rng, 0.2):
        speaker, other = other, speaker
    elif not same:
        told = pick(rng, (f"did not {deed.base}", deed.rival))
    return first, pick(
        rng,
        (
            f"{other} {told}, {speaker} said",
            f"according to {speaker}, {other} {told}",
            f"{speaker} stated that {other} {told}",
        ),
    )


def draw(rng: Random, quantile: float) -> dict[str, Any]:
    """One example, equivalent for a quantile below 0.62."""
    same = quantile < 0.62
    first, second = pick(rng, PHENOMENA)(rng, same)
    return {"sentence1": sentence(first), "sentence2": sentence(second), "label": int(same)}


MEASURES = ("sales", "profits", "orders", "costs", "exports", "prices")
FIRMS = ("bakery", "brewery", "shipyard", "bookshop", "steelworks", "dairy", "airline", "hotel")
UP, DOWN = ("rose", "climbed", "grew", "increased"), ("fell", "dropped", "sank", "declined")

PHENOMENA: tuple[Callable[[Random, bool], Pair], ...] = (
    *(doing, speech) * 4,
    *(work,) * 2,
    dealing,
    trade,
    figures,
    sequence,
)
