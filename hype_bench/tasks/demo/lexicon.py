"""The words, inflections and random draws that the four demo tasks share.

Every draw goes through `Random.random()`, the one method whose sequence Python promises to keep between
versions for a given seed; `choice`, `sample` and `shuffle` carry no such promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Action(NamedTuple):
    """Something a person does to a thing: the verb, a synonym, an antonym or rival, and what it fits."""

    verb: str
    synonym: str
    rival: str
    things: tuple[str, ...]
    adjectives: tuple[str, ...]


class Doing(NamedTuple):
    """A predicate: base form, past tense, the same in other words, something else in much the same words."""

    base: str
    past: str
    synonym: str
    rival: str


def pick(rng: Random, options: Sequence[T]) -> T:
    """One of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def pick_other(rng: Random, options: Sequence[T], *taken: T) -> T:
    """One of the options that is none of those taken."""
    return pick(rng, [option for option in options if option not in taken])


def chance(rng: Random, probability: float) -> bool:
    """True with the given probability."""
    return rng.random() < probability


def whole(rng: Random, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return low + int(rng.random() * (high - low + 1))


def sentence(text: str, end: str = ".") -> str:
    """The text with a capital letter in front and the end mark behind."""
    return text[0].upper() + text[1:] + end


def with_article(noun_phrase: str) -> str:
    """The phrase behind `a` or `an`."""
    return ("an " if noun_phrase[0] in "aeio" else "a ") + noun_phrase


def plural(noun: str) -> str:
    """The plural; the last word of a phrase is the one that changes."""
    if noun.endswith("fe"):
        return noun[:-2] + "ves"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("s", "sh", "ch", "x")):
        return noun + "es"
    return noun + "s"


def third(verb: str) -> str:
    """The form that follows he, she or it in the present tense."""
    return plural(verb)


def past(verb: str) -> str:
    """The past tense."""
    return IRREGULAR[verb][0] if verb in IRREGULAR else _with_ed(verb)


def participle(verb: str) -> str:
    """The past participle, as in `was chosen`."""
    return IRREGULAR[verb][1] if verb in IRREGULAR else _with_ed(verb)


def gerund(verb: str) -> str:
    """The form in -ing."""
    if verb in DOUBLING:
        return verb + verb[-1] + "ing"
    return (verb[:-1] if verb.endswith("e") else verb) + "ing"


def _with_ed(verb: str) -> str:
    if verb in DOUBLING:
        return verb + verb[-1] + "ed"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + ("d" if verb.endswith("e") else "ed")


def person(rng: Random, *taken: str) -> str:
    """A name or a profession with its article, none of those taken."""
    if chance(rng, 0.4):
        return pick_other(rng, NAMES, *taken)
    return pick_other(rng, [f"the {profession}" for profession in PROFESSIONS], *taken)


IRREGULAR = {
    "beat": ("beat", "beaten"),
    "begin": ("began", "begun"),
    "break": ("broke", "broken"),
    "build": ("built", "built"),
    "buy": ("bought", "bought"),
    "choose": ("chose", "chosen"),
    "draw": ("drew", "drawn"),
    "find": ("found", "found"),
    "hide": ("hid", "hidden"),
    "lose": ("lost", "lost"),
    "sell": ("sold", "sold"),
    "show": ("showed", "shown"),
    "steal": ("stole", "stolen"),
    "teach": ("taught", "taught"),
    "write": ("wrote", "written"),
}

DOUBLING = ("begin", "scrap")

WOMEN = ("Anna", "Maria", "Lucy", "Helen", "Nora", "Clara", "Emma", "Julia")
MEN = ("Omar", "David", "Peter", "Victor", "Simon", "Hugo", "Martin", "Thomas")
NAMES = WOMEN + MEN

PROFESSIONS = (
    "nurse", "pilot", "teacher", "farmer", "lawyer", "painter", "baker", "engineer", "singer", "doctor",
    "student", "guard", "waiter", "clerk", "manager", "soldier", "driver", "reporter", "judge", "gardener",
)  # fmt: skip

COUNTRY_OF = {
    "Lisbon": "Portugal", "Oslo": "Norway", "Boston": "America", "Cairo": "Egypt", "Madrid": "Spain",
    "Toronto": "Canada", "Dublin": "Ireland", "Berlin": "Germany", "Tokyo": "Japan", "Rome": "Italy",
}  # fmt: skip
CITIES = tuple(COUNTRY_OF)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "March", "April", "May", "June", "July", "August", "October", "November")
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip

