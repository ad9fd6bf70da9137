"""The errata say what the parameter files hold, and sort what is wrong with the text by how grave it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pdlib import claims

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "book" / "errata.md").read_text("utf-8")
SEVERITIES = [
    "Misprints",
    "True, but looser than needed",
    "Proofs that need a repair",
    "Statements that fail",
]

# the row's first cell, the page and the profile whose parameters it gives, and how
NUMBERS = [
    ("probe: sentences", "pcfg", "paper", "{n_probe_train:,} and {n_probe_validation:,}"),
    ("probe: sentences", "pcfg", "laptop", "`laptop`: {n_probe_train:,} and {n_probe_validation:,}"),
    ("batch", "pcfg", "laptop", "`laptop`: {batch_size}"),
    ("mask rates of Figure 26", "pcfg", "laptop", "{mask_rates[0]:.0%} and {mask_rates[1]:.0%} beside {mask_rate:.0%}"),
    ("Figure 26: the margin", "pcfg", "laptop", "at {mask_rate:.0%} alone"),
    ("mask rate", "wiki", "laptop", "`laptop`: {mask_rate:.0%}"),
    ("mask rate", "wiki", "paper", "`paper`: {mask_rate:.0%}"),
    ("tokenizer", "wiki", "laptop", "{vocabulary:,} pieces"),
    ("sequences", "wiki", "paper", "{length} tokens"),
    ("sequences", "wiki", "laptop", "on the laptop {length}"),
    ("batch", "wiki", "laptop", "on the laptop {batch_size} sequences"),
    ("positions measured", "wiki", "laptop", "{n_probe_samples:,} held-out"),
    ("$T$ of $(3, T)$", "hierarchical", "laptop", "`laptop`: {steps_each:_}"),
    ("initialization", "parity_transformers", "laptop", "`laptop`: {teacher_std} and {student_std}"),
    ("$T$ of 2-shot", "parity_transformers", "laptop", "`laptop`: {two_checkpoint_steps} |"),
]  # fmt: skip


def rows(text: str, first: str) -> list[str]:
    """The rows of all tables whose first cell begins so."""
    return [line for line in text.splitlines() if line.startswith(f"| {first}")]


def says(text: str, first: str, page: str, profile: str, form: str) -> bool:
    """Whether a row has the numbers of a parameter file, thousands written 1,000 or 1k, shares 15 % or 15."""
    given: dict[str, Any] = yaml.safe_load(
        (ROOT / "book" / "parameters" / profile / f"{page}.yaml").read_text("utf-8")
    )
    said = re.sub(r"(\d+)%(?= and)", r"\1", form.format(**given)).replace("%", " %").replace("_000", "k")
    return any(said in row for row in rows(text, first))


@pytest.mark.parametrize(("first", "page", "profile", "form"), NUMBERS)
def test_numbers_are_those_of_the_parameters(first: str, page: str, profile: str, form: str) -> None:
    assert says(TEXT, first, page, profile, form)
    other = re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), TEXT)  # the control
    assert not says(other, first, page, profile, form)


def test_no_row_counts_ancestries() -> None:
    """They differ by page and profile; the text says once how many there are at least, and a test of the ledger holds it."""
    counted = re.compile(r"\b(two|three|four|five|six|eight|\d+) ancestries", re.IGNORECASE)
    assert [line for line in TEXT.splitlines() if line.startswith("|") and counted.search(line)] == []
    assert counted.search("| seeds | five ancestries |")  # the control


def test_what_is_wrong_with_the_theory_is_sorted_by_severity_and_only_what_fails_is_contradicted() -> None:
    theory = TEXT[TEXT.index("(errata-theory)=") :]
    headings = re.findall(r"^### (.*)$", theory, re.MULTILINE)
    assert headings == [*SEVERITIES, "Readings and choices"]
    tables = {}
    for heading, part in zip(headings, re.split(r"^### .*$", theory, flags=re.MULTILINE)[1:], strict=True):
        lines = [line for line in part.splitlines() if line.startswith("|")][2:]
        assert all(
            len(re.split(r"(?<!\\)\|", line)) == 5 and not re.search(r"\|\s*\|", line) for line in lines
        )
        tables[heading] = lines
    contradicted = {
        claim.id.split(" (")[0]
        for claim in claims.register()
        if claim.page == "theory" and any(why["cause"] == "contradicted" for why in claim.open.values())
    }
    named = {"Notations of B": "majority-coefficients"}
    firsts = [re.split("[:,;]", row.split("|")[1].strip())[0] for row in tables["Statements that fail"]]
    assert {named.get(name, name) for name in firsts} == contradicted
