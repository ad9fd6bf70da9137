"""English-like text from a small grammar of our own: no file, no network, the same everywhere.

For first looks and tests. Every document has its own person, place and things, which come back; verbs agree with their
subject across what stands between, pronouns with the person; few words are frequent and many are rare.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from pdlib.specs import require

__all__ = ["DOCUMENTS", "document", "english"]

DOCUMENTS = 400  # of `sample:english`
MOST = 1_000_000


def _words(text: str) -> list[str]:
    return text.split()


WOMEN = _words("Anna Clara Edith Flora Grace Helen Irene Julia Laura Martha Nora Ruth")
MEN = _words("Adam Bruno Carl David Edgar Frank Henry Jacob Leo Martin Oscar Paul")
FAMILIES = _words("Archer Baker Carter Fisher Hill Marsh Miller Porter Shepherd Stone Turner Wood")
TOWNS = _words(
    "Ashford Birchwood Clayton Dunmore Eastbridge Fairhaven Greenfield Hillbrook Kingsport Northgate"
)
TRADES = _words("baker carpenter doctor farmer gardener judge painter sailor singer teacher weaver writer")
PEOPLE = _words(
    "boy child friend girl guest king man merchant neighbour nurse queen servant soldier stranger student "
    "thief traveller woman"
)
ANIMALS = _words("bear bird cat cow dog duck fox goat goose horse mouse owl rabbit sheep snake wolf")
THINGS = _words(
    "apple basket bell book bottle box bread brush candle chair clock coat coin cup flower hammer hat key knife lamp "
    "letter map mirror pear picture pot ring rope shoe song stick stone story table window"
)
PLACES = _words(
    "barn beach bridge castle church field forest garden gate harbour hill house inn island kitchen lake library market "
    "meadow mill mountain path river road school shop station tower valley village wall well"
)
PLURALS = {
    "child": "children",
    "goose": "geese",
    "knife": "knives",
    "man": "men",
    "mouse": "mice",
    "sheep": "sheep",
    "thief": "thieves",
    "wolf": "wolves",
    "woman": "women",
}
ADJECTIVES = _words(
    "old young small large white black red green quiet brave clever cold dark deep empty gentle golden great happy heavy "
    "hungry kind lazy little lonely long narrow new poor pretty proud rich round sad sharp strange strong tall tired "
    "warm wild wise"
)
# What people and animals do: the plain form, and the past where it is not made by -ed.
DO_THINGS = _words(
    "find=found keep=kept want carry bring=brought sell=sold buy=bought hide=hid lose=lost make=made need paint clean "
    "repair break=broke admire borrow choose=chose count draw=drew hold=held open remember sharpen steal=stole wash"
)
DO_OTHERS = _words(
    "see=saw follow like know=knew help meet=met call visit love fear hear=heard watch greet thank trust answer "
    "remember teach=taught warn"
)
ANIMALS_DO = _words("chase see=saw follow bite=bit hear=heard watch fear hunt like smell")
PEOPLE_GO = _words(
    "work sing=sang wait live walk sleep=slept laugh rest sit=sat stand=stood swim=swam talk read=read write=wrote "
    "dance play weep=wept"
)
ANIMALS_GO = _words("sleep=slept run=ran rest wait hide=hid eat=ate drink=drank jump play sit=sat")
ADVERBS = _words("often always sometimes never still rarely usually soon seldom gladly")
TIMES = (
    "In the morning",
    "At night",
    "In the evening",
    "On Sundays",
    "In winter",
    "Every spring",
    "After lunch",
    "Before sunrise",
    "During the storm",
    "In summer",
)
PREPOSITIONS = _words("near in behind by beside beyond above below")
NUMBERS = _words("two three four five six seven eight nine ten twelve")


def english(n: int = DOCUMENTS) -> Iterator[str]:
    r"""Yield the first n documents, each of two to four paragraphs separated by "\n".

    Parameters
    ----------
    n
        At least 1; fewer documents are the beginning of more.

    Raises
    ------
    SpecError
        If n is not a whole number from 1 to a million.

    Examples
    --------
    >>> first, second = english(2)
    >>> first.split(".")[0]
    'Laura Turner is a teacher in Eastbridge'
    >>> second == document(1)
    True
    """
    require(
        type(n) is int and 1 <= n <= MOST,
        f"sample:english of {n!r} documents",
        f"a whole number from 1 to {MOST}",
    )
    return map(document, range(n))


def document(number: int) -> str:
    """Return one document, a function of its number from 0 alone.

    >>> document(3) == list(english(5))[3]
    True
    """
    return _Writer(random.Random(f"sample:english, version 1, document {number}")).document()


class _Writer:
    """One document's person, place and things, and its sentences."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator.random  # the one method that every version of Python keeps the same
        self.present = self._chance(0.6)
        woman = self._chance(0.5)
        self.he, self.himself, self.his = (
            ("she", "herself", "her") if woman else ("he", "himself", "his")
        )  # of the person
        self.name = self._one(WOMEN if woman else MEN)
        self.family, self.town, self.trade = self._one(FAMILIES), self._one(TOWNS), self._one(TRADES)
        self.friend = self._one(MEN if woman else WOMEN)
        self.people, self.animals = self._some(PEOPLE, 3), self._some(ANIMALS, 2)
        self.things, self.places = self._some(THINGS, 4), self._some(PLACES, 3)

    # ----------------------------------------------------------------- choices

    def _chance(self, probability: float) -> bool:
        return self._random() < probability

    def _one(self, words: Sequence[str]) -> str:
        """One of some words, all as likely."""
        return words[int(self._random() * len(words))]

    def _early(self, words: Sequence[str]) -> str:
        """One of some words, the earlier the likelier: the k-th in proportion to 1 / k."""
        ends = _weights(len(words))
        return words[bisect_right(ends, int(self._random() * ends[-1]))]

    def _some(self, words: Sequence[str], n: int) -> list[str]:
        rest = list(words)
        return [rest.pop(int(self._random() * len(rest))) for _ in range(n)]

    # ----------------------------------------------------------------- phrases

    def _verb(self, words: Sequence[str], plural: bool) -> str:
        plain, _, past = self._early(words).partition("=")
        if not self.present:
            return past or _ending(plain, "ed")
        return plain if plural else _ending(plain, "s")

    def _be(self, plural: bool) -> str:
        return ("are" if plural else "is") if self.present else ("were" if plural else "was")

    def _noun(self, nouns: Sequence[str], described: float = 0.35) -> tuple[str, bool]:
        """A noun with its article, and whether it is plural."""
        noun, plural = self._early(nouns), self._chance(0.4)
        word = (PLURALS.get(noun) or _ending(noun, "s")) if plural else noun
        if self._chance(described):
            word = f"{self._early(ADJECTIVES)} {word}"
        if self._chance(0.7):
            return f"the {word}", plural
        if plural:
            return (f"{self._early(NUMBERS)} {word}" if self._chance(0.5) else f"some {word}"), plural
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}", plural

    def _where(self) -> str:
        place = self._early(self.places)
        adjective = f"{self._early(ADJECTIVES)} " if self._chance(0.2) else ""
        return f"{self._early(PREPOSITIONS)} the {adjective}{place}"

    def _subject(self) -> tuple[str, bool, bool]:
        """Who does it, often with something between it and its verb; whether that is plural, and an animal."""
        animal = self._chance(0.35)
        phrase, plural = self._noun(self.animals if animal else self.people)
        between = self._random()
        if between < 0.25:
            phrase += f" {self._where()}"
        elif between < 0.45:
            verb = self._verb(ANIMALS_DO if animal else DO_OTHERS, plural)
            phrase += f" that {verb} {self._noun(self.people)[0]}"
        elif between < 0.55:
            phrase += f" with {self._noun(self.things)[0]}"
        return phrase, plural, animal

    def _does(self, plural: bool, animal: bool) -> str:
        """A verb that agrees, and what belongs to it."""
        adverb = f"{self._early(ADVERBS)} " if self._chance(0.2) else ""
        if self._chance(0.35):
            return f"{adverb}{self._verb(ANIMALS_GO if animal else PEOPLE_GO, plural)} {self._where()}"
        if animal:
            return f"{adverb}{self._verb(ANIMALS_DO, plural)} {self._noun([*self.animals, *self.people])[0]}"
        if self._chance(0.65):
            return f"{adverb}{self._verb(DO_THINGS, plural)} {self._noun(self.things)[0]}"
        return f"{adverb}{self._verb(DO_OTHERS, plural)} {self._noun([*self.people, *self.animals])[0]}"

    def _clause(self) -> str:
        if self._chance(0.3):
            return f"{self.he if self._chance(0.6) else self.name} {self._does(False, False)}"
        phrase, plural, animal = self._subject()
        return f"{phrase} {self._does(plural, animal)}"

    # --------------------------------------------------------------- sentences

    def _sentence(self) -> str:
        kind = self._random()
        if kind < 0.3:
            return f"{self._clause()}."
        if kind < 0.4:
            return f"{self._early(TIMES)}, {self._clause()}."
        if kind < 0.5:
            phrase, plural = self._noun([*self.animals, *self.things], described=0)
            they, be = "they" if plural else "it", self._be(plural)
            one, other = self._some(ADJECTIVES, 2)
            return f"{phrase} {self._where()} {be} {one}, but {they} {be} not {other}."
        if kind < 0.58:
            phrase, plural = self._noun(self.things)
            return f"there {self._be(plural)} {phrase.replace('the ', 'no ', 1)} {self._where()}."
        if kind < 0.66:
            return f"if {self._clause()}, then {self._clause()}."
        if kind < 0.74:
            first, second = self._some(self.people, 2)
            verb = self._verb(DO_THINGS, plural=True)
            return f"both the {first} and the {second} {verb} {self._noun(self.things)[0]}."
        if kind < 0.82:
            return (
                f"{self.name}, who {self._verb(PEOPLE_GO, False)} {self._where()}, "
                f"{self._verb(DO_OTHERS, False)} {self.himself}."
            )
        if kind < 0.9:
            says = "says" if self.present else "said"
            return f'"{_capital(self._clause())}," {says} {self.friend}.'
        if kind < 0.96:
            does = "does" if self.present else "did"
            who = self.name if self._chance(0.6) else self.friend
            return f"who {self._verb(DO_THINGS, False)} {self._noun(self.things)[0]}? {who} {does}."
        return f"{self.name} and {self.friend} {self._verb(PEOPLE_GO, True)} {self._where()}."

    def document(self) -> str:
        """Paragraphs; the first one says who and where."""
        first = (
            f"{self.name} {self.family} {self._be(False)} {'an' if self.trade[0] in 'aeiou' else 'a'} {self.trade} "
            f"in {self.town}. {_capital(self.he)} {self._verb(DO_OTHERS, False)} {self.his} friend {self.friend}."
        )
        paragraphs = []
        for i in range(2 + int(self._random() * 3)):
            sentences = [_capital(self._sentence()) for _ in range(3 + int(self._random() * 4))]
            paragraphs.append(" ".join([first, *sentences] if i == 0 else sentences))
        return "\n".join(paragraphs)


@lru_cache
def _weights(n: int) -> list[int]:
    """Where the shares of n words end, in whole numbers: the same on every machine."""
    return list(accumulate(10**6 // k for k in range(1, n + 1)))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _ending(word: str, ending: str) -> str:
    """A word with -s or -ed.

    >>> [_ending(w, "s") for w in ("cat", "box", "story")], [_ending(w, "ed") for w in ("like", "carry", "play", "rest")]
    (['cats', 'boxes', 'stories'], ['liked', 'carried', 'played', 'rested'])
    """
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ie{ending[-1]}"
    if ending == "s":
        return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")
    return word + ("d" if word.endswith("e") else "ed")
