"""The register of claims is complete, and each row is fit to be judged."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from pdlib import claims

PAGES = {"parity", "parity_transformers", "hierarchical", "theory", "pcfg", "wiki", "gpt2"}
FIELDS = {"id", "statement", "quote", "source", "page", "parts", "kind", "criteria", "open", "checks"}
ILLUSTRATIONS = {"Figure 3", "Figure 16", "Figure 20", "Figure 21"}
STATEMENTS = [
    *("Theorem B.1", "Lemma B.2", "Claim B.3", "Claim B.4", "Lemma B.5", "Corollary B.6", "Lemma B.7"),
    *("Corollary B.8", "Corollary B.9", "Lemma B.10"),
    *("Proposition C.1", "Lemma C.2", "Proposition C.3", "Lemma C.4"),
]
PRINTED = [
    *("R1", "R1 (Transformer)", "R2", "R2 (Transformer)"),
    *(f"R{i}" for i in range(3, 8)),
    "Theorem 3.2",
    *(f"Figure {i}" for i in range(1, 33)),
    *STATEMENTS,
]

REGISTER = Path(__file__).parents[1] / "pdlib" / "claims" / "register.yaml"
Row = dict[str, Any]


def read_rows() -> list[Row]:
    rows = yaml.safe_load(REGISTER.read_text(encoding="utf-8"))
    assert isinstance(rows, list)
    return rows


def complaints(rows: list[Row]) -> list[str]:
    """Everything that is wrong with a register, one sentence each."""
    ids = [row["id"] for row in rows]
    found = [f"{name} occurs {n} times" for name, n in Counter(ids).items() if n > 1]
    if ids[: len(PRINTED)] != PRINTED:
        found.append(f"the register must begin with {PRINTED[0]} ... {PRINTED[-1]} in the paper's order")
    for row in rows:
        name = row["id"]
        found += [f"{name}: unknown field {field!r}" for field in row.keys() - FIELDS]
        found += [f"{name}: no {field}" for field in ("statement", "source") if not row.get(field)]
        if name not in PRINTED and not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
            found.append(f"{name}: neither a printed name nor kebab-case")
        if ("page" in row) == ("parts" in row):
            found.append(f"{name}: needs either a page or parts")
        places = row.get("parts", [row])
        found += [
            f"{name}: unknown page {place.get('page')!r}"
            for place in places
            if place.get("page") not in PAGES
        ]
        if "parts" in row:
            labels = [part.get("part") for part in row["parts"]]
            if len(set(labels)) != len(labels) or None in labels:
                found.append(f"{name}: parts must have distinct names")
            found += [
                f"{name}: a part without a statement" for part in row["parts"] if not part.get("statement")
            ]
        is_illustration = row.get("kind") == "illustration"
        if is_illustration != (name in ILLUSTRATIONS):
            found.append(f"{name}: kind {row.get('kind')!r} is wrong")
        if is_illustration == ("quote" in row):
            found.append(f"{name}: a claim quotes the paper, an illustration does not")
        if len(row.get("quote", "").split()) > 20:
            found.append(f"{name}: a quotation of more than 20 words")
        if len(re.findall(r"[.?!](?:\s|$)", row.get("statement", ""))) > 2:
            found.append(f"{name}: a statement of more than two sentences")
    return found


def test_the_register_is_complete_and_well_formed() -> None:
    assert complaints(read_rows()) == []


def rows_of(page: str) -> set[str]:
    """The ids of the claims that a page judges, parts on their own."""
    return {
        row["id"] if "page" in row else f"{row['id']} ({place['part']})"
        for row in read_rows()
        for place in row.get("parts", [row])
        if place["page"] == page
    }


def test_the_parity_page_judges_what_it_promises() -> None:
    assert rows_of("parity") == {
        "R1",
        "R2",
        "Figure 1 (left)",
        "Figure 2",
        "Figure 7 (left)",
        "Figure 8",
        "Figure 9",
        "Figure 14 (MLP)",
        "speed-of-the-large-model",
        "worse-teacher-better-student",
        "low-temperature-suffices",
    }


def test_the_transformers_page_judges_what_it_promises() -> None:
    assert rows_of("parity_transformers") == {
        "R1 (Transformer)",
        "R2 (Transformer)",
        "R6",
        "Figure 1 (middle)",
        "Figure 7 (right)",
        "Figure 10",
        "Figure 11",
        "Figure 12",
        "Figure 13",
        "Figure 14 (Transformer)",
        "speed-of-the-large-transformer",
        "heads-before-width",
        "soft-labels-can-be-slower",
        "a-second-spike-need-not-teach",
        "one-layer-is-hard-to-train",
    }


def test_the_theory_page_judges_what_it_promises() -> None:
    parts = {
        "Theorem B.1": {"progressive distillation", "distillation"},
        "Lemma B.5": {"item 1, as printed", "item 1, corrected", "item 2", "items 3 and 4"},
        "Corollary B.6": {"as printed", "corrected"},
        "Lemma B.7": {"first batch", "second stage"},
        "majority-coefficients": {"as printed", "corrected"},
    }
    assert rows_of("theory") == {
        *(
            "R3",
            "Theorem 3.2",
            "Lemma B.2",
            "Claim B.3",
            "Claim B.4",
            "Corollary B.8",
            "Corollary B.9",
            "Lemma B.10",
        ),
        *("Proposition C.1", "Lemma C.2", "Proposition C.3", "Lemma C.4", "fourier-gap"),
        *(f"{name} ({part})" for name, names in parts.items() for part in names),
    }


def test_only_a_statement_that_fails_is_contradicted() -> None:
    """A misprint, a looser bound and a step of a proof are further criteria, and do not change a claim's word."""
    contradicted = {
        claim.id
        for claim in claims.register()
        for why in claim.open.values()
        if why["cause"] == "contradicted"
    }
    assert contradicted == {
        *(
            "Lemma B.5 (item 1, as printed)",
            "Corollary B.6 (as printed)",
            "majority-coefficients (as printed)",
        )
    }


