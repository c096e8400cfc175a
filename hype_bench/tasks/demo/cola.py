"""demo_cola: is the sentence acceptable English? 1 = acceptable, 0 = unacceptable, 55 % acceptable.

Each phenomenon is a function of the wanted answer that returns one sentence: the acceptable and the
unacceptable ones are made of the same words as far as can be, so that the words alone do not give it away.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hype_bench.tasks.demo.lexicon import (
    ACTIONS,
    CITIES,
    DAYS,
    DEALINGS,
    DOINGS,
    EFFORTS,
    MEN,
    NAMES,
    PORTABLE,
    PROFESSIONS,
    WOMEN,
    chance,
    gerund,
    participle,
    past,
    person,
    pick,
    pick_other,
    plural,
    sentence,
    third,
)

AGREEMENT = (  # head noun, preposition, the noun between it and its verb
    ("key", "to", "cabinet"), ("letter", "from", "lawyer"), ("road", "to", "village"),
    ("box", "near", "window"), ("door", "of", "house"), ("report", "about", "factory"),
    ("book", "by", "singer"), ("lamp", "beside", "mirror"), ("photo", "of", "bridge"),
    ("wall", "around", "garden"),
)  # fmt: skip
INTRANSITIVE = ("slept", "laughed", "waited", "sneezed", "arrived", "smiled", "fainted", "appeared")
DEMANDING = ("inspect", "mention", "repair", "find", "destroy", "conceal", "discover", "describe", "purchase")
DOUBLE_OBJECT = ("gave", "sold", "lent", "showed", "sent", "handed", "offered")
SINGLE_OBJECT = ("described", "mentioned", "donated", "revealed", "explained", "entrusted")
SELFISH = ("blame", "admire", "praise", "trust", "defend", "question", "introduce", "rescue")
WITH_TO = (
    "decided", "refused", "managed", "wanted", "promised", "hoped", "agreed", "expected", "offered", "failed",
)  # fmt: skip
WITH_ING = (
    "enjoyed", "avoided", "finished", "admitted", "denied", "kept", "suggested", "imagined", "resented",
)  # fmt: skip


def agreement(rng: Random, good: bool) -> str:
    """The verb agrees with the head noun, not with the noun next to it: `the key to the cabinets is`."""
    head, between, near = pick(rng, AGREEMENT)
    many, decoy = chance(rng, 0.5), chance(rng, 0.6)
    subject = f"the {plural(head) if many else head} {between} the {plural(near) if decoy else near}"
    one, more = pick(rng, (("is", "are"), ("was", "were"), ("has been", "have been")))
    quality = pick(rng, ("very old", "well known", "rather ugly", "quite new"))
    return f"{subject} {more if many == good else one} {quality}"


def transitivity(rng: Random, good: bool) -> str:
    """A verb that takes an object has one, and a verb that takes none has none."""
    who, day = person(rng), pick(rng, DAYS)
    if chance(rng, 0.5):
        near = f"{pick(rng, ('near', 'behind', 'beside'))} " if good else ""
        return f"{who} {pick(rng, INTRANSITIVE)} {near}the {pick(rng, PORTABLE)} on {day}"
    thing = f"the {pick(rng, PORTABLE)} " if good else ""
    return f"{who} {past(pick(rng, DEMANDING))} {thing}in {pick(rng, CITIES)} on {day}"


def dative(rng: Random, good: bool) -> str:
    """`Give` takes two objects; `explain` and `donate` take one and a phrase with `to`."""
    who = person(rng)
    other, thing = person(rng, who), pick(rng, PORTABLE)
    if good and chance(rng, 0.5):
        return f"{who} {pick(rng, DOUBLE_OBJECT)} {other} the {thing}"
    verb = pick(rng, SINGLE_OBJECT)
    return f"{who} {verb} the {thing} to {other}" if good else f"{who} {verb} {other} the {thing}"


def word_order(rng: Random, good: bool) -> str:
    """Neighbouring words in their places or swapped."""
    who, action = person(rng), pick(rng, ACTIONS)
    adjective, thing, verb = pick(rng, action.adjectives), pick(rng, action.things), past(action.verb)
    done = participle(action.verb)
    city = pick(rng, CITIES)
    right, wrong = pick(
        rng,
        (
            (f"{who} {verb} the {adjective} {thing}", f"{who} {verb} the {thing} {adjective}"),
            (f"{who} has already {done} the {thing}", f"{who} already {done} has the {thing}"),
            (f"{who} has never {done} the {thing}", f"{who} has {done} never the {thing}"),
            (f"the {thing} was {done} by {who}", f"the {thing} {done} was by {who}"),
            (f"{who} often {verb} the {adjective} {thing}", f"{who} {verb} often the {adjective} {thing}"),
            (f"{who} {verb} the {thing} in {city}", f"{who} the {thing} {verb} in {city}"),
        ),
    )
    return right if good else wrong


def reflexive(rng: Random, good: bool) -> str:
    """A reflexive pronoun agrees with the subject of its own clause."""
    woman, man = pick(rng, WOMEN), pick(rng, MEN)
    verb = past(pick(rng, SELFISH))
    group = f"the {plural(pick(rng, PROFESSIONS))}"
    subject, own, others = pick(
        rng,
        (
            (woman, "herself", ("himself", "themselves")),
            (man, "himself", ("herself", "themselves")),
            (group, "themselves", ("himself", "herself")),
        ),
    )
    pronoun = own if good else pick(rng, others)
    if chance(rng, 0.4):
        return f"{pick_other(rng, NAMES, woman, man)} said that {subject} {verb} {pronoun}"
    return f"{subject} {verb} {pronoun}"


def question(rng: Random, good: bool) -> str:
    """A question word stands for a gap, and the gap may not lie inside an adjunct or a relative clause."""
    who = person(rng)
    other, action = person(rng, who), pick(rng, ACTIONS)
    verb, done, thing = action.verb, past(action.verb), pick(rng, action.things)
    doing = pick(rng, DOINGS).past
    right, wrong = pick(
        rng,
        (
            (f"what did {who} {verb} after {other} {doing}", f"what did {who} laugh after {other} {done}"),
            (f"what did {who} {verb} in {pick(rng, CITIES)}", f"what did {who} {verb} the {thing}"),
            (f"what does {who} think that {other} {done}", f"what does {who} know {other} who {done}"),
            (f"when did {who} {verb} the {thing}", f"when {who} did {verb} the {thing}"),
            (f"which {thing} did {who} {verb}", f"which did {who} {verb} {thing}"),
        ),
    )
    return (right if good else wrong) + "?"


def verb_form(rng: Random, good: bool) -> str:
    """An auxiliary asks for one form of the verb."""
    who, action = person(rng), pick(rng, ACTIONS)
    base, done, doing = action.verb, past(action.verb), gerund(action.verb)
    auxiliary, right, wrong = pick(
        rng,
        (
            ("will", base, (done, doing)),
            ("did not", base, (done, third(base))),
            ("is", doing, (base, third(base))),
            ("has", participle(base), (base, doing)),
            ("should have", participle(base), (base, third(base))),
        ),
    )
    return f"{who} {auxiliary} {right if good else pick(rng, wrong)} the {pick(rng, action.things)}"


def polarity(rng: Random, good: bool) -> str:
    """`Any`, `ever` and `yet` want a negation above them, and `already` does not."""
    action = pick(rng, ACTIONS)
    who, things = plural(pick(rng, PROFESSIONS)), plural(pick(rng, action.things))
    verb, done = past(action.verb), participle(action.verb)
    right, wrong = pick(
        rng,
        (
            (f"none of the {who} {verb} any {things}", f"some of the {who} {verb} any {things}"),
            (f"no {who} have ever {done} the {things}", f"some {who} have ever {done} the {things}"),
            (f"the {who} have not {done} the {things} yet", f"the {who} have {done} the {things} yet"),
            (f"the {who} {verb} some {things}", f"the {who} {verb} any {things}"),
        ),
    )
    return right if good else wrong


def determiner(rng: Random, good: bool) -> str:
    """A determiner agrees in number with its noun, and a single thing needs one."""
    who, action = person(rng), pick(rng, ACTIONS)
    verb, thing = past(action.verb), pick(rng, action.things)
    single = chance(rng, 0.5)
    quantity = pick(rng, ("each", "this", "every", "that", "a single") if single else
                    ("many", "these", "several", "those", "two", "all"))  # fmt: skip
    noun = thing if single == good else plural(thing)
    if chance(rng, 0.25):
        quantity, noun = pick(rng, ("the ", "one ", "another ")) if good else "", thing
        return f"{who} {verb} {quantity}{noun} in {pick(rng, CITIES)}"
    return f"{who} {verb} {quantity} {noun} in {pick(rng, CITIES)}"


def complement(rng: Random, good: bool) -> str:
    """A verb chooses between `to` with the base form, the form in -ing, and a clause with `that`."""
    who, action = person(rng), pick(rng, ACTIONS)
    thing = pick(rng, action.things)
    infinitive, ing = f"to {action.verb} the {thing}", f"{gerund(action.verb)} the {thing}"
    if chance(rng, 0.5):
        return f"{who} {pick(rng, WITH_TO)} {infinitive if good else ing}"
    return f"{who} {pick(rng, WITH_ING)} {ing if good else infinitive}"


def relative_clause(rng: Random, good: bool) -> str:
    """The gap of a relative clause is not filled again, and its pronoun suits the noun."""
    action, who = pick(rng, ACTIONS), pick(rng, NAMES)
    verb, thing, head = past(action.verb), pick(rng, action.things), pick(rng, PROFESSIONS)
    dealing, doing = past(pick(rng, DEALINGS)[0]), pick(rng, DOINGS).past
    right, wrong = pick(
        rng,
        (
            (f"the {head} who {dealing} {who} {doing}", f"the {head} who she {dealing} {who} {doing}"),
            (f"the {thing} that {who} {verb} was ugly", f"the {thing} that {who} {verb} it was ugly"),
            (f"the {thing} which {who} {verb} was ugly", f"the {thing} who {who} {verb} was ugly"),
            (f"the {head} whose car {who} bought {doing}", f"the {head} who car {who} bought {doing}"),
        ),
    )
    return right if good else wrong


def coordination(rng: Random, good: bool) -> str:
    """Like is joined with like, and paired conjunctions come in their pairs."""
    first = person(rng)
    second, done = person(rng, first), pick(rng, EFFORTS).past
    other = pick_other(rng, [effort.past for effort in EFFORTS], done)
    right, wrong = pick(
        rng,
        (
            (f"neither {first} nor {second} {done}", f"neither {first} or {second} {done}"),
            (f"either {first} or {second} {done}", f"either {first} nor {second} {done}"),
            (f"both {first} and {second} {done}", f"both {first} or {second} {done}"),
            (f"{first} {done} and {second} {other}", f"{first} {done} {second} and {other}"),
        ),
    )
    return right if good else wrong


def draw(rng: Random, quantile: float) -> dict[str, Any]:
    """One example, acceptable for a quantile below 0.55."""
    good = quantile < 0.55
    text = pick(rng, PHENOMENA)(rng, good)
    return {"sentence": sentence(text, "" if text.endswith("?") else "."), "label": int(good)}


PHENOMENA: tuple[Callable[[Random, bool], str], ...] = (  # first what a small encoder learns soon
    *(transitivity, dative, word_order, polarity, relative_clause) * 3,
    *(verb_form, determiner) * 2,
    agreement,
    reflexive,
    question,
    complement,
    coordination,
)
