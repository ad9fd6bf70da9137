"""The letter to the authors: every check prints what it says, and it has what the errata confirm and nothing else."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from test_errata import TEXT as ERRATA

LETTER = (Path(__file__).parents[1] / "book" / "letter.md").read_text("utf-8")
TOLD = ("Misprints", "Proofs that need a repair", "Statements that fail")


def failures(text: str) -> int:
    """How many examples of a page print something else, all of them in one session."""
    test = doctest.DocTestParser().get_doctest(text, {}, "letter", "letter.md", 0)
    runner = doctest.DocTestRunner(verbose=False)
    return runner.run(test, out=lambda _: None).failed


def confirmed(severity: str) -> list[str]:
    """Where the rows of a table of the errata say that something is."""
    table = ERRATA[ERRATA.index(f"### {severity}") :].split("\n### ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [row.split("|")[1].strip() for row in rows]


def sections(text: str) -> dict[str, str]:
    """What stands below each heading of the third level."""
    found = re.split(r"^### (.*)$", text, flags=re.MULTILINE)[1:]
    return {heading.lower(): body for heading, body in zip(found[::2], found[1::2], strict=True)}


def test_every_check_prints_what_the_letter_says() -> None:
    assert failures(LETTER) == 0


def test_a_check_that_prints_something_else_is_seen() -> None:
    head = LETTER[: LETTER.index("### After Claim B.3: size")]
    assert head.count("(True, False)") == 1
    assert failures(head) == 0
    assert failures(head.replace("(True, False)", "(True, True)")) == 1


def test_the_letter_has_a_checked_paragraph_for_all_that_the_errata_confirm_and_nothing_else() -> None:
    told = sections(LETTER)
    assert list(told) == [where.lower() for severity in TOLD for where in confirmed(severity)]
    assert all(">>> " in body and len(body.split("```")[0].split()) > 10 for body in told.values())
    looser = confirmed("True, but looser than needed")
    assert looser
    assert not {where.lower() for where in looser} & set(told)