def test_the_gpt2_page_judges_what_it_promises() -> None:
    assert rows_of("gpt2") == {
        "R7",
        *(f"Figure {i}" for i in range(28, 33)),
        "gap-shrinks-with-tokens-in-the-loss",
        "rapid-drop-in-the-first-tenth",
        "dormant-phase-is-short",
        "larger-models-sooner-in-the-rapid-phase",
        "curriculum-of-3-grams",
        "cfg3g-saturates",
    }


def test_the_wiki_page_judges_what_it_promises() -> None:
    assert rows_of("wiki") == {"Figure 6", "inflection-in-natural-language", "benefit-in-natural-language"}


def test_every_statement_of_the_appendix_is_judged_by_the_theory_page() -> None:
    judged = {name.split(" (")[0] for name in rows_of("theory")}
    assert {*STATEMENTS, "R3", "Theorem 3.2"} == judged - {"majority-coefficients", "fourier-gap"}


def test_a_statement_is_a_paraphrase() -> None:
    for row in read_rows():
        if "quote" in row:
            assert row["quote"].rstrip(".").lower() not in row["statement"].lower()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": "R2"}, "R2 occurs 2 times"),
        ({"page": "mlp"}, "R1: unknown page 'mlp'"),
        ({"quote": "word " * 21}, "R1: a quotation of more than 20 words"),
        ({"statement": "One. Two. Three."}, "R1: a statement of more than two sentences"),
        ({"kind": "illustration"}, "R1: kind 'illustration' is wrong"),
        ({"criterion": "accuracy"}, "R1: unknown field 'criterion'"),
    ],
)
def test_a_bad_row_is_named(change: Row, complaint: str) -> None:
    rows = read_rows()
    rows[0] = {**rows[0], **change}
    assert complaint in complaints(rows)
