"""demo_rte: does the premise entail the hypothesis? 0 = entailment, 1 = not_entailment, half of each.

Each phenomenon is a function of the wanted answer that returns premise and hypothesis. Both answers come from
the same words as far as can be, so that counting shared words does not tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hype_bench.tasks.demo.lexicon import (
    ACTIONS,
    CITIES,
    COUNTRY_OF,
    DAYS,
    DEALINGS,
    DOINGS,
    EFFORTS,
    KINDS,
    NAMES,
    NUMBERS,
    PORTABLE,
    PROFESSIONS,
    chance,
    participle,
    past,
    person,
    pick,
    pick_other,
    plural,
    sentence,
    whole,
    with_article,
)

Pair = tuple[str, str]

STRONG_TO_WEAK = (
    ("all of", "some of"), ("all of", "most of"), ("most of", "some of"), ("many of", "some of"),
    ("all of", "many of"),
)  # fmt: skip
WEAK_TO_STRONG = (
    ("some of", "all of"), ("some of", "most of"), ("many of", "all of"), ("most of", "none of"),
    ("all of", "none of"), ("some of", "many of"), ("most of", "all of"), ("none of", "some of"),
)  # fmt: skip

HAPPENED = ("managed to", "remembered to", "was forced to", "went on to")
DID_NOT = ("failed to", "refused to", "forgot to", "declined to", "was too tired to")
MAY_HAVE = ("hoped to", "wanted to", "promised to", "planned to", "was asked to")

TRANSFERS = (
    ("gave", "given", "received"), ("sold", "sold", "bought"), ("lent", "lent", "borrowed"),
    ("handed", "handed", "got"),
)  # fmt: skip
COMPARATIVES = (("older", "younger"), ("taller", "shorter"), ("richer", "poorer"), ("faster", "slower"))


def detail(rng: Random, entailed: bool) -> Pair:
    """A detail left out follows; a detail added or changed does not."""
    who, action, city = person(rng), pick(rng, ACTIONS), pick(rng, CITIES)
    core = f"{who} {past(action.verb)} the {pick(rng, action.things)}"
    full = f"{core} in {city}"
    if entailed:
        return f"{full} on {pick(rng, DAYS)}", pick(rng, (core, full))
    return (core, full) if chance(rng, 0.3) else (full, f"{core} in {pick_other(rng, CITIES, city)}")


def roles(rng: Random, entailed: bool) -> Pair:
    """Active and passive, with the two people in their places or swapped."""
    agent = person(rng)
    patient = person(rng, agent)
    verb, synonym = pick(rng, DEALINGS)
    active = f"{agent} {past(verb)} {patient}"
    if not entailed:
        agent, patient = patient, agent
    passive = f"{patient} was {participle(verb)} by {agent}"
    return active, passive if chance(rng, 0.6) else f"{agent} {past(synonym)} {patient}"


def relative_clause(rng: Random, entailed: bool) -> Pair:
    """Who did it: the head of the relative clause or the person inside it."""
    head, inner = f"the {pick(rng, PROFESSIONS)}", pick(rng, NAMES)
    verb, doing = past(pick(rng, DEALINGS)[0]), pick(rng, DOINGS).past
    clause = f"who {verb} {inner}" if chance(rng, 0.5) else f"whom {inner} {verb}"
    return f"{head} {clause} {doing}", f"{head if entailed else inner} {doing}"


def quantifier(rng: Random, entailed: bool) -> Pair:
    """A stronger quantifier entails a weaker one, never the other way round."""
    who, doing = plural(pick(rng, PROFESSIONS)), pick(rng, DOINGS).past
    premise, hypothesis = pick(rng, STRONG_TO_WEAK if entailed else WEAK_TO_STRONG)
    return f"{premise} the {who} {doing}", f"{hypothesis} the {who} {doing}"


def number(rng: Random, entailed: bool) -> Pair:
    """An exact count against a bound on either side."""
    who, doing, count = plural(pick(rng, PROFESSIONS)), pick(rng, DOINGS).past, whole(rng, 5, 9)
    more = chance(rng, 0.5)
    step = whole(rng, 1, 3)
    bound = NUMBERS[count - step if more == entailed else count + step]
    word = "more" if more else "fewer"
    return f"{NUMBERS[count]} {who} {doing}", f"{word} than {bound} {who} {doing}"


def kind(rng: Random, entailed: bool) -> Pair:
    """A spaniel is a dog and no cat; a dog need not be a spaniel, unless there was none."""
    who, verb = person(rng), pick(rng, ("buy", "draw", "find", "steal", "choose", "inspect"))
    narrow, wide = pick(rng, KINDS)
    if chance(rng, 0.15):
        kinds = (wide, narrow) if entailed else (narrow, wide)
        premise, hypothesis = (f"{who} did not {verb} {with_article(noun)}" for noun in kinds)
        return premise, hypothesis
    if not entailed and chance(rng, 0.2):
        narrow, wide = wide, narrow
    elif not entailed:
        wide = pick_other(rng, [wider for _, wider in KINDS], wide)
    return f"{who} {past(verb)} {with_article(narrow)}", f"{who} {past(verb)} {with_article(wide)}"


def place(rng: Random, entailed: bool) -> Pair:
    """A city lies in its country and in no other."""
    who, action, city = person(rng), pick(rng, ACTIONS), pick(rng, CITIES)
    deed = f"{who} {past(action.verb)} the {pick(rng, action.things)}"
    country = COUNTRY_OF[city] if entailed else pick_other(rng, list(COUNTRY_OF.values()), COUNTRY_OF[city])
    return f"{deed} in {city}", f"{who} {pick(rng, ('was', 'spent some time'))} in {country}"


def opposite(rng: Random, entailed: bool) -> Pair:
    """The same in other words, or something else in much the same words."""
    who, doing = person(rng), pick(rng, DOINGS)
    if chance(rng, 0.3):
        action = pick(rng, ACTIONS)
        thing, verb = pick(rng, action.things), action.synonym if entailed else action.rival
        return f"{who} {past(action.verb)} the {thing}", f"{who} {past(verb)} the {thing}"
    return f"{who} {doing.past}", f"{who} {doing.synonym if entailed else doing.rival}"


def implicative(rng: Random, entailed: bool) -> Pair:
    """`Managed to` says that it happened, `failed to` that it did not, `hoped to` neither."""
    who, (base, done, _, _) = person(rng), pick(rng, EFFORTS)
    true, false, neither = pick(rng, HAPPENED), pick(rng, DID_NOT), pick(rng, MAY_HAVE)
    happened, did_not = f"{who} {done}", f"{who} did not {base}"
    if entailed:
        return pick(rng, ((f"{who} {true} {base}", happened), (f"{who} {false} {base}", did_not)))
    wrong = (f"{who} {true} {base}", did_not), (f"{who} {false} {base}", happened)
    return pick(rng, (*wrong, (f"{who} {neither} {base}", pick(rng, (happened, happened, did_not)))))


def report(rng: Random, entailed: bool) -> Pair:
    """What somebody knows or regrets is so; what somebody claims or denies need not be."""
    who = person(rng)
    other, doing = person(rng, who), pick(rng, DOINGS).past
    verb = pick(rng, ("knew", "noticed", "regretted", "discovered") if entailed else
                ("claimed", "believed", "denied", "hoped", "doubted"))  # fmt: skip
    return f"{who} {verb} that {other} {doing}", f"{other} {doing}"


def order(rng: Random, entailed: bool) -> Pair:
    """Before and after, with the clauses or the conjunction turned round."""
    first = person(rng)
    second = person(rng, first)
    earlier = f"{first} {pick(rng, DOINGS).past}"
    later = f"{second} {pick_other(rng, [doing.past for doing in DOINGS], earlier[len(first) + 1 :])}"
    before, after = f"{earlier} before {later}", f"{later} after {earlier}"
    premise, converse = (before, after) if chance(rng, 0.5) else (after, before)
    wrong = f"{later} before {earlier}", f"{earlier} after {later}"
    return premise, converse if entailed else pick(rng, wrong)


def coordination(rng: Random, entailed: bool) -> Pair:
    """Both of two did it, or one of the two did."""
    first = person(rng)
    second, doing = person(rng, first), pick(rng, DOINGS).past
    one = pick(rng, (first, second))
    if entailed:
        return f"both {first} and {second} {doing}", f"{one} {doing}"
    return pick(
        rng,
        (
            (f"either {first} or {second} {doing}", f"{one} {doing}"),
            (f"neither {first} nor {second} {doing}", f"{one} {doing}"),
            (f"{first} but not {second} {doing}", f"{second} {doing}"),
        ),
    )


def transfer(rng: Random, entailed: bool) -> Pair:
    """Giving and receiving: who has the thing afterwards."""
    giver = person(rng)
    taker, thing = person(rng, giver), pick(rng, PORTABLE)
    gave, given, got = pick(rng, TRANSFERS)
    premise = f"{giver} {gave} the {thing} to {taker}"
    if not entailed:
        giver, taker = taker, giver
    hypotheses = f"{taker} {got} the {thing} from {giver}", f"{taker} was {given} the {thing} by {giver}"
    return premise, pick(rng, hypotheses)


def comparison(rng: Random, entailed: bool) -> Pair:
    """A comparative and its converse."""
    one = f"the {pick(rng, PROFESSIONS)}"
    two = person(rng, one)
    more, less = pick(rng, COMPARATIVES)
    if chance(rng, 0.5):
        more, less = less, more
    claims = (f"{two} is {less} than {one}", f"{one} is {more} than {two}")
    denials = (f"{two} is {more} than {one}", f"{one} is {less} than {two}")
    premise = f"{one} is much {more} than {two}"
    return premise, pick(rng, claims if entailed else denials)


def draw(rng: Random, quantile: float) -> dict[str, Any]:
    """One example, entailed for a quantile below 0.5."""
    entailed = quantile < 0.5
    premise, hypothesis = pick(rng, PHENOMENA)(rng, entailed)
    return {"sentence1": sentence(premise), "sentence2": sentence(hypothesis), "label": 0 if entailed else 1}


PHENOMENA: tuple[Callable[[Random, bool], Pair], ...] = (  # first what a small encoder learns soon
    *(implicative, opposite, coordination, report, quantifier) * 5,
    kind,
    place,
    detail,
    roles,
    relative_clause,
    number,
    order,
    transfer,
    comparison,
)
