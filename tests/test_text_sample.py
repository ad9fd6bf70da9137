"""The sample text: the same everywhere, English in form, with agreement across a distance."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter

import pytest

from pdlib.specs import SpecError
from pdlib.text import sample
from pdlib.text.sample import document, english

TEXT = list(english())


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def test_the_sample_is_the_same_on_every_machine_and_in_every_version_of_python() -> None:
    digest = hashlib.sha256("\n\n".join(TEXT).encode()).hexdigest()
    assert (len(TEXT), digest[:16]) == (400, "ddc47366614f6ef6")


def test_a_document_is_a_function_of_its_number_alone() -> None:
    random.seed(1)
    assert list(english(7)) == TEXT[:7]
    random.seed(2)
    assert [document(i) for i in reversed(range(7))] == TEXT[6::-1]
    assert len(set(TEXT)) == len(TEXT)


def test_documents_have_several_paragraphs_of_whole_sentences() -> None:
    for text in TEXT:
        paragraphs = text.split("\n")
        assert 2 <= len(paragraphs) <= 4
        for paragraph in paragraphs:
            assert re.fullmatch(r"[A-Z\"][^\n]*[.]", paragraph)
            assert not re.search(r"  | [.,?]|[.?] [a-z]", paragraph)


def test_the_vocabulary_is_a_few_hundred_words_with_few_frequent_and_many_rare_ones() -> None:
    count = Counter(w for text in TEXT for w in words(text))
    assert 400 < len(count) < 700
    frequent = sum(n for _, n in count.most_common(len(count) // 10))
    assert 0.5 < frequent / count.total() < 0.9
    assert sum(n < 20 for n in count.values()) > 50


def plural_of(noun: str) -> str:
    return sample.PLURALS.get(noun) or sample._ending(noun, "s")


NUMBER = {
    form: plural
    for noun in (*sample.PEOPLE, *sample.ANIMALS, *sample.THINGS)
    for form, plural in ((noun, False), (plural_of(noun), True))
    if noun != "sheep"  # of either number
}


def be_clauses(text: str) -> list[tuple[bool, bool, int]]:
    """For `the dogs near the old mill are brave, but they are not small`: noun and verb plural, words between."""
    found = []
    for match in re.finditer(
        r"(\w+) ((?:\w+ )+?)(is|are|was|were) \w+, but (they|it) (is|are|was|were) not", text
    ):
        before = [w for w in (match[1], *match[2].split()) if w in NUMBER]
        if before and match[3] == match[5]:
            assert (match[4] == "they") == (match[3] in ("are", "were"))
            noun = before[0]
            between = len(match[2].split())
            found.append((NUMBER[noun], match[3] in ("are", "were"), between))
    return found


def test_verbs_agree_with_a_subject_that_stands_words_away() -> None:
    found = [clause for text in TEXT for line in text.split("\n") for clause in be_clauses(line)]
    assert len(found) > 100
    assert all(noun == verb for noun, verb, _ in found)
    assert {noun for noun, _, _ in found} == {True, False}
    assert min(between for _, _, between in found) >= 3


def test_the_check_of_agreement_can_fail() -> None:
    wrong = [text.replace(" are ", " is ").replace("but they is", "but it is") for text in TEXT]
    found = [clause for text in wrong for line in text.split("\n") for clause in be_clauses(line)]
    assert any(noun != verb for noun, verb, _ in found)


def test_pronouns_agree_with_the_person_of_their_document() -> None:
    seen = Counter[str]()
    for text in TEXT:
        name = text.split(" ", 1)[0]
        assert name in (*sample.WOMEN, *sample.MEN)
        own, other = ("she", "he") if name in sample.WOMEN else ("he", "she")
        selves = re.findall(rf"{name}, who [^.]* (herself|himself)\.", text)
        assert set(selves) <= {"herself" if own == "she" else "himself"}
        assert own in words(text)
        assert other not in words(text)
        seen.update(selves)
    assert min(seen["herself"], seen["himself"]) > 30


def test_a_document_keeps_its_tense() -> None:
    for text in TEXT:
        assert not (
            {"is", "are", "says", "does"} & set(words(text))
            and {"was", "were", "said", "did"} & set(words(text))
        )


@pytest.mark.parametrize("n", [0, -1, 2.0, True, 10**7])
def test_a_number_of_documents_that_makes_no_sense_is_refused_at_once(n: object) -> None:
    with pytest.raises(
        SpecError, match=r"sample:english of .* documents: expected a whole number from 1 to 1000000"
    ):
        english(n)  # type: ignore[arg-type]