ACTIONS = (
    Action("repair", "fix", "break", ("bicycle", "radio", "engine", "clock"), ("old", "small", "red")),
    Action("buy", "purchase", "sell", ("guitar", "house", "tractor", "ring"), ("old", "new", "cheap")),
    Action("find", "discover", "lose", ("key", "wallet", "letter", "coin"), ("old", "small", "yellow")),
    Action("build", "construct", "destroy", ("bridge", "tower", "barn"), ("new", "large", "wooden")),
    Action("choose", "select", "reject", ("book", "song", "poem", "dress"), ("new", "short", "famous")),
    Action("finish", "complete", "begin", ("report", "novel", "survey", "essay"), ("long", "short", "new")),
    Action("cancel", "scrap", "announce", ("meeting", "concert", "tour"), ("long", "special", "public")),
    Action("postpone", "delay", "attend", ("wedding", "lesson", "match"), ("long", "special", "public")),
    Action("hide", "conceal", "show", ("gift", "knife", "diary", "photo"), ("old", "small", "expensive")),
    Action("inspect", "examine", "ignore", ("ship", "contract", "tunnel"), ("old", "new", "foreign")),
    Action("approve", "accept", "reject", ("plan", "budget", "design"), ("new", "costly", "detailed")),
    Action("clean", "wash", "paint", ("car", "window", "fence", "kitchen"), ("dirty", "large", "white")),
    Action("write", "compose", "translate", ("story", "play", "hymn", "ballad"), ("short", "sad", "modern")),
    Action("steal", "snatch", "return", ("camera", "purse", "laptop"), ("new", "black", "expensive")),
)

DEALINGS = (  # what one person does to another, with a synonym; none of these holds in both directions
    ("help", "assist"), ("praise", "commend"), ("warn", "caution"), ("hire", "employ"), ("follow", "trail"),
    ("call", "phone"), ("teach", "instruct"), ("question", "interview"), ("beat", "defeat"),
    ("thank", "thank"), ("blame", "blame"), ("visit", "visit"), ("rescue", "save"), ("trick", "fool"),
    ("admire", "respect"),
)  # fmt: skip

EFFORTS = (  # what somebody may try to do
    Doing("leave early", "left early", "departed ahead of time", "left late"),
    Doing("win a prize", "won a prize", "received an award", "handed out a prize"),
    Doing("move to Canada", "moved to Canada", "went to live in Canada", "moved to Mexico"),
    Doing("quit the team", "quit the team", "stopped playing for the team", "joined the team"),
    Doing("sign the letter", "signed the letter", "put a signature on the letter", "tore up the letter"),
    Doing("pass the exam", "passed the exam", "succeeded in the test", "failed the exam"),
    Doing("swim in the lake", "swam in the lake", "took a dip in the water", "fished in the lake"),
    Doing("cook dinner", "cooked dinner", "prepared the evening meal", "skipped dinner"),
    Doing("learn Russian", "learned Russian", "picked up the Russian language", "taught Russian"),
    Doing("sell the car", "sold the car", "found a buyer for the car", "bought the car"),
    Doing("climb the hill", "climbed the hill", "walked to the top of the hill", "avoided the hill"),
    Doing("pay the bill", "paid the bill", "settled the account", "ignored the bill"),
    Doing("close the shop", "closed the shop", "shut the store", "opened the shop"),
    Doing("visit the museum", "visited the museum", "went to see the museum", "visited the castle"),
    Doing("wait outside", "waited outside", "stood at the door", "waited inside"),
)
MISHAPS = (  # what merely befalls somebody
    Doing("sleep badly", "slept badly", "had a bad night", "slept well"),
    Doing("miss the train", "missed the train", "was too late for the train", "caught the train"),
    Doing("lose the keys", "lost the keys", "mislaid the keys", "found the keys"),
    Doing("arrive late", "arrived late", "was not on time", "arrived early"),
    Doing("catch a cold", "caught a cold", "became ill", "got over a cold"),
    Doing("fall asleep", "fell asleep", "dozed off", "stayed awake"),
)
DOINGS = EFFORTS + MISHAPS

PORTABLE = (
    "radio", "clock", "guitar", "ring", "key", "wallet", "letter", "map", "book", "gift", "knife", "diary",
    "photo", "camera", "necklace", "purse", "laptop",
)  # fmt: skip

KINDS = (  # a kind and the wider kind it belongs to
    ("spaniel", "dog"), ("poodle", "dog"), ("sparrow", "bird"), ("parrot", "bird"), ("salmon", "fish"),
    ("rose", "flower"), ("tulip", "flower"), ("hammer", "tool"), ("wrench", "tool"),
    ("violin", "instrument"), ("flute", "instrument"), ("sofa", "piece of furniture"), ("novel", "book"),
    ("dictionary", "book"), ("pony", "horse"), ("kitten", "cat"), ("taxi", "car"),
    ("peach", "piece of fruit"), ("sandal", "shoe"),
)  # fmt: skip
